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

Settings in [maintenance.run] hold here as well; an option replaces its setting. The rules are restic's. They use the
time at which Pawl received a snapshot where the claimed time differs by more than 24 hours.

These snapshots are held, that is neither removed nor counted: forged ones, ones below half the size of those before
them, ones without the canary, and ones younger than min_snapshot_age_days. A group that received nothing for 30 days
loses nothing. Deletions are soft, and data stays until restic prunes. Needs restic 0.14 or newer.

Exit code: 0 all is well, 1 held snapshots need attention or locks were suspended, 2 the work failed.";

/// Help of `trust` beyond the options.
pub(super) const TRUST_HELP: &str = "\
Examples:
  pawl maintain trust web1 --config /etc/pawl/pawl.toml             # a repository that was brought from elsewhere
  pawl maintain trust web1 5f0c…(64 digits) --config /etc/pawl/pawl.toml   # a snapshot that is held, and is good
  pawl maintain trust web1 --amend-received --config /etc/pawl/pawl.toml   # the clock was ahead when files were stored

Without ids Pawl trusts the claimed times of all present snapshots; with ids also their size. Later snapshots are judged
as before. --amend-received sets the time of receipt to now for files that claim a receipt in the future.";

/// Options of `pawl maintain forget`.
#[derive(Debug, Args)]
pub struct Forget {
    /// The repository
    pub repository: RepositoryName,
    /// Consider snapshots of this host only; repeatable
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Consider snapshots with all these tags only; repeatable
    #[arg(long = "tag", value_name = "TAG,…")]
    pub tags: Vec<String>,
    /// Consider snapshots with all these paths only; repeatable
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<String>,
    /// Wait this long for locks of others, then suspend new locks [default: 2h]
    #[arg(long, value_name = "TIME")]
    pub lock_wait: Option<LockWait>,
    /// As if a lock that was permitted took no longer than this to arrive
    #[arg(long, hide = true, value_name = "TIME")]
    pub locks_arrive_within: Option<LockWait>,
    /// Remove nothing; print what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// Which snapshots stay
    #[command(flatten)]
    pub retention: Retention,
    /// How the snapshots are read, and removed
    #[command(flatten)]
    pub restic: ResticOptions,
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
    /// Let files received in the future count as received now; trust nothing
    #[arg(long, conflicts_with = "snapshots")]
    pub amend_received: bool,
    /// Trust a clock that does not report as synchronised
    #[arg(long, requires = "amend_received")]
    pub assume_clock_synced: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}
