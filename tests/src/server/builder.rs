//! How a server is to be started.
//!
//! Invariant: whatever was chosen, it serves a directory of its own, or one that the test named, on a free port.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::passed::Passed;
use super::{PREFIX, Server};
use crate::bucket::{Bucket, REGION};
use crate::log::Log;
use crate::port::Port;

/// How many servers use one bucket.
#[derive(Debug, Clone, Copy, Default)]
enum Instances {
    #[default]
    One,
    Many,
}

/// How a server is to be started.
#[derive(Debug, Default)]
pub struct Builder {
    data: Option<PathBuf>,
    bucket: Option<Bucket>,
    credentials_file: Option<PathBuf>,
    instances: Instances,
    accept: Vec<&'static str>,
    config: String,
    args: Vec<String>,
    listen: Option<SocketAddr>,
    places: Vec<String>,
    env: Vec<(String, String)>,
    passed: Option<Passed>,
    tls: bool,
    without_config: bool,
}

impl Builder {
    /// Serves this directory instead of a new one. It is not removed.
    #[must_use]
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// Keeps repositories in this bucket, reached as the value says, and with its credential. That this may do anything,
    /// and that moto checks no content, is accepted.
    #[must_use]
    pub fn bucket(mut self, bucket: &Bucket) -> Self {
        self.bucket = Some(bucket.clone());
        self.env("AWS_ACCESS_KEY_ID", &bucket.access().key)
            .env("AWS_SECRET_ACCESS_KEY", &bucket.access().secret)
    }

    /// Keeps repositories in this bucket, with the credential in this file.
    #[must_use]
    pub fn bucket_by(mut self, bucket: &Bucket, credentials_file: &Path) -> Self {
        self.bucket = Some(bucket.clone());
        self.credentials_file = Some(credentials_file.to_owned());
        self
    }

    /// Says that other servers use the same bucket.
    #[must_use]
    pub const fn one_of_many(mut self) -> Self {
        self.instances = Instances::Many;
        self
    }

    /// Accepts a weakness of the store by its name in the configuration.
    #[must_use]
    pub fn accept(mut self, weakness: &'static str) -> Self {
        self.accept.push(weakness);
        self
    }

    /// Adds these lines to the config file: `key = value`, then tables if any.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Adds these arguments to `pawl serve`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Listens here instead of on the loopback network.
    #[must_use]
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Listens at these places by its config file, with no word of it on the command line.
    #[must_use]
    pub fn listen_at(mut self, places: &[&str]) -> Self {
        self.places.extend(places.iter().map(|&place| place.to_owned()));
        self
    }

    /// Sets a variable in the server's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Passes these sockets, one or two, as systemd does, with `LISTEN_FDNAMES` if there are names.
    #[must_use]
    pub fn passing(mut self, sockets: Vec<OwnedFd>, names: Option<&str>) -> Self {
        self.passed = Some(Passed::new(sockets, names));
        self
    }

    /// Serves HTTPS with the private certificate authority.
    #[must_use]
    pub const fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts with `--data` alone, as somebody who tries Pawl out does.
    #[must_use]
    pub const fn without_config(mut self) -> Self {
        self.without_config = true;
        self
    }

    /// What the config file says of the bucket.
    fn table(&self) -> String {
        let Some(bucket) = &self.bucket else { return String::new() };
        let instances = match self.instances {
            Instances::One => "one",
            Instances::Many => "many",
        };
        let file =
            self.credentials_file.iter().map(|file| format!("credentials_file = \"{}\"\n", file.display()));
        let table = format!(
            "[s3]\nbucket = {:?}\nprefix = {PREFIX:?}\nregion = {REGION:?}\nendpoint = {:?}\n\
             instances = {instances:?}\naccept = {:?}\n",
            bucket.name(),
            bucket.endpoint_url(),
            ["powerful-credential", "unchecked-content"].iter().chain(&self.accept).collect::<Vec<_>>(),
        );
        table + &file.collect::<String>()
    }

    /// Starts the server and waits until it listens.
    #[must_use]
    pub fn start(self) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let table = self.table();
        let data = self.data.unwrap_or_else(|| dir.path().join("data"));
        let place = if self.without_config {
            ["--data".to_owned(), data.to_str().unwrap().to_owned()]
        } else {
            let path = dir.path().join("pawl.toml");
            let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
            let tls = if self.tls { "tls.enabled = true\n" } else { "" };
            let data = data.to_str().unwrap();
            let listen = match &self.places[..] {
                [] => "\"127.0.0.1:0\"".to_owned(),
                [one] => format!("{one:?}"),
                several => format!("{several:?}"),
            };
            write!(file, "data = \"{data}\"\nlisten = {listen}\n{tls}{}{table}", self.config).unwrap();
            ["--config".to_owned(), path.to_str().unwrap().to_owned()]
        };
        let wanted = self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let names_port = self.places.is_empty() && self.passed.is_none();
        let port = names_port.then(|| Port::hold(wanted));
        let mut server = Server {
            dir,
            data,
            bucket: self.bucket,
            place,
            args: self.args,
            listen_by_config: !self.places.is_empty(),
            env: self.env,
            passed: self.passed,
            address: port.as_ref().map_or(wanted, Port::address),
            _port: port,
            url: String::new(),
            log: Log::default(),
            output: Log::default(),
            running: None,
        };
        server.start_again();
        server
    }
}
