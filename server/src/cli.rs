//! The command line: what can be typed, and the help that teaches it.
//!
//! Invariant: parsing has no effect; shell completions and the man page are made from the same definitions.

mod forget;
mod lock_wait;
mod maintain;
mod report;
mod restore;
mod run;
mod verify;

use std::num::NonZeroU32;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use pawl_policy::{Network, PrincipalName, RepositoryName};

use crate::config::{Listen, LogFormat, LogLevel};
use crate::confine::Level;
use crate::credentials::{CERTIFICATE_DAYS_DEFAULT, CERTIFICATE_DAYS_MAX};
use crate::s3_policy;
pub use forget::{Adopt, Forget, Retention};
pub use lock_wait::{InvalidWait, LockWait};
pub use maintain::{Admin, DeleteFiles, Enrol, Key, Maintain, OneKey, Purge, ServeMaintenance, Undelete};
pub use report::Report;
pub use restore::Restore;
pub use run::{Portions, Run, Settings, Until};
pub use verify::{Reading, UsersRestic, Verify};

/// Everything that can be typed after `pawl`.
#[derive(Debug, Parser)]
#[command(
    name = "pawl",
    version,
    about = "A restic repository server whose hosts can only add",
    long_about = "Pawl is a repository server for restic and rustic. Hosts back up to it and restore from it; what \
                  they, or a thief of their credentials, cannot do is overwrite or delete anything.",
    after_long_help = "\
First backup:
  pawl serve --data ./pawl-data        # prints three lines to paste on the host
  pawl host add web1 --data ./pawl-data

Maintenance:
  pawl maintain serve --data ./pawl-data   # prints what to paste, to prune with restic
  pawl maintain deleted --data ./pawl-data",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve repositories to hosts
    #[command(after_long_help = "\
Examples:
  pawl serve --data ./pawl-data                        # this machine only; makes all it needs
  pawl serve --data /srv/backup --listen 192.0.2.1:8000  # with TLS and a private CA
  pawl serve --data /srv/backup --listen unix:/run/pawl.sock  # processes of this machine; restic 0.17 or newer
  pawl serve --config /etc/pawl/pawl.toml              # a real deployment; see deploy/example.toml

SIGHUP reads certificates and hosts again. SIGTERM and Ctrl-C let running uploads finish.")]
    Serve(Serve),
    /// Add, list and revoke hosts
    #[command(subcommand)]
    Host(Host),
    /// Prune, repair and bring back; nothing of it can be done with a host's credential
    #[command(subcommand)]
    Maintain(Maintain),
    /// Show what each role may do
    #[command(subcommand)]
    Policy(Policy),
    /// Verify and read the audit log
    #[command(subcommand)]
    Audit(Audit),
    /// Say whether the place where repositories are kept holds what Pawl promises
    #[command(after_long_help = "\
Examples:
  pawl doctor --config /etc/pawl/pawl.toml
  pawl doctor --json --config /etc/pawl/pawl.toml

A bucket is tried out with a few small objects beneath `.pawl-probe/`, which stay there: versions, writes that must not
replace, checksums, and what the credential can do that it should not. Exit code 0: all is well, or accepted by name in
the configuration; 1: something is not; 2: it could not be found out.")]
    Doctor(Doctor),
    /// Print shell completions
    #[command(after_long_help = "Example:\n  pawl completions bash > /etc/bash_completion.d/pawl")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    #[command(after_long_help = "\
Examples:
  pawl man > pawl.1 && man ./pawl.1
  pawl man --directory /usr/local/share/man/man1   # one for each command")]
    Man {
        /// Write that page and one for each command into this directory instead
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Name files for the door, as a service under a user of its own
    #[command(after_long_help = "\
The door, which listens to hosts, can read and can fill files that have no name; the keeper names them, and never in \
place of another. `pawl serve` starts it by itself, under its own user. As a service under another user (keeper_socket \
in the configuration, deploy/systemd), what is stored belongs to a user that the door is not.

Example:
  pawl keeper --config /etc/pawl/pawl.toml   # serves one door, and ends with it; systemd starts it at each connection")]
    Keeper(Keeper),
}

