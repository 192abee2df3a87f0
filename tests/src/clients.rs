//! Real clients: restic in three versions, and rest-server.
//!
//! Invariant: a client inherits nothing of the caller's environment, has a home of its own, and is killed when
//! it takes far longer than anything takes that works.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::Finished;
use crate::content::id_of;
use crate::http::Client;
use crate::program::{Run, program};
use crate::server::{Credential, Server};
use crate::store::plant;
use crate::wait;

/// What opens every repository of the tests.
pub const PASSWORD: &str = "secret";

/// Two keys and a config that restic 0.14 made, opened by [`PASSWORD`]. The keys were wrapped again with the
/// cheap parameters that restic's own tests use: opening costs nothing, where it would take half a second.
const KEYS: [&[u8]; 2] = [include_bytes!("clients/key1.json"), include_bytes!("clients/key2.json")];
const CONFIG: &[u8] = include_bytes!("clients/config");

/// A version of restic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Debian 12's.
    V0_14,
    /// Debian 13's.
    V0_18,
    /// The newest.
    V0_19,
}

/// Makes of each function that takes a [`Version`] a test for every version.
#[macro_export]
macro_rules! with_each_restic {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use $crate::clients::Version;
            #[test]
            fn with_restic_0_14() {
                super::$name(Version::V0_14);
            }
            #[test]
            fn with_restic_0_18() {
                super::$name(Version::V0_18);
            }
            #[test]
            fn with_restic_0_19() {
                super::$name(Version::V0_19);
            }
        }
    )*};
}

/// The same without restic 0.14, for what it cannot do.
#[macro_export]
macro_rules! with_newer_restic {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use $crate::clients::Version;
            #[test]
            fn with_restic_0_18() {
                super::$name(Version::V0_18);
            }
            #[test]
            fn with_restic_0_19() {
                super::$name(Version::V0_19);
            }
        }
    )*};
}

/// A machine with one version of restic that uses one repository.
#[derive(Debug)]
pub struct Restic {
    version: Version,
    repository: String,
    options: Vec<String>,
    variables: Vec<(String, String)>,
    hosts: Option<PathBuf>,
    home: TempDir,
}

/// What a finished `restic backup` reported.
#[derive(Debug)]
pub struct Backup {
    /// The snapshot's id.
    pub snapshot: String,
    /// Bytes that were new, before compression.
    pub added: u64,
}

impl Restic {
    /// Uses the repository that `pawl host add` printed.
    #[must_use]
    pub fn new(version: Version, credential: &Credential) -> Self {
        let restic = Self::at(version, &address_of(credential));
        match &credential.ca_file {
            Some(file) => restic.option("--cacert").option(file.to_str().unwrap()),
            None => restic,
        }
    }

    /// Uses a repository by its name as restic knows it: a `rest:` URL with the credential, or a directory.
    #[must_use]
    pub fn at(version: Version, repository: &str) -> Self {
        Self {
            version,
            repository: repository.to_owned(),
            options: Vec::new(),
            variables: Vec::new(),
            hosts: None,
            home: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// Another machine that has the same repository at another address, such as a proxy's.
    #[must_use]
    pub fn through(&self, address: SocketAddr) -> Self {
        let (before, path) = self.repository.rsplit_once('@').unwrap();
        let path = path.split_once('/').unwrap().1;
        let mut other = Self::at(self.version, &format!("{before}@{address}/{path}"));
        other.options.clone_from(&self.options);
        other
    }

    /// With one more option for every command.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// With one more variable in the environment of every command.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On a machine that finds this name at this address. Needs root.
    #[must_use]
    pub fn finding(mut self, name: &str, address: &str) -> Self {
        let hosts = self.home.path().join("hosts");
        plant(&hosts, format!("127.0.0.1 localhost\n{address} {name}\n").as_bytes());
        self.hosts = Some(hosts);
        self
    }

    /// A directory that lives as long as this machine, for files to back up and to restore.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The repository as restic knows it.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Starts a command.
    #[must_use]
    pub fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let name = match self.version {
            Version::V0_14 => "restic-0.14",
            Version::V0_18 => "restic-0.18",
            Version::V0_19 => "restic-0.19",
        };
        let mut command = match &self.hosts {
            None => Command::new(program(name)),
            Some(hosts) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#]);
                command.arg(hosts).arg(program(name));
                command
            }
        };
        command.args(["--repo", &self.repository]).args(&self.options).args(args);
        command.env("RESTIC_PASSWORD", PASSWORD).env("RESTIC_FROM_PASSWORD", PASSWORD);
        command.env("HOME", self.home.path()).envs(self.variables.iter().cloned());
        Run::start(command)
    }

