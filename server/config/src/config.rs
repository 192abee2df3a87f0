//! The configuration: one TOML file, or `--data` alone.
//!
//! Invariant: a [`Config`] is free of contradictions. Unknown keys and values out of range are errors that name
//! the file, the key and what is allowed.

mod confinement;
mod listen;
mod maintenance;
mod refused;
mod report;
mod run;
mod s3;
mod written;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use pawl_policy::Caps;
use serde::Deserialize;

use crate::Proxies;
use crate::files;
use crate::s3::S3Settings;
pub use confinement::{Demand, Level};
pub use listen::{Listen, ListenError};
pub use maintenance::Maintenance;
pub use report::{Format, Report};
pub use run::Run as Nights;

/// Where the frontend listens unless told otherwise: this machine only.
pub const LISTEN_DEFAULT: Listen = Listen::Tcp(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8000)));

/// The configuration that `--data DIR` uses, in DIR.
pub const IN_DATA: &str = ".pawl/pawl.toml";

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The file is not there.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// The file's text is not understood; the cause names line and key.
    #[error("{}: {cause}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, key, and what was expected.
        cause: String,
    },
    /// A value that cannot be.
    #[error("{}: {key}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// What was expected, what was found, what to do.
        reason: String,
    },
}

/// Everything that `pawl serve` and `pawl maintain` need to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that holds all repositories; with a bucket only what is Pawl's own.
    pub data: PathBuf,
    /// The bucket that holds all repositories instead.
    pub s3: Option<S3Settings>,
    /// Where to listen: at least one place. Hosts are told of the first.
    pub listen: Vec<Listen>,
    /// What hosts are told to use, for example `https://backup.example.org:8000`; derived if absent.
    pub public_url: Option<String>,
    /// TLS, or plain HTTP.
    pub tls: Tls,
    /// Plain HTTP on any address, for a proxy that speaks TLS.
    pub plain_http: bool,
    /// Proxies that are believed when they say who asks.
    pub proxies: Proxies,
    /// Users beside the hosts file.
    pub htpasswd: Option<PathBuf>,
    /// Wrong passwords that one address may try each minute.
    pub failed_logins_per_minute: NonZeroU32,
    /// Deadlines and counts.
    pub limits: Limits,
    /// The largest file of each kind.
    pub caps: Caps,
    /// Where metrics and health can be asked for, if anywhere.
    pub status: Option<SocketAddr>,
    /// Where admins come in, and how long things are kept.
    pub maintenance: Maintenance,
    /// What the log looks like.
    pub log: Log,
    /// How frontend and keeper are confined.
    pub confinement: Demand,
    /// Where the keeper is reached if it is a service of its own.
    pub keeper: Option<KeeperService>,
}

/// A keeper that is a service of its own, under a user of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperService {
    /// Its socket.
    pub socket: PathBuf,
    /// The user as which the frontend comes to it.
    pub door: String,
}

/// How connections are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not at all: on loopback, or because a proxy stands in front.
    Off,
    /// With a given certificate.
    Given {
        /// PEM: the certificate, then its intermediates.
        certificate: PathBuf,
        /// PEM: the certificate's private key.
        key: PathBuf,
    },
    /// With a certificate of a private CA, made on first start, for these names.
    PrivateCa {
        /// DNS names and addresses by which hosts reach the server.
        names: Vec<String>,
    },
}

/// Deadlines and counts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue. Where none is given, as many as there are descriptors and
    /// memory for.
    pub connections: Option<NonZeroU32>,
    /// Of these, from one address (one /64 in IPv6) before anybody has authenticated on them; more wait, and of those as
    /// many. A proxy's connections do not count.
    pub connections_per_address: u32,
    /// New connections from one address each minute on which nobody authenticates; more wait.
    pub new_connections_per_minute: NonZeroU32,
    /// Requests of one host at a time, and its connections. restic has 5 unless told otherwise.
    pub requests_per_host: u32,
    /// To finish a TLS handshake, and to finish sending a request's head.
    pub header: Duration,
    /// A connection without a request. Longer than restic keeps one (90 s), or it would meet a closed one.
    pub idle: Duration,
    /// A body from which nothing arrives, a client that takes nothing.
    pub stall: Duration,
    /// For uploads to finish when the server is told to stop.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_address: 256,
            new_connections_per_minute: NonZeroU32::new(1200).unwrap_or(NonZeroU32::MIN),
            requests_per_host: 128,
            header: Duration::from_secs(10),
            idle: Duration::from_mins(3),
            stall: Duration::from_mins(1),
            stop: Duration::from_secs(30),
        }
    }
}

/// What the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// From which level on.
    pub level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info }
    }
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// From which level on events are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the levels of every logger")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Wrong passwords that one address may try each minute, unless configured.
const FAILED_LOGINS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

impl Config {
    /// What `--data DIR` uses unless a configuration lies in the directory.
    #[must_use]
    pub fn for_data(data: PathBuf) -> Self {
        Self {
            data,
            s3: None,
            listen: vec![LISTEN_DEFAULT],
            public_url: None,
            tls: Tls::Off,
            plain_http: false,
            proxies: Proxies::default(),
            htpasswd: None,
            failed_logins_per_minute: FAILED_LOGINS_PER_MINUTE,
            limits: Limits::default(),
            caps: Caps::default(),
            status: None,
            maintenance: Maintenance::default(),
            log: Log::default(),
            confinement: Demand::default(),
            keeper: None,
        }
    }

    /// Reads the configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = files::read(path)?.ok_or_else(|| ConfigError::Missing(path.to_owned()))?;
        written::parse(&text, path, None)
    }

    /// What `--data DIR` uses: the configuration in the directory, if there is one, else the defaults.
    pub fn read_in(data: PathBuf) -> Result<Self, ConfigError> {
        let path = data.join(IN_DATA);
        match files::read(&path)? {
            Some(text) => written::parse(&text, &path, Some(data)),
            None => Ok(Self::for_data(data)),
        }
    }

    /// Listens elsewhere than configured. With TLS left to itself it follows the address.
    pub fn listen_on(&mut self, listen: Vec<Listen>) {
        let exposed = listen.iter().any(|place| place.exposed().is_some());
        if self.tls == Tls::Off && !self.plain_http && exposed {
            self.tls = Tls::PrivateCa { names: Vec::new() };
        }
        self.listen = listen;
    }
}
