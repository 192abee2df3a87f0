//! The command line of `pawl maintain forget` and `pawl maintain adopt`.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::time::Duration;

use clap::Args;
use pawl_policy::retention::{Count, Filter, GroupBy, MaxShare, Rules, TagList, Within};
use pawl_policy::{FileId, RepositoryName};

use super::{LockWait, Place, UsersRestic};
use crate::maintenance::CanaryFile;

/// Help of `forget` beyond the options.
pub(super) const FORGET_HELP: &str = "\
Examples:
  pawl maintain forget web1 --keep-daily 14 --keep-weekly 8 --keep-monthly 12 --dry-run \\
      --password-file management.password --data ./pawl-data
  pawl maintain forget web1 --keep-within 30d --canary /etc/canary=5f0c…(64 digits) \\
      --password-command 'pass pawl' --config /etc/pawl/pawl.toml

The rules are restic's, on the time at which Pawl received a snapshot where the claimed one is more than 24 hours from it.
Snapshots that are forged, shrunken below half of those before them, without the canary, or younger than the floor
are held: never removed, and never kept in the place of another. A group of which nothing was received for 30 days loses
nothing. What is removed is a deletion like any other, and can be brought back; data stays until restic prunes.
Who keeps the repository locked for longer than --lock-wait is named; a backup that goes on for that long is ended by its
own restic. Needs restic 0.17 or newer. Exit code: 0 if all is well, 1 if snapshots are held that somebody should look at,
or if locks had to be suspended, 2 if the work could not be done.";

/// Help of `adopt` beyond the options.
pub(super) const ADOPT_HELP: &str = "\
Examples:
  pawl maintain adopt web1 --config /etc/pawl/pawl.toml             # a repository that was brought from elsewhere
  pawl maintain adopt web1 5f0c…(64 digits) --config /etc/pawl/pawl.toml   # a snapshot that is held, and is good

Without ids the claimed times of all snapshots that are there now are believed; of those that are named, also that they
are as large as they should be. What comes later is judged as ever.";

/// Options of `pawl maintain forget`.
#[derive(Debug, Args)]
pub struct Forget {
    /// The repository
    pub repository: RepositoryName,
    /// Which snapshots stay
    #[command(flatten)]
    pub keep: Keep,
    /// What a group is, to each of which the rules apply: host, paths, tags, or nothing
    #[arg(long, value_name = "WORDS", default_value_t)]
    pub group_by: GroupBy,
    /// Only snapshots of this host; can be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Only snapshots with all these tags; can be repeated, for one or the other
    #[arg(long = "tag", value_name = "TAG,…")]
    pub tags: Vec<String>,
    /// Only snapshots with this path; can be repeated, for all of them
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<String>,
    /// Remove nothing at all if it would be more than this share of the snapshots, or of their bytes
    #[arg(long, value_name = "PERCENT", default_value_t)]
    pub max_share: MaxShare,
    /// A file that every backup must contain unchanged; can be repeated
    #[arg(long = "canary", value_name = "PATH=SHA256")]
    pub canaries: Vec<CanaryFile>,
    /// Wait so long, such as 10m, for locks of others; then have hosts refused new ones, and wait until those that are
    /// there are stale, for up to 31 minutes
    #[arg(long, value_name = "TIME", default_value_t = LockWait(Duration::from_hours(2)))]
    pub lock_wait: LockWait,
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

/// The keep rules, named as restic names them.
#[derive(Debug, Args)]
pub struct Keep {
    /// The last so many, or 'unlimited'
    #[arg(long = "keep-last", value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    #[arg(allow_negative_numbers = true)]
    last: Count,
    /// The newest of each of so many hours
    #[arg(long = "keep-hourly", value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    #[arg(allow_negative_numbers = true)]
    hourly: Count,
    /// The newest of each of so many days
    #[arg(long = "keep-daily", value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    #[arg(allow_negative_numbers = true)]
    daily: Count,
    /// The newest of each of so many weeks
    #[arg(long = "keep-weekly", value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    #[arg(allow_negative_numbers = true)]
    weekly: Count,
    /// The newest of each of so many months
    #[arg(long = "keep-monthly", value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    #[arg(allow_negative_numbers = true)]
    monthly: Count,
    /// The newest of each of so many years
    #[arg(long = "keep-yearly", value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    #[arg(allow_negative_numbers = true)]
    yearly: Count,
    /// All that are newer than this, such as 1y5m7d2h, before the newest
    #[arg(long = "keep-within", value_name = "TIME", default_value = "", hide_default_value = true)]
    within: Within,
    /// The newest of each hour among these
    #[arg(long = "keep-within-hourly", value_name = "TIME", default_value = "", hide_default_value = true)]
    within_hourly: Within,
    /// The newest of each day among these
    #[arg(long = "keep-within-daily", value_name = "TIME", default_value = "", hide_default_value = true)]
    within_daily: Within,
    /// The newest of each week among these
    #[arg(long = "keep-within-weekly", value_name = "TIME", default_value = "", hide_default_value = true)]
    within_weekly: Within,
    /// The newest of each month among these
    #[arg(long = "keep-within-monthly", value_name = "TIME", default_value = "", hide_default_value = true)]
    within_monthly: Within,
    /// The newest of each year among these
    #[arg(long = "keep-within-yearly", value_name = "TIME", default_value = "", hide_default_value = true)]
    within_yearly: Within,
    /// All with all these tags; can be repeated, for one or the other
    #[arg(long = "keep-tag", value_name = "TAG,…")]
    with_tags: Vec<String>,
}

impl Forget {
    /// Which snapshots stay.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let Keep { last, hourly, daily, weekly, monthly, yearly, .. } = self.keep;
        let Keep { within, within_hourly, within_daily, within_weekly, .. } = self.keep;
        let Keep { within_monthly, within_yearly, .. } = self.keep;
        Rules {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within,
            within_hourly,
            within_daily,
            within_weekly,
            within_monthly,
            within_yearly,
            tags: lists(&self.keep.with_tags),
        }
    }

    /// Which snapshots are looked at.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter { hosts: self.hosts.clone(), paths: self.paths.clone(), tags: lists(&self.tags) }
    }
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
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}
