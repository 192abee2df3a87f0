//! Starting the programs that `scripts/setup` fetched.
//!
//! Invariant: a program inherits nothing of the caller's environment but `PATH`, and none outlives its value.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use rustix::process::Signal;

use crate::command::Finished;
use crate::log::Log;
use crate::process::{KEEPER, Process};
use crate::wait;

/// Path of a client that `scripts/setup` fetched.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = env::var_os("PAWL_CLIENTS").map_or_else(|| target("clients"), PathBuf::from).join(name);
    assert!(path.exists(), "{} is missing: run scripts/setup (or set PAWL_CLIENTS)", path.display());
    path
}

/// Path of another program that `scripts/setup` fetched.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let path = env::var_os("PAWL_TOOLS").map_or_else(|| target("tools"), PathBuf::from).join(name);
    assert!(path.exists(), "{} is missing: run scripts/setup (or set PAWL_TOOLS)", path.display());
    path
}

/// The files of a Debian 12 with systemd, which `scripts/setup --full` made. Never written to.
#[must_use]
pub fn debian() -> PathBuf {
    let path = env::var_os("PAWL_DEBIAN").map_or_else(|| target("debian-12"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run scripts/setup --full (or set PAWL_DEBIAN)", path.display());
    path
}

/// Something beside what cargo built.
pub(crate) fn target(name: &str) -> PathBuf {
    // target/debug/deps/clients-0123 -> target/clients
    let mut path = env::current_exe().expect("the test's own path");
    for _ in 0..3 {
        path.pop();
    }
    path.join(name)
}

/// A program that was started.
#[derive(Debug)]
pub struct Run {
    child: Child,
    output: Log,
    errors: Log,
    collectors: Vec<JoinHandle<()>>,
}

impl Run {
    /// Starts it with the variables that the command itself sets, and no others.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let set: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .envs(set)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (output, errors) = (Log::default(), Log::default());
        let collectors =
            vec![output.collect(child.stdout.take().unwrap()), errors.collect(child.stderr.take().unwrap())];
        Self { child, output, errors, collectors }
    }

    /// All that it has printed so far, standard output first.
    #[must_use]
    pub fn seen(&self) -> String {
        self.output.text() + &self.errors.text()
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // Not reaped while this holds it, so the number is still its own.
        if let Some(process) = Process::open(self.child.id()) {
            process.signal(signal);
        }
    }

    /// Kills it as `kill -9` does, and waits as [`Self::end_by`] does.
    pub fn kill(self) {
        let _ = self.end_by(Signal::KILL);
    }

    /// Sends it a signal and waits until it has ended, and its keeper if it is a `pawl`: a keeper outlives a `pawl` that is
    /// killed until its last `fsync` ends, and holds what the next one needs that long.
    #[must_use]
    pub fn end_by(self, signal: Signal) -> Finished {
        let keeper = Process::child_of(self.pid(), KEEPER);
        self.signal(signal);
        let finished = self.end();
        if let Some(keeper) = keeper {
            wait::until("the keeper ends after its frontend", || (!keeper.is_alive()).then_some(()));
        }
        finished
    }

    /// Waits until it has ended.
    #[must_use]
    pub fn end(mut self) -> Finished {
        let mut status = None;
        while status.is_none() {
            wait::until(&format!("the program ends; it printed:\n{}", self.seen()), || {
                status = self.child.try_wait().unwrap();
                status.map(|_| ())
            });
        }
        for collector in self.collectors.drain(..) {
            collector.join().unwrap();
        }
        Finished {
            code: status.and_then(|status| status.code()),
            stdout: self.output.text(),
            stderr: self.errors.text(),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It fails only if the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
