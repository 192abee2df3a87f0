//! The command line of `pawl maintain forget` and `pawl maintain trust`.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use clap::Args;
use pawl_policy::retention::Filter;
use pawl_policy::{FileId, RepositoryName};

use pawl_config::Place;
use pawl_config::lock_wait::LockWait;
use pawl_config::restic_options::ResticOptions;
use pawl_config::retention::{Retention, lists};
use pawl_config::run_settings::RunSettings;

/// Help of `forget` beyond the options.
pub(super) const FORGET_HELP: &str = "\
Examples:
  pawl maintain forget web1 --dry-run --data ./pawl-data    # with the settings of the night
  pawl maintain forget web1 --keep-daily 14 --keep-weekly 8 --keep-monthly 12 --dry-run \\
      --password-file management.password --data ./pawl-data
  pawl maintain forget web1 --keep-within 30d --canary /etc/canary=5f0c…(64 digits) \\
      --password-command 'pass pawl' --config /etc/pawl/pawl.toml

What [maintenance.run] of the configuration says of the repository (rules, password, --lock-wait) holds here as well; options
go before it, each for itself. The rules are restic's, on the time at which Pawl received a snapshot where the claimed one is more than 24 hours from it.
Snapshots that are forged, shrunken below half of those before them, without the canary, or younger than the floor
are held: never removed, and never kept in the place of another. A group of which nothing was received for 30 days loses
nothing. What is removed is a deletion like any other, and can be brought back; data stays until restic prunes.
Who keeps the repository locked for longer than --lock-wait is named; a backup that goes on for that long is ended by its
own restic. Needs restic 0.14 or newer. Exit code: 0 if all is well, 1 if snapshots are held that somebody should look at,
or if locks had to be suspended, 2 if the work could not be done.";

/// Help of `trust` beyond the options.
pub(super) const TRUST_HELP: &str = "\
Examples:
  pawl maintain trust web1 --config /etc/pawl/pawl.toml             # a repository that was brought from elsewhere
  pawl maintain trust web1 5f0c…(64 digits) --config /etc/pawl/pawl.toml   # a snapshot that is held, and is good
  pawl maintain trust web1 --amend-received --config /etc/pawl/pawl.toml   # the clock was ahead when files were stored

Without ids the claimed times of all snapshots that are there now are believed; of those that are named, also that they
are as large as they should be. What comes later is judged as ever. --amend-received changes the time of receipt of every
file that says that it is received in the future to now, and vouches for nothing.";

/// Options of `pawl maintain forget`.
#[derive(Debug, Args)]
pub struct Forget {
    /// The repository
    pub repository: RepositoryName,
    /// Which snapshots stay
    #[command(flatten)]
    pub retention: Retention,
    /// Only snapshots of this host; can be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Only snapshots with all these tags; can be repeated, for one or the other
    #[arg(long = "tag", value_name = "TAG,…")]
    pub tags: Vec<String>,
    /// Only snapshots with this path; can be repeated, for all of them
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<String>,
    /// Wait so long, such as 10m, for locks of others; then have hosts refused new ones, and wait until those that are
    /// there are stale, for up to 31 minutes [default: 2h]
    #[arg(long, value_name = "TIME")]
    pub lock_wait: Option<LockWait>,
    /// As if a lock that was permitted took no longer than this to arrive
    #[arg(long, hide = true, value_name = "TIME")]
    pub locks_arrive_within: Option<LockWait>,
    /// Remove nothing, and say what would be
    #[arg(long)]
    pub dry_run: bool,
    /// How the snapshots are read, and removed
    #[command(flatten)]
    pub restic: ResticOptions,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

impl Forget {
    /// What was typed, with the settings of the repository's nights behind it.
    #[must_use]
    pub fn settings(&self, of_nights: &RunSettings) -> RunSettings {
        let (retention, restic) = (self.retention.clone(), self.restic.clone());
        RunSettings { retention, restic, lock_wait: self.lock_wait, ..RunSettings::default() }.or(of_nights)
    }

    /// Which snapshots are looked at.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter { hosts: self.hosts.clone(), paths: self.paths.clone(), tags: lists(&self.tags) }
    }
}

/// Options of `pawl maintain trust`.
#[derive(Debug, Args)]
pub struct Trust {
    /// The repository
    pub repository: RepositoryName,
    /// Snapshots, by all 64 digits [default: all that are there, for their times only]
    #[arg(value_name = "ID")]
    pub snapshots: Vec<FileId>,
    /// Vouch for nothing; let what says that it is received in the future count as received now
    #[arg(long, conflicts_with = "snapshots")]
    pub amend_received: bool,
    /// The clock of this machine is right although it does not say that it is synchronised
    #[arg(long, requires = "amend_received")]
    pub assume_clock_synced: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}
