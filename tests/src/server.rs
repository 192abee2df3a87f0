//! A running `pawl serve` with a directory of its own, and a bucket where the test wants one.
//!
//! Invariant: neither of its two processes outlives the value.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::bucket::{Bucket, Kind};
use crate::command::{Finished, pawl, pawl_command};
use crate::http::Client;
use crate::log::Log;
use crate::port::Port;
use crate::process::{KEEPER, Process};
use crate::s3::S3;
use crate::wait;

mod builder;
mod ground;
mod passed;

pub use builder::Builder;
pub use ground::{PREFIX, key_of};
pub use passed::Passed;

const READY: &str = "listening on http";

/// What `pawl host add --json` printed.
#[derive(Debug, Clone)]
pub struct Credential {
    /// User name of the `Basic` credential.
    pub user: String,
    /// Its password; empty if it is kept elsewhere.
    pub password: String,
    /// What restic calls the repository: `rest:http://…/web1/`, without the credential.
    pub repository: String,
    /// The certificate authority to trust, under TLS with the private one.
    pub ca_file: Option<PathBuf>,
}

/// A server and what it has printed.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    data: PathBuf,
    bucket: Option<Bucket>,
    place: [String; 2],
    args: Vec<String>,
    listen_by_config: bool,
    env: Vec<(String, String)>,
    passed: Option<Passed>,
    address: SocketAddr,
    /// Holds the port that the command line names, so that nobody else gets it while the server does not run.
    _port: Option<Port>,
    url: String,
    log: Log,
    output: Log,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    door: Child,
    keeper: Option<Process>,
    collectors: Vec<JoinHandle<()>>,
}

impl Running {
    fn find_keeper(&mut self) -> &Process {
        let parent = self.door.id();
        self.keeper.get_or_insert_with(|| {
            wait::until("the server has a keeper", || Process::child_of(parent, KEEPER))
        })
    }

    /// Waits for the frontend, takes the keeper down with it and collects the last of the output.
    fn end(mut self) -> ExitStatus {
        let status = self.door.wait().expect("the server can be waited for");
        if let Some(keeper) = self.keeper.take() {
            keeper.signal(Signal::KILL);
        }
        for collector in self.collectors {
            collector.join().unwrap();
        }
        status
    }
}

impl Server {
    /// A server with a new directory, a config file, plain HTTP on the loopback network, and no hosts.
    #[must_use]
    pub fn start() -> Self {
        Self::build().start()
    }

    /// The same with repositories in a new bucket on this S3 server.
    #[must_use]
    pub fn on(s3: &S3) -> Self {
        Self::build().bucket(&s3.bucket("pawl", Kind::Versioned)).start()
    }

    /// The same, with choices.
    #[must_use]
    pub fn build() -> Builder {
        Builder::default()
    }

