//! The command line of `pawl host`.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::num::NonZeroU32;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Subcommand, ValueEnum};
use pawl_config::Place;
use pawl_policy::{Network, PrincipalName, RepositoryName};

use pawl_frontend::credentials::{CERTIFICATE_DAYS_DEFAULT, CERTIFICATE_DAYS_MAX};

/// `pawl host …`
#[derive(Debug, Subcommand)]
pub enum Host {
    /// Give a new host a password or a certificate and say what to paste there
    #[command(after_long_help = "\
Examples:
  pawl host add web1 --data ./pawl-data                      # backs up to the repository web1
  pawl host add web1 --repository hosts/web1 --config /etc/pawl/pawl.toml
  pawl host add db1 --quota 200GiB --network 192.0.2.0/24 --expires 2027-12-31 --data ./pawl-data
  pawl host add spare --role restore --repository web1 --data ./pawl-data   # may only read
  pawl host add web1 --certificate web1.pem --config /etc/pawl/pawl.toml   # instead of a password

With --and-password the host has to bring both.

The password is shown once; only its hash is kept. The same goes for a certificate: it and its key are in the file
and nowhere else. A running server knows the host at once.")]
    Add(AddHost),
    /// Let a host use more repositories; its credential stays
    #[command(after_long_help = "\
Example:
  pawl host add-repository web1 --repository hosts/web1-mail --quota 50GiB --data ./pawl-data")]
    AddRepository(AddRepository),
    /// List hosts and what they may do
    List {
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a host's access away, at once; what it stored stays
    Revoke {
        /// The host
        name: PrincipalName,
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
    },
    /// Renew what a host has, password, certificate or both; the old one ends at once
    Rotate {
        /// The host
        name: PrincipalName,
        /// If it has a certificate, where the new one goes
        #[command(flatten)]
        certificate: NewCertificate,
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A certificate that is to be made.
#[derive(Debug, Args)]
pub struct NewCertificate {
    /// Write a certificate and its key, PEM, into this new file; the host comes in with it instead of a password
    #[arg(long = "certificate", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How many days it is valid
    #[arg(long = "certificate-days", value_name = "DAYS", requires = "file",
          default_value_t = CERTIFICATE_DAYS_DEFAULT,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(CERTIFICATE_DAYS_MAX)))]
    pub days: u16,
}

/// What a host may do in a repository.
#[derive(Debug, Args)]
pub struct GrantOptions {
    /// What it may do there
    #[arg(long, value_enum, default_value_t = HostRole::Backup)]
    pub role: HostRole,
    /// Let it add key files (`restic key add`) to repositories that are initialised
    #[arg(long = "allow-key-add")]
    pub may_add_keys: bool,
    /// Only from this network, such as 192.0.2.0/24, or this address; can be repeated
    #[arg(long = "network", value_name = "CIDR")]
    pub networks: Vec<Network>,
    /// Until this day (UTC) or moment
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
    /// Only as long as the repository holds less than this, such as 200GiB
    #[arg(long, value_name = "SIZE")]
    pub quota: Option<ByteSize>,
    /// Only as long as the repository holds fewer files
    #[arg(long, value_name = "NUMBER")]
    pub quota_files: Option<u64>,
}

/// Options of `pawl host add-repository`.
#[derive(Debug, Args)]
pub struct AddRepository {
    /// The host
    pub name: PrincipalName,
    /// A repository it may use, 1 to 4 segments; can be repeated
    #[arg(long = "repository", value_name = "NAME", required = true)]
    pub repositories: Vec<RepositoryName>,
    /// What it may do there
    #[command(flatten)]
    pub grant: GrantOptions,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// Options of `pawl host add`.
#[derive(Debug, Args)]
pub struct AddHost {
    /// The host's name, which is its user name as well
    pub name: PrincipalName,
    /// A repository it may use, 1 to 4 segments; can be repeated [default: the host's own name]
    #[arg(long = "repository", value_name = "NAME")]
    pub repositories: Vec<RepositoryName>,
    /// What it may do there
    #[command(flatten)]
    pub grant: GrantOptions,
    /// Only as long as it has stored less than this in all its repositories
    #[arg(long, value_name = "SIZE")]
    pub total_quota: Option<ByteSize>,
    /// Only as long as it has stored fewer files in all its repositories
    #[arg(long, value_name = "NUMBER")]
    pub total_quota_files: Option<u64>,
    /// At most so many requests a second; more wait
    #[arg(long, value_name = "NUMBER")]
    pub requests_per_second: Option<NonZeroU32>,
    /// At most so many bytes a second, up and down together, such as 50MiB; more wait
    #[arg(long, value_name = "SIZE")]
    pub bytes_per_second: Option<ByteSize>,
    /// Its password is in the htpasswd file that the configuration names
    #[arg(long, conflicts_with = "file")]
    pub password_in_htpasswd: bool,
    /// Give it a certificate
    #[command(flatten)]
    pub certificate: NewCertificate,
    /// Give it a password as well as the certificate; it has to bring both
    #[arg(long, requires = "file")]
    pub and_password: bool,
    /// Print JSON with user, password, repository, `ca_file` and, with a certificate, `client_certificate`
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// The roles that a host can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostRole {
    /// Read and add
    Backup,
    /// Read only
    Restore,
}
