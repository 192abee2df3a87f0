//! Which snapshots stay: options of `pawl maintain forget`, and keys of `[maintenance.run]`.
//!
//! Invariant: the rules are named as restic names them; parsing has no effect.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use pawl_policy::FileId;
use pawl_policy::retention::{Count, GroupBy, MaxShare, Rules, TagList, Within};

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

/// The near ones, or if there are none, the far ones.
pub fn either<T: Clone>(near: &[T], far: &[T]) -> Vec<T> {
    if near.is_empty() { far.to_vec() } else { near.to_vec() }
}

/// Reads lists of tags.
#[must_use]
pub fn lists(texts: &[String]) -> Vec<TagList> {
    texts.iter().map(|text| TagList::parse(text)).collect()
}

/// Where it lies, and what it hashes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryFile {
    /// Its path in the backup.
    pub path: String,
    /// What it hashes to.
    pub sha256: FileId,
}

impl FromStr for CanaryFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            "expected PATH=SHA256, with the file's path in the backup and 64 lower-case hexadecimal digits";
        let (path, sha256) = text.rsplit_once('=').ok_or(expected)?;
        if path.is_empty() || path.starts_with('-') {
            return Err(expected.to_owned());
        }
        let sha256 = sha256.parse().map_err(|_| expected)?;
        Ok(Self { path: path.to_owned(), sha256 })
    }
}

impl fmt::Display for CanaryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.sha256)
    }
}