/// Options of `pawl keeper`. Those that are hidden are for the process that starts it.
#[derive(Debug, Args)]
pub struct Keeper {
    /// The configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    pub config: Option<PathBuf>,
    /// The directory that holds all repositories
    #[arg(long, hide = true)]
    pub data: Option<PathBuf>,
    /// What its log looks like
    #[arg(long, hide = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// From which level on it logs
    #[arg(long, hide = true, value_enum, default_value = "info")]
    pub log_level: LogLevel,
    /// It works for maintenance
    #[arg(long, hide = true)]
    pub maintenance: bool,
    /// How it is confined
    #[arg(long, hide = true, value_enum, default_value = "seccomp")]
    pub confinement: Level,
    /// As if the kernel's Landlock were older
    #[arg(long, hide = true)]
    pub landlock_abi_max: Option<u8>,
}

/// Which data directory is meant.
#[derive(Debug, Default, Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// The directory that holds all repositories
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Options of `pawl doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `pawl serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// Where to listen instead of 127.0.0.1:8000 or what the configuration says; port 0 picks a free one; can be
    /// repeated
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH")]
    pub listen: Vec<Listen>,
    /// As if the kernel's Landlock were older
    #[arg(long, hide = true)]
    pub landlock_abi_max: Option<u8>,
}

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

/// Options of `pawl host add`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct AddHost {
    /// The host's name, which is its user name as well
    pub name: PrincipalName,
    /// A repository it may use, 1 to 4 segments; can be repeated [default: the host's own name]
    #[arg(long = "repository", value_name = "NAME")]
    pub repositories: Vec<RepositoryName>,
    /// What it may do there
    #[arg(long, value_enum, default_value_t = HostRole::Backup)]
    pub role: HostRole,
    /// Let it add key files (`restic key add`) to repositories that are initialised
    #[arg(long)]
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

/// Options of `pawl policy table`.
#[derive(Debug, Args)]
pub struct PolicyTable {
    /// Only what this principal can do
    #[arg(long, requires = "place")]
    pub principal: Option<PrincipalName>,
    /// The directory that holds all repositories
    #[arg(long, value_name = "DIR", group = "place", requires = "principal")]
    pub data: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE", group = "place", requires = "principal")]
    pub config: Option<PathBuf>,
}

/// `pawl audit …`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check that nothing in the log was changed, removed or moved
    #[command(after_long_help = "\
Examples:
  pawl audit verify --data ./pawl-data
  pawl audit verify --data ./pawl-data --head 5f0c…     # and that nothing after this head was cut off
  pawl audit verify /mnt/copy/*.jsonl                   # files in their order

The head is the hash of the last record. `pawl serve` logs it every hour; kept on another machine, it shows whether
the end of the log was cut off.")]
    Verify(VerifyAudit),
    /// Print what was asked, decided and done
    #[command(after_long_help = "\
Examples:
  pawl audit show --principal web1 --since 2026-11-01 --data ./pawl-data   # what this credential did since
  pawl audit show --repository hosts/web1 --json --config /etc/pawl/pawl.toml")]
    Show(ShowAudit),
}

/// Options of `pawl audit verify`.
#[derive(Debug, Args)]
pub struct VerifyAudit {
    /// Files of the log, in their order
    #[arg(value_name = "FILE", required_unless_present = "data")]
    pub files: Vec<PathBuf>,
    /// All files of this data directory
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    pub data: Option<PathBuf>,
    /// The hash of a record that must be there
    #[arg(long, value_name = "HASH")]
    pub head: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `pawl audit show`.
#[derive(Debug, Args)]
pub struct ShowAudit {
    /// Only what this principal asked, or what was done for it
    #[arg(long)]
    pub principal: Option<PrincipalName>,
    /// Only what concerns this repository
    #[arg(long)]
    pub repository: Option<RepositoryName>,
    /// Only from this day (UTC) or moment on
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Print the records as they are, one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// `pawl policy …`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Print the decision table: each action, each circumstance, each role
    #[command(after_long_help = "\
Examples:
  pawl policy table
  pawl policy table --principal web1 --data ./pawl-data   # what this one can do, where, and how far")]
    Table(PolicyTable),
    /// Print the policies of a bucket: for each role, for the bucket itself, and its lifecycle
    #[command(after_long_help = "\
Examples:
  pawl policy s3 --table                                                   # who may do what
  pawl policy s3 --bucket backup --account 123456789012                    # everything, for AWS
  pawl policy s3 --bucket backup --account 123456789012 --role writer      # what `pawl serve` may do
  pawl policy s3 --bucket backup --for ceph --document bucket-policy       # for Ceph RGW

Nothing is changed: hand what is printed to `aws iam put-role-policy`, `aws s3api put-bucket-policy` and
`aws s3api put-bucket-lifecycle-configuration`.")]
    S3(Box<s3_policy::Options>),
}