    /// Starts on the same directory and address after [`Self::stop`], [`Self::kill`] or an end of its own.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server still runs");
        let seen = self.log.bytes().len();
        let mut command = self.passed.as_ref().map_or_else(
            || {
                let mut command = pawl_command();
                command.stdin(Stdio::null()).stdout(Stdio::piped());
                command
            },
            Passed::command,
        );
        command.arg("serve").args(&self.place);
        if !self.listen_by_config {
            command.args(["--listen", &self.address.to_string()]);
        }
        command.args(&self.args).envs(self.env.iter().cloned());
        let mut door = command.stderr(Stdio::piped()).spawn().expect("pawl starts");
        let mut collectors = vec![self.log.collect(door.stderr.take().unwrap())];
        collectors.extend(door.stdout.take().map(|output| self.output.collect(output)));
        let running = self.running.insert(Running { door, keeper: None, collectors });
        let log = &self.log;
        let url = wait::until("the server says where it listens", || {
            let bytes = log.bytes();
            let new = String::from_utf8_lossy(bytes.get(seen..).unwrap_or_default()).into_owned();
            if let Ok(Some(status)) = running.door.try_wait() {
                panic!("the server ended at start with {status}:\n{}", log.text());
            }
            listening(&new)
        });
        running.find_keeper();
        if !url.starts_with("http+unix:") {
            let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            self.address.set_port(port.expect("the URL ends with a port"));
        }
        self.url = url;
    }

    /// The directory with the repositories.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The bucket with the repositories, if they lie in one.
    #[must_use]
    pub const fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// A directory that lives as long as the server, for the test's own files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `--config FILE` or `--data DIR`: where the server finds its data, for other commands.
    #[must_use]
    pub fn place(&self) -> [&str; 2] {
        let [option, value] = &self.place;
        [option, value]
    }

    /// Where it is reached from this machine.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let ip = self.address.ip();
        let ip = if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip };
        SocketAddr::new(ip, self.address.port())
    }

    /// What hosts are told to use, as in `http://127.0.0.1:43211` or `http+unix:///run/pawl.sock:`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Standard error.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Standard output.
    #[must_use]
    pub const fn output(&self) -> &Log {
        &self.output
    }

    /// Runs `pawl host` with these arguments against this server's data.
    #[must_use]
    pub fn host(&self, args: &[&str]) -> Finished {
        pawl(["host"].iter().chain(args).copied().chain(self.place()))
    }

    /// Adds a host.
    #[must_use]
    pub fn add_host(&self, name: &str, options: &[&str]) -> Credential {
        let mut args = vec!["add", name, "--json"];
        args.extend(options);
        let printed = self.host(&args).expect_code(0).json();
        let text = |key: &str| printed.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        Credential {
            user: text("user").expect("host add prints the user"),
            password: text("password").unwrap_or_default(),
            repository: text("repository").expect("host add prints the repository"),
            ca_file: text("ca_file").map(PathBuf::from),
        }
    }

    /// Somebody with this credential.
    #[must_use]
    pub fn client(&self, credential: &Credential) -> Client {
        Client::new(self.address(), &credential.user, &credential.password)
    }

    /// Adds a host with its repository's name and returns a client that uses it.
    #[must_use]
    pub fn add_client(&self, name: &str, options: &[&str]) -> Client {
        self.client(&self.add_host(name, options))
    }

    /// Somebody without a credential.
    #[must_use]
    pub fn nobody(&self) -> Client {
        Client::nobody(self.address())
    }

    /// Process number of the listening process.
    #[must_use]
    pub fn door_pid(&self) -> u32 {
        self.running().door.id()
    }

    /// Process number of the keeper.
    #[must_use]
    pub fn keeper_pid(&self) -> u32 {
        self.keeper().pid()
    }

    /// The keeper.
    #[must_use]
    pub fn keeper(&self) -> &Process {
        self.running().keeper.as_ref().expect("the server has a keeper")
    }

    /// Sends the listening process a signal.
    pub fn signal(&self, signal: Signal) {
        // Not reaped while `running` holds it, so the number is still its own.
        Process::open(self.door_pid()).expect("the server runs").signal(signal);
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Kills the listening process as `kill -9` does, and waits until the keeper has gone as well.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let keeper = self.running().keeper.as_ref().expect("the server has a keeper");
        wait::until("the keeper ends after its server", || (!keeper.is_alive()).then_some(()));
        self.wait();
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("the server runs");
        wait::until("the server ends", || running.door.try_wait().unwrap());
        running.end()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the server runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        let keeper = running.keeper.take().or_else(|| Process::child_of(running.door.id(), KEEPER));
        if let Some(keeper) = keeper {
            keeper.signal(Signal::KILL);
        }
        // It fails only if the process has ended already.
        let _ = running.door.kill();
        let _ = running.door.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log:\n{}---", self.log.text());
        }
    }
}

/// The URL in `… listening on https://localhost:43211 data=…`.
fn listening(log: &str) -> Option<String> {
    let whole = log.rsplit_once('\n')?.0;
    let line = whole.lines().find(|line| line.contains(READY))?;
    let at = line.find(READY)? + READY.len() - "http".len();
    let url = line.get(at..)?;
    let end = url.find([' ', '"', ',']).unwrap_or(url.len());
    url.get(..end).map(str::to_owned)
}
