//! When a batch of deletions may be made final.
//!
//! Invariant: only [`purge_permit`] makes a [`PurgePermit`], so nothing is purged that was not judged; it trusts no single reading of
//! a clock.

use core::fmt;

use crate::batch_id::BatchId;

/// Days that a deletion waits unless configured.
pub const PURGE_DELAY_DAYS: u32 = 14;

/// In so many days all files are verified at the most: half of the delay. So damage is found before the good version is
/// purged, and there is time to bring that back.
#[must_use]
pub const fn verify_interval_days_max(purge_delay_days: u32) -> u32 {
    purge_delay_days / 2
}

/// Milliseconds of a day.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What to do where something keeps the clock right of which the kernel is not told, as hypervisors do.
const IF_RIGHT: &str = "if you know that it is right, say --assume-clock-synced, or for every night assume_clock_synced = true under \
                        [maintenance.run]";

/// Whether the machine's clock follows others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clock {
    /// It does.
    Synchronised,
    /// It does not.
    Unsynchronised,
    /// The machine does not say.
    Unknown,
}

/// What is known of a batch and of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// When the last of it was hidden, in Unix milliseconds.
    pub hidden_ms: u64,
    /// The time by the wall clock, in Unix milliseconds.
    pub now_ms: u64,
    /// On how many distinct days maintenance saw it.
    pub days_seen: u32,
    /// How many days it has to wait.
    pub purge_delay_days: u32,
    /// When the newest file of its repository was received, in Unix milliseconds.
    pub newest_received_ms: Option<u64>,
    /// Whether the clock follows others.
    pub clock: Clock,
}

/// A batch that may be purged. Only [`purge_permit`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgePermit {
    batch: BatchId,
}

impl PurgePermit {
    /// Which batch.
    #[must_use]
    pub const fn batch(&self) -> &BatchId {
        &self.batch
    }
}

/// Why a batch may not be purged now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotPurgeable {
    /// Its delay has not passed.
    Delay {
        /// When it will have, in Unix milliseconds.
        until_ms: u64,
    },
    /// Too few runs saw it.
    Days {
        /// Distinct days on which it was seen.
        seen: u32,
        /// Distinct days that are needed.
        needed: u32,
    },
    /// The clock stands before something that has happened.
    Backwards,
    /// The clock follows no other.
    Unsynchronised,
    /// Whether the clock follows others cannot be told.
    Unknown,
}

impl fmt::Display for NotPurgeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay { .. } => f.write_str("its delay has not passed"),
            Self::Days { seen, needed } => write!(
                f,
                "maintenance saw it on {seen} of the {needed} days that are needed; run `pawl maintain run` or `purge` every day"
            ),
            Self::Backwards => f.write_str(
                "this machine's clock stands before the time at which its newest file was received; set the clock",
            ),
            Self::Unsynchronised => write!(f, "this machine's clock is not synchronised; set up NTP, or {IF_RIGHT}"),
            Self::Unknown => {
                write!(f, "this machine does not say whether its clock is synchronised; set up NTP, or {IF_RIGHT}")
            }
        }
    }
}

impl core::error::Error for NotPurgeable {}

/// Judges whether a batch may be purged.
pub fn purge_permit(batch: &BatchId, age: &Age) -> Result<PurgePermit, NotPurgeable> {
    let until_ms = age.hidden_ms.saturating_add(u64::from(age.purge_delay_days).saturating_mul(DAY_MS));
    if age.now_ms < until_ms {
        return Err(NotPurgeable::Delay { until_ms });
    }
    let needed = age.purge_delay_days.div_ceil(2);
    if age.days_seen < needed {
        return Err(NotPurgeable::Days { seen: age.days_seen, needed });
    }
    if age.newest_received_ms.is_some_and(|newest_ms| age.now_ms < newest_ms) {
        return Err(NotPurgeable::Backwards);
    }
    match age.clock {
        Clock::Synchronised => Ok(PurgePermit { batch: batch.clone() }),
        Clock::Unsynchronised => Err(NotPurgeable::Unsynchronised),
        Clock::Unknown => Err(NotPurgeable::Unknown),
    }
}
