//! The command line of `pawl maintain`.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use pawl_config::Listen;
use pawl_config::Place;
use pawl_policy::{BatchId, FileId, Handle, PrincipalName, RepositoryName};

use super::{Forget, Report, Restore, Run, Trust, Verify};

/// `pawl maintain …`
#[derive(Debug, Subcommand)]
pub enum Maintain {
    /// Start the maintenance server, where admins prune with restic
    #[command(after_long_help = "\
Examples:
  pawl maintain serve --data ./pawl-data                # prints what to paste; a socket in the data directory
  pawl maintain serve --data ./pawl-data --listen 127.0.0.1:8002  # with TLS, for restic before 0.17
  pawl maintain serve --config /etc/pawl/pawl.toml

Then, as an admin:
  restic forget --keep-within 7d --keep-daily 14 --keep-weekly 8 --prune

Hosts go on meanwhile. A snapshot younger than 7 days is not deleted (min_snapshot_age_days), nor after that attempt
what it may need; --keep-within spares the attempt. Nothing that is deleted is gone
before 14 days have passed (purge_delay_days) and `pawl maintain purge` was run.

With a bucket every start tries it out; other commands of maintenance believe for a day what was found.")]
    Serve(ServeMaintenance),
    /// Add, list and revoke admins
    #[command(subcommand)]
    Admin(Admin),
    /// List deletions, or undo one
    #[command(
        alias = "deleted",
        after_long_help = "\
Examples:
  pawl maintain undelete --data ./pawl-data                             # lists the batches that there are
  pawl maintain undelete 20261121T014500Z-1a2b3c4d --data ./pawl-data

Later batches of the same repository come back as well, because a prune removes what an earlier one wrote anew: without
it, what comes back could be incomplete. --only leaves them. Every file is hashed before it comes back, and none that is
there is replaced."
    )]
    Undelete(Undelete),
    /// Remove for good what was deleted before the delay
    #[command(after_long_help = "\
Examples:
  pawl maintain purge --dry-run --data ./pawl-data     # says what would be removed, and what not yet, and why
  pawl maintain purge --config /etc/pawl/pawl.toml     # run it every day

A deletion becomes final once its delay has passed (14 days unless configured) and maintenance has seen it on half as
many distinct days, so that one wrong reading of a clock removes nothing. In a bucket, whose key of maintenance may not
remove versions, the lifecycle rule removes them instead.")]
    Purge(Purge),
    /// Check every file, and read the part that is due
    #[command(after_long_help = super::verify::HELP)]
    Verify(Verify),
    /// Replace damaged files by good copies, or return to a moment
    #[command(after_long_help = super::restore::HELP)]
    Restore(Restore),
    /// Report on all backups: what needs attention is on top
    #[command(after_long_help = super::report::HELP)]
    Report(Report),
    /// Soft-delete single files or a whole repository
    #[command(after_long_help = "\
Examples:
  pawl maintain delete web1 index/5f0c…(64 digits) --data ./pawl-data   # junk that restic chokes on
  pawl maintain delete old-host --data ./pawl-data                      # all of a repository that is retired

A retired repository's name stays taken: hosts cannot begin a new one there.")]
    Delete(DeleteFiles),
    /// Remove snapshots by restic's keep rules and the time of receipt
    #[command(after_long_help = super::forget::FORGET_HELP)]
    Forget(Box<Forget>),
    /// Maintain all repositories: the nightly run
    #[command(after_help = super::run::HELP)]
    Run(Box<Run>),
    /// Start `run` every night, for `pawl serve`, with which it ends
    #[command(hide = true)]
    Nights {
        /// The server's process
        #[arg(long, value_name = "PID")]
        server: u32,
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
    },
    /// Trust the times that snapshots claim
    #[command(after_long_help = super::forget::TRUST_HELP)]
    Trust(Trust),
    /// List keys, and choose which ones hosts see
    #[command(subcommand)]
    Key(Key),
    /// Add a host, and have its backups maintained every night
    #[command(after_long_help = "\
