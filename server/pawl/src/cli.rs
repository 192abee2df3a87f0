//! The command line: what can be typed, and the help that teaches it.
//!
//! Invariant: parsing has no effect; shell completions and the man page are made from the same definitions.

mod host;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use pawl_config::Listen;
use pawl_config::Place;
use pawl_policy::{PrincipalName, RepositoryName};

use pawl_maintenance::command_line::{ArchiveAudit, Doctor, Maintain};

use crate::s3_policy;
pub use host::{AddHost, AddRepository, GrantOptions, Host, HostRole, NewCertificate};

/// The commands of `pawl maintain` by what one wants, in the order of its help.
const TASKS: [(&str, &[&str]); 5] = [
    ("Every day", &["run", "report"]),
    ("Look", &["verify"]),
    ("Bring back", &["undelete", "restore"]),
    ("Remove", &["forget", "delete", "purge"]),
    ("Hosts, admins and keys", &["enroll", "retire", "trust", "key", "admin", "serve"]),
];

/// All commands, and their help.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command().mut_subcommand("maintain", by_task)
}

/// Lists the subcommands by task in the help.
fn by_task(command: clap::Command) -> clap::Command {
    let mut list = String::new();
    for (task, names) in TASKS {
        let _ = write!(list, "\n{task}:\n"); // writing to a String cannot fail
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let _ = writeln!(list, "  {name:<9} {}", about.cloned().unwrap_or_default());
        }
    }
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{list}\nOptions:\n{{options}}{{after-help}}"
    ))
}

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

Every night:
  pawl maintain enroll web1 --data ./pawl-data   # prune and check it, by `pawl serve` at 03:30

Maintenance:
  pawl maintain serve --data ./pawl-data   # prints what to paste, to prune with restic
  pawl maintain undelete --data ./pawl-data",
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
    /// Prune, verify, repair and undo, with credentials that no host has
    #[command(subcommand)]
    Maintain(Maintain),
    /// Show what each role may do
    #[command(subcommand)]
    Policy(Policy),
    /// Verify, read and archive the audit log
    #[command(subcommand)]
    Audit(Audit),
    /// Check the deployment: storage, permissions, confinement
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
        /// Write one page for each command into this directory
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Start the keeper as a service under a user of its own
    #[command(after_long_help = "\
The frontend, which listens to hosts, can read and can fill files that have no name; the keeper names them, and never in \
place of another. `pawl serve` starts it by itself, under its own user. As a service under another user (keeper_socket \
in the configuration, deploy/systemd), what is stored belongs to a user that the frontend is not.

Example:
  pawl keeper --config /etc/pawl/pawl.toml   # serves one frontend, and ends with it; systemd starts it at each connection")]
    Keeper(Keeper),
}

/// Options of `pawl keeper`.
#[derive(Debug, Args)]
pub struct Keeper {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// As if the kernel's Landlock were older
    #[arg(long, hide = true)]
    pub landlock_abi_max: Option<u8>,
}

/// Options of `pawl serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// Listen here [default: 127.0.0.1:8000]; port 0 picks a free one; repeatable
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH")]
    pub listen: Vec<Listen>,
    /// As if the kernel's Landlock were older
    #[arg(long, hide = true)]
    pub landlock_abi_max: Option<u8>,
}

/// Options of `pawl policy table`.
#[derive(Debug, Args)]
pub struct PolicyTable {
    /// Print what this host or admin may do
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
    /// Check the chain of the log
    #[command(after_long_help = "\
Examples:
  pawl audit verify --data ./pawl-data
  pawl audit verify --data ./pawl-data --head 5f0c…     # and that nothing after this head was cut off
  pawl audit verify --data ./pawl-data --archive /mnt/archive   # and what was archived there, from the first record on
  pawl audit verify /mnt/copy/*.jsonl                   # files in their order

Where old files were archived, the chain is checked from the checkpoint on. The head is the hash of the last record. `pawl serve` logs it every hour; kept on another machine, it shows whether
the end of the log was cut off.")]
    Verify(VerifyAudit),
    /// Print the log
    #[command(after_long_help = "\
Examples:
  pawl audit show --principal web1 --since 2026-11-01 --data ./pawl-data   # what this credential did since
  pawl audit show --repository hosts/web1 --json --config /etc/pawl/pawl.toml")]
    Show(ShowAudit),
    /// Move old files of the log to another directory
    #[command(after_long_help = "\
Examples:
  pawl audit archive --before 2026-01-01 --to /mnt/archive --data ./pawl-data
  pawl audit verify --archive /mnt/archive --data ./pawl-data   # checks all of it, from the first record on

A file of the log has 64 MiB. It is archived when all its records are older than --before, another file follows it, and
the last report has read it. Its copy is on disk before it is removed. A checkpoint keeps the number and the hash of the
last archived record, so that `pawl audit verify` checks the rest of the chain without the archive. The server may run
meanwhile.")]
    Archive(ArchiveAudit),
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
    /// Check the files archived there as well; repeatable
    #[arg(long, value_name = "DIR", requires = "data")]
    pub archive: Vec<PathBuf>,
    /// Require a record with this hash
    #[arg(long, value_name = "HASH")]
    pub head: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `pawl audit show`.
#[derive(Debug, Args)]
pub struct ShowAudit {
    /// Print lines about this host or admin
    #[arg(long)]
    pub principal: Option<PrincipalName>,
    /// Print lines about this repository
    #[arg(long)]
    pub repository: Option<RepositoryName>,
    /// Print lines since this day (UTC) or moment
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// `pawl policy …`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Print the decision table
    #[command(after_long_help = "\
Examples:
  pawl policy table
  pawl policy table --principal web1 --data ./pawl-data   # what this one can do, where, and how far")]
    Table(PolicyTable),
    /// Print policies and lifecycle rules for a bucket
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_of_maintenance_has_its_place_in_the_help() {
        let command = command();
        let maintain = command.find_subcommand("maintain").unwrap();
        let shown = maintain.get_subcommands().filter(|command| !command.is_hide_set());
        let mut shown: Vec<_> = shown.map(clap::Command::get_name).collect();
        let mut listed: Vec<_> = TASKS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        shown.sort_unstable();
        listed.sort_unstable();
        assert_eq!(shown, listed);
    }
}