    /// Runs a command to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        self.start(args).end()
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub fn succeed<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        self.run(args).expect_code(0).stdout
    }

    /// Runs a command that is refused and returns all that its user sees, which must contain the reason.
    ///
    /// restic 0.14 tries again what was refused, ten times in 44 seconds. It is interrupted when its user could
    /// have read why.
    pub fn refused<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, reason: &str) -> String {
        let mut run = self.start(args);
        if self.version == Version::V0_14 {
            wait::until("restic shows why it was refused, or ends", || {
                (run.seen().contains(reason) || run.has_ended()).then_some(())
            });
            run.signal(Signal::INT);
        }
        let ended = run.end();
        let seen = ended.stdout + &ended.stderr;
        assert!(seen.contains(reason), "expected {reason:?} in:\n{seen}");
        seen
    }

    /// Backs the path up.
    pub fn backup(&self, path: &Path) {
        let _ = self.report_of_backup(path, &[]);
    }

    /// Backs the path up with these options and says what came of it.
    #[must_use]
    pub fn report_of_backup(&self, path: &Path, options: &[&str]) -> Backup {
        let mut args = vec!["backup", "--json", path.to_str().unwrap()];
        args.extend(options);
        Backup::reported(&self.succeed(args))
    }

    /// Restores the newest snapshot, which is of `path`, and returns where it lies now.
    #[must_use]
    pub fn restore(&self, path: &Path, options: &[&str]) -> PathBuf {
        let target = self.home().join("restored");
        let mut args = vec!["restore", "latest", "--target", target.to_str().unwrap()];
        args.extend(options);
        self.succeed(args);
        target.join(path.strip_prefix("/").unwrap())
    }

    /// Reads and checks the whole repository.
    pub fn check(&self) {
        let output = self.succeed(["check", "--read-data"]);
        assert!(output.contains("no errors were found"), "{output}");
    }

    /// Ids of all snapshots, oldest first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<String> {
        let listed: Value = serde_json::from_str(&self.succeed(["snapshots", "--json"])).unwrap();
        let snapshots = listed.as_array().unwrap().iter();
        snapshots.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Backup {
    /// What `restic backup --json` printed.
    #[must_use]
    pub fn reported(output: &str) -> Self {
        let summary = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|message| message["message_type"] == "summary")
            .unwrap_or_else(|| panic!("no summary in {output}"));
        Self {
            snapshot: summary["snapshot_id"].as_str().unwrap().to_owned(),
            added: summary["data_added"].as_u64().unwrap(),
        }
    }
}

/// The restic name of a repository with its credential in it, as restic 0.14 takes it nowhere else.
#[must_use]
pub fn address_of(credential: &Credential) -> String {
    let who = format!("://{}:{}@", credential.user, credential.password);
    credential.repository.replacen("://", &who, 1)
}

/// Adds a host whose repository, named like it, is initialised.
#[must_use]
pub fn ready(server: &Server, name: &str) -> Credential {
    let credential = server.add_host(name, &[]);
    initialise(&server.client(&credential), name);
    credential
}

/// Initialises a repository as `restic init` does, with two keys.
pub fn initialise(client: &Client, repository: &str) {
    let create = client.ask("POST", &format!("/{repository}/?create=true"));
    assert_eq!(create.unwrap().status, 200);
    let keys = KEYS.map(|key| (format!("/{repository}/keys/{}", id_of(key)), key));
    let config = (format!("/{repository}/config"), CONFIG);
    for (target, content) in keys.into_iter().chain([config]) {
        assert_eq!(client.post(&target, content).unwrap().status, 200, "{target}");
    }
}

/// The key of an initialised repository that restic does not use by itself: it tries them by name.
#[must_use]
pub fn other_key() -> String {
    KEYS.map(id_of).into_iter().max().unwrap()
}

/// A running rest-server.
#[derive(Debug)]
pub struct RestServer {
    run: Run,
    address: SocketAddr,
}

impl RestServer {
    /// Starts it on a directory.
    #[must_use]
    pub fn start(directory: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(program("rest-server"));
        command.args(["--listen", "127.0.0.1:0", "--path"]).arg(directory);
        command.args(options);
        let mut run = Run::start(command);
        let address = wait::until("rest-server says where it listens", || {
            assert!(!run.has_ended(), "rest-server ended: {}", run.seen());
            let seen = run.seen();
            let line = seen.lines().find_map(|line| line.strip_prefix("start server on "))?;
            line.parse().ok()
        });
        Self { run, address }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it.
    pub fn stop(self) {
        self.run.signal(Signal::TERM);
        let _ = self.run.end().expect_code(0);
    }
}
