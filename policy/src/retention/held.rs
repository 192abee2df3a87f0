//! What is held back: never removed, and never in the place of another.
//!
//! Invariant: a snapshot that is held for what it is or claims is no part of what others are compared with.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use super::moment::Moment;
use super::snapshot::{Size, Snapshot, Vouched};
use crate::purge_permit::DAY_MS;

/// So many of its group's snapshots before it a snapshot is compared with: of a daily backup a month, so that no week of
/// holidays is the measure.
pub const COMPARED_MAX: usize = 30;
/// Fewer files or bytes than the median of these divided by this is a sharp fall: below half.
pub const FALL: u64 = 2;
/// A group from which nothing was received for so long fell silent, in milliseconds: longer than the usual month between
/// two monthly backups less the floor, during which the newest of them is not judged anyway.
pub const SILENT_AFTER_MS: u64 = 30 * DAY_MS;

/// Why a snapshot is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It claims a time that is too far from the time received.
    Time,
    /// Its trees cannot be read.
    Unreadable,
    /// It lacks the file that every backup must contain unchanged.
    Canary,
    /// It has far fewer files or bytes than those before it.
    Fell {
        /// What it has.
        found: Size,
        /// What it should have more than half of; nothing if an earlier run found that.
        median: Option<Size>,
    },
    /// It is younger than the floor.
    Young,
    /// Nothing was received of its group for long.
    Silent {
        /// The time of the newest.
        newest: Moment,
    },
    /// The rules would keep none of its group.
    NoneLeft,
    /// The run would leave backups of fewer days of its group than was allowed.
    TooMany {
        /// Of so many days backups would be left.
        left: u64,
        /// Of so many days there are backups now, without those that came since the last run by the same rules.
        days: u64,
    },
}

/// What a snapshot is held for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cause {
    /// What it is.
    #[default]
    Itself,
    /// What the rules would do to its group.
    Rules,
    /// Nothing came of its group for long.
    Silence,
    /// It is young.
    Age,
}

impl Held {
    /// What it is held for.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Time | Self::Unreadable | Self::Canary | Self::Fell { .. } => Cause::Itself,
            Self::NoneLeft | Self::TooMany { .. } => Cause::Rules,
            Self::Silent { .. } => Cause::Silence,
            Self::Young => Cause::Age,
        }
    }

    /// Whether somebody should look at it. The others pass by themselves or hurt nobody.
    #[must_use]
    pub const fn is_suspicious(&self) -> bool {
        matches!(self.cause(), Cause::Itself | Cause::Rules)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time => {
                f.write_str("forged time? it claims one that is more than 24 hours from when it was received")
            }
            Self::Unreadable => {
                f.write_str("its trees cannot be read: it is junk, or the repository is damaged")
            }
            Self::Canary => f.write_str("the canary is missing or changed"),
            Self::Fell { found, median: Some(median) } => write!(
                f,
                "shrunken: {} files, {} bytes, where those before it have {} and {}",
                found.files, found.bytes, median.files, median.bytes
            ),
            Self::Fell { found, median: None } => write!(
                f,
                "shrunken: {} files, {} bytes, which an earlier run found too few",
                found.files, found.bytes
            ),
            Self::Young => f.write_str("younger than the floor"),
            Self::Silent { newest } => write!(f, "its group fell silent: the newest is of {newest}"),
            Self::NoneLeft => f.write_str("the rules would keep none of its group"),
            Self::TooMany { left, days } => write!(
                f,
                "the rules would leave backups of {left} days where there were {days}, and take more than --max-share; if \
                 they are right, run forget once with --max-share 100%"
            ),
        }
    }
}

/// What is held of a group for itself, whatever the rules say. The group stands in the order of effective times, oldest
/// first.
pub(super) fn for_itself(oldest_first: &[&Snapshot], floor_ms: u64, now_ms: u64) -> Vec<Option<Held>> {
    let mut before = Before::default();
    oldest_first
        .iter()
        .map(|snapshot| {
            let is_young = now_ms.saturating_sub(snapshot.received_ms) < floor_ms;
            suspicion(snapshot, &mut before).or(is_young.then_some(Held::Young))
        })
        .collect()
}

fn suspicion(snapshot: &Snapshot, before: &mut Before) -> Option<Held> {
    if !snapshot.is_credible() {
        return Some(Held::Time);
    }
    let Some(size) = snapshot.size else { return Some(Held::Unreadable) };
    if snapshot.lacks_canary {
        return Some(Held::Canary);
    }
    let fell = before.fell(snapshot, size);
    if fell.is_some() && snapshot.vouched != Vouched::AsItIs {
        return fell;
    }
    if fell.is_some() {
        before.0.clear(); // from here on this is the measure
    }
    before.push(size);
    None
}

/// What a snapshot is compared with.
#[derive(Default)]
struct Before(VecDeque<Size>);

impl Before {
    fn push(&mut self, size: Size) {
        if self.0.len() == COMPARED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(size);
    }

    fn fell(&self, snapshot: &Snapshot, found: Size) -> Option<Held> {
        let Some((files, bytes)) = self.median(|size| size.files).zip(self.median(|size| size.bytes)) else {
            return snapshot.fell_before.then_some(Held::Fell { found, median: None });
        };
        let median = Size { files, bytes };
        let fell = found.files < median.files.div_ceil(FALL) || found.bytes < median.bytes.div_ceil(FALL);
        fell.then_some(Held::Fell { found, median: Some(median) })
    }

    fn median(&self, of: impl Fn(&Size) -> u64) -> Option<u64> {
        let mut sizes: Vec<_> = self.0.iter().map(of).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).copied()
    }
}