Examples:
  pawl maintain enroll web1 --data ./pawl-data       # prints what to paste on web1, the repository's password included
  pawl maintain enroll web1 --password-file web1.password --config /etc/pawl/pawl.toml   # a repository that exists

It adds the host unless it is there, has restic make the repository unless it is there, and adds a key for management that \
the host does not see. The management password is made on first use. Rules (14 daily, 8 weekly and 12 monthly snapshots) and \
the time of the night go into the configuration, unless it has its own: with --data, into DIR/.pawl/pawl.toml. Snapshots \
that came from elsewhere, as with a directory of rest-server, keep the times that they claim. Run it again, and it does only \
what is missing. Needs restic 0.14 or newer on this machine.")]
    Enroll(Enroll),
    /// Take a repository out of service, reversibly
    #[command(after_long_help = "\
Examples:
  pawl maintain retire web1 --data ./pawl-data             # what is left of it is removed for good after the delay
  pawl maintain retire old-name --data ./pawl-data         # it was renamed or removed by hand: no night looks for it again

Hosts that back up to it and nowhere else lose their access; others lose the grant. `pawl maintain undelete BATCH` brings \
the files back, and then `pawl maintain enroll NAME` the host.")]
    Retire(Retire),
}

/// Options of `pawl maintain serve`.
#[derive(Debug, Args)]
pub struct ServeMaintenance {
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// Listen here instead of on the socket in the data directory; repeatable
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH")]
    pub listen: Vec<Listen>,
}

/// `pawl maintain admin …`
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Add an admin, and print the password once
    Add {
        /// The admin's name
        name: PrincipalName,
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List admins
    List {
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End an admin's access at once
    Revoke {
        /// The admin
        name: PrincipalName,
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
    },
    /// Replace an admin's password; the old one ends at once
    Rotate {
        /// The admin
        name: PrincipalName,
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Options of `pawl maintain undelete`.
#[derive(Debug, Args)]
pub struct Undelete {
    /// The batch [default: list all batches]
    pub batch: Option<BatchId>,
    /// Leave later batches of the repository deleted
    #[arg(long, requires = "batch")]
    pub only: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// Options of `pawl maintain purge`.
#[derive(Debug, Default, Args)]
pub struct Purge {
    /// Remove nothing; print what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Trust a clock that does not report as synchronised
    #[arg(long)]
    pub assume_clock_synced: bool,
    /// Limit reading, e.g. 100MiB
    #[arg(long, value_name = "SIZE")]
    pub bytes_per_second: Option<ByteSize>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// Options of `pawl maintain delete`.
#[derive(Debug, Args)]
pub struct DeleteFiles {
    /// The repository
    pub repository: RepositoryName,
    /// Files to delete, as restic names them [default: the whole repository]
    #[arg(value_name = "TYPE/ID")]
    pub files: Vec<Handle>,
    /// Delete snapshots younger than `min_snapshot_age_days` as well
    #[arg(long)]
    pub below_floor: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// `pawl maintain key …`
#[derive(Debug, Subcommand)]
pub enum Key {
    /// List a repository's keys and who sees them
    List {
        /// The repository
        repository: RepositoryName,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Data directory or configuration
        #[command(flatten)]
        place: Place,
    },
    /// Show a key to hosts
    Expose(OneKey),
    /// Hide a key from hosts
    Hide(OneKey),
}

/// One key of a repository.
#[derive(Debug, Args)]
pub struct OneKey {
    /// The repository
    pub repository: RepositoryName,
    /// The key's id, all 64 digits
    pub key: FileId,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// Options of `pawl maintain enroll`.
#[derive(Debug, Args)]
pub struct Enroll {
    /// The host's name
    pub name: PrincipalName,
    /// Its repository [default: the host's own name]
    #[arg(long, value_name = "NAME")]
    pub repository: Option<RepositoryName>,
    /// Read the host's password for the repository from this file [default: make one, and print it]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Use this restic [default: restic]
    #[arg(long, value_name = "PROGRAM")]
    pub restic: Option<PathBuf>,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// Options of `pawl maintain retire`.
#[derive(Debug, Args)]
pub struct Retire {
    /// The repository
    pub repository: RepositoryName,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}
