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
    /// Add a host and print what to paste on it
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
    /// Give a host access to more repositories
    #[command(after_long_help = "\
Example:
  pawl host add-repository web1 --repository hosts/web1-mail --quota 50GiB --data ./pawl-data")]
    AddRepository(AddRepository),
    /// List hosts and their rights
    List {
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a host's access at once; its backups stay
    Revoke {
        /// The host
        name: PrincipalName,
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
    },
    /// Replace a host's password or certificate; the old one ends at once
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
    /// Make a client certificate in this new file (PEM), in place of a password
    #[arg(long = "certificate", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Let the certificate expire after N days
    #[arg(long = "certificate-days", value_name = "DAYS", requires = "file",
          default_value_t = CERTIFICATE_DAYS_DEFAULT,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(CERTIFICATE_DAYS_MAX)))]
    pub days: u16,
}

/// What a host may do in a repository.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access and limits")]
pub struct GrantOptions {
    /// Let the host back up, or only restore
    #[arg(long, value_enum, default_value_t = HostRole::Backup)]
    pub role: HostRole,
    /// Allow `restic key add`
    #[arg(long = "allow-key-add")]
    pub may_add_keys: bool,
    /// Accept the host from this network only, e.g. 192.0.2.0/24; repeatable
    #[arg(long = "network", value_name = "CIDR")]
    pub networks: Vec<Network>,
    /// End access on this day (UTC), e.g. 2027-12-31
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
    /// Refuse uploads once the repository holds this much, e.g. 200GiB
    #[arg(long, value_name = "SIZE")]
    pub quota: Option<ByteSize>,
    /// Refuse uploads once the repository holds this many files
    #[arg(long, value_name = "NUMBER")]
    pub quota_files: Option<u64>,
}

/// Options of `pawl host add-repository`.
#[derive(Debug, Args)]
pub struct AddRepository {
    /// The host
    pub name: PrincipalName,
    /// Give access to this repository, e.g. hosts/web1; repeatable
    #[arg(long = "repository", value_name = "NAME", required = true)]
    pub repositories: Vec<RepositoryName>,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// What it may do there
    #[command(flatten)]
    pub grant: GrantOptions,
}

/// Options of `pawl host add`.
#[derive(Debug, Args)]
pub struct AddHost {
    /// The host's name, which is also its user name
    pub name: PrincipalName,
    /// Give access to this repository, e.g. hosts/web1; repeatable [default: the host's name]
    #[arg(long = "repository", value_name = "NAME")]
    pub repositories: Vec<RepositoryName>,
    /// Use the password from the configuration's htpasswd file
    #[arg(long, conflicts_with = "file")]
    pub password_in_htpasswd: bool,
    /// Give it a certificate
    #[command(flatten)]
    pub certificate: NewCertificate,
    /// Require a password beside the certificate
    #[arg(long, requires = "file")]
    pub and_password: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// What it may do there
    #[command(flatten)]
    pub grant: GrantOptions,
    /// Refuse uploads once the host has stored this much in all its repositories
    #[arg(long, help_heading = "Access and limits", value_name = "SIZE")]
    pub total_quota: Option<ByteSize>,
    /// Refuse uploads once the host has stored this many files
    #[arg(long, help_heading = "Access and limits", value_name = "NUMBER")]
    pub total_quota_files: Option<u64>,
    /// Delay more than N requests a second
    #[arg(long, help_heading = "Access and limits", value_name = "NUMBER")]
    pub requests_per_second: Option<NonZeroU32>,
    /// Limit the speed, up and down together, e.g. 50MiB
    #[arg(long, help_heading = "Access and limits", value_name = "SIZE")]
    pub bytes_per_second: Option<ByteSize>,
}

/// The roles that a host can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostRole {
    /// Read and add
    Backup,
    /// Read only
    Restore,
}
