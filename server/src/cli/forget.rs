//! The command line of `pawl maintain forget` and `pawl maintain adopt`.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use clap::Args;
use pawl_policy::retention::{Count, Filter, GroupBy, MaxShare, Rules, TagList, Within};
use pawl_policy::{FileId, RepositoryName};

use super::{LockWait, Place, Settings, UsersRestic};
use crate::maintenance::CanaryFile;

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

/// Help of `adopt` beyond the options.
pub(super) const ADOPT_HELP: &str = "\
Examples:
  pawl maintain adopt web1 --config /etc/pawl/pawl.toml             # a repository that was brought from elsewhere
  pawl maintain adopt web1 5f0c…(64 digits) --config /etc/pawl/pawl.toml   # a snapshot that is held, and is good
  pawl maintain adopt web1 --amend-received --config /etc/pawl/pawl.toml   # the clock was ahead when files were stored

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
    pub restic: UsersRestic,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// Which snapshots stay, and what is held back.
#[derive(Debug, Clone, Default, Args)]
pub struct Retention {
    /// The rules
    #[command(flatten)]
    pub keep: Keep,
    /// What a group is, to each of which the rules apply: host, paths, tags, or nothing [default: host,paths]
    #[arg(long, value_name = "WORDS")]
    pub group_by: Option<GroupBy>,
    /// Remove nothing of a group if this share of the days of which the last run left backups would have none any more
    /// [default: 50%]
    #[arg(long, value_name = "PERCENT")]
    pub max_share: Option<MaxShare>,
    /// A file that every backup must contain unchanged; can be repeated
    #[arg(long = "canary", value_name = "PATH=SHA256")]
    pub canaries: Vec<CanaryFile>,
}

impl Retention {
    /// The same, with the other's where nothing is said.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            keep: self.keep.or(&other.keep),
            group_by: self.group_by.or(other.group_by),
            max_share: self.max_share.or(other.max_share),
            canaries: either(&self.canaries, &other.canaries),
        }
    }
}

/// The keep rules, named as restic names them.
#[derive(Debug, Clone, Default, Args)]
pub struct Keep {
    /// The last so many, or 'unlimited'
    #[arg(long = "keep-last", value_name = "NUMBER", allow_negative_numbers = true)]
    last: Option<Count>,
    /// The newest of each of so many hours
    #[arg(long = "keep-hourly", value_name = "NUMBER", allow_negative_numbers = true)]
    hourly: Option<Count>,
    /// The newest of each of so many days
    #[arg(long = "keep-daily", value_name = "NUMBER", allow_negative_numbers = true)]
    daily: Option<Count>,
    /// The newest of each of so many weeks
    #[arg(long = "keep-weekly", value_name = "NUMBER", allow_negative_numbers = true)]
    weekly: Option<Count>,
    /// The newest of each of so many months
    #[arg(long = "keep-monthly", value_name = "NUMBER", allow_negative_numbers = true)]
    monthly: Option<Count>,
    /// The newest of each of so many years
    #[arg(long = "keep-yearly", value_name = "NUMBER", allow_negative_numbers = true)]
    yearly: Option<Count>,
    /// All that are newer than this, such as 1y5m7d2h, before the newest
    #[arg(long = "keep-within", value_name = "TIME")]
    within: Option<Within>,
    /// The newest of each hour among these
    #[arg(long = "keep-within-hourly", value_name = "TIME")]
    within_hourly: Option<Within>,
    /// The newest of each day among these
    #[arg(long = "keep-within-daily", value_name = "TIME")]
    within_daily: Option<Within>,
    /// The newest of each week among these
    #[arg(long = "keep-within-weekly", value_name = "TIME")]
    within_weekly: Option<Within>,
    /// The newest of each month among these
    #[arg(long = "keep-within-monthly", value_name = "TIME")]
    within_monthly: Option<Within>,
    /// The newest of each year among these
    #[arg(long = "keep-within-yearly", value_name = "TIME")]
    within_yearly: Option<Within>,
    /// All with all these tags; can be repeated, for one or the other
    #[arg(long = "keep-tag", value_name = "TAG,…")]
    with_tags: Vec<String>,
}

impl Keep {
    /// What they say.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            last: self.last.unwrap_or_default(),
            hourly: self.hourly.unwrap_or_default(),
            daily: self.daily.unwrap_or_default(),
            weekly: self.weekly.unwrap_or_default(),
            monthly: self.monthly.unwrap_or_default(),
            yearly: self.yearly.unwrap_or_default(),
            within: self.within.unwrap_or_default(),
            within_hourly: self.within_hourly.unwrap_or_default(),
            within_daily: self.within_daily.unwrap_or_default(),
            within_weekly: self.within_weekly.unwrap_or_default(),
            within_monthly: self.within_monthly.unwrap_or_default(),
            within_yearly: self.within_yearly.unwrap_or_default(),
            tags: lists(&self.with_tags),
        }
    }

    /// The same, with the other's where nothing is said.
    fn or(&self, other: &Self) -> Self {
        Self {
            last: self.last.or(other.last),
            hourly: self.hourly.or(other.hourly),
            daily: self.daily.or(other.daily),
            weekly: self.weekly.or(other.weekly),
            monthly: self.monthly.or(other.monthly),
            yearly: self.yearly.or(other.yearly),
            within: self.within.or(other.within),
            within_hourly: self.within_hourly.or(other.within_hourly),
            within_daily: self.within_daily.or(other.within_daily),
            within_weekly: self.within_weekly.or(other.within_weekly),
            within_monthly: self.within_monthly.or(other.within_monthly),
            within_yearly: self.within_yearly.or(other.within_yearly),
            with_tags: either(&self.with_tags, &other.with_tags),
        }
    }
}

impl Forget {
    /// What was typed, with the settings of the repository's nights behind it.
    #[must_use]
    pub fn settings(&self, of_nights: &Settings) -> Settings {
        let (retention, restic) = (self.retention.clone(), self.restic.clone());
        Settings { retention, restic, lock_wait: self.lock_wait, ..Settings::default() }.or(of_nights)
    }

    /// Which snapshots are looked at.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter { hosts: self.hosts.clone(), paths: self.paths.clone(), tags: lists(&self.tags) }
    }
}

/// The near ones, or if there are none, the far ones.
fn either<T: Clone>(near: &[T], far: &[T]) -> Vec<T> {
    if near.is_empty() { far.to_vec() } else { near.to_vec() }
}

fn lists(texts: &[String]) -> Vec<TagList> {
    texts.iter().map(|text| TagList::parse(text)).collect()
}

/// Options of `pawl maintain adopt`.
#[derive(Debug, Args)]
pub struct Adopt {
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
    pub clock_is_right: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}
