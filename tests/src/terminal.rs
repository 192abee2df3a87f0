//! A user's terminal, for commands as they stand in the documents.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::command::{Finished, pawl_binary};
use crate::program::program;

/// The password of each repository that restic makes here.
pub const PASSWORD: &str = "of the repository";

/// An empty home, and `pawl` and `restic` where the shell finds them.
#[derive(Debug)]
pub struct Terminal {
    dir: TempDir,
}

impl Terminal {
    /// Opens one, with an empty `pawl-data` beside the home.
    ///
    /// # Panics
    ///
    /// When its directories cannot be made.
    #[must_use]
    pub fn open() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["bin", "home", "pawl-data"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        // Debian 12's own restic works as well, but takes most of a minute to give up on a refusal.
        for (name, program) in [("pawl", pawl_binary()), ("restic", program("restic-0.19"))] {
            std::os::unix::fs::symlink(program, dir.path().join("bin").join(name)).expect("a link");
        }
        Self { dir }
    }

    /// Where its commands are run.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of a file or directory of its, as a configuration has it.
    #[must_use]
    pub fn at(&self, name: &str) -> String {
        self.path().join(name).display().to_string()
    }

    /// These lines in a shell that ends at the first error.
    #[must_use]
    pub fn shell(&self, lines: &str) -> Command {
        let mut shell = Command::new("bash");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = format!("{}:{}", self.path().join("bin").display(), path.display());
        shell
            .args(["-euo", "pipefail", "-c", lines])
            .current_dir(self.path())
            .env("HOME", self.path().join("home"))
            .env("PATH", path)
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("PAWL_BINARY", pawl_binary());
        shell
    }

    /// Runs these lines to their end.
    ///
    /// # Panics
    ///
    /// When there is no shell.
    #[must_use]
    pub fn run(&self, lines: &str) -> Finished {
        let output = self.shell(lines).output().expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        println!("$ {lines}\n{stdout}{stderr}");
        Finished { code: output.status.code(), stdout, stderr }
    }

    /// Serves its data directory until the value ends.
    #[must_use]
    pub fn serve(&self) -> Serving {
        Serving::start(self.shell("exec pawl serve --data ./pawl-data --listen 127.0.0.1:0"))
    }
}

/// A server that a command in a terminal started. Ends with the value.
#[derive(Debug)]
pub struct Serving(Child);

impl Serving {
    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it ends instead.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut serving = Self(command.stderr(Stdio::piped()).spawn().expect("a shell"));
        let mut log = BufReader::new(serving.0.stderr.take().expect("its log"));
        let mut line = String::new();
        while !line.contains("listening on http") {
            line.clear();
            assert!(log.read_line(&mut line).expect("its log") > 0, "the server did not start");
            print!("{line}");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        serving
    }

    /// Its standard output, if the command has it piped.
    pub const fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.0.stdout.take()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}
