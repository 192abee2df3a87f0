//! How much one run may remove.
//!
//! Invariant: a run that would remove more removes nothing.

use core::fmt;
use core::str::FromStr;

use super::held::Held;
use super::{Judged, Verdict};

/// Unless told otherwise: a run of every day removes what one day added, and never half of what there is.
const DEFAULT_PERCENT: u8 = 50;

/// A share in percent, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxShare(u8);

impl Default for MaxShare {
    fn default() -> Self {
        Self(DEFAULT_PERCENT)
    }
}

/// The text is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidShare;

impl fmt::Display for InvalidShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 0% to 100%, such as 50%")
    }
}

impl core::error::Error for InvalidShare {}

impl FromStr for MaxShare {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
        percent.filter(|percent| *percent <= 100).map(Self).ok_or(InvalidShare)
    }
}

impl fmt::Display for MaxShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl MaxShare {
    fn is_exceeded(self, (part, whole): (u64, u64)) -> bool {
        u128::from(part) * 100 > u128::from(whole) * u128::from(self.0)
    }
}

/// Holds everything that would be removed, if that is too much of what the rules saw. What is held otherwise is not
/// counted in: a flood of forged snapshots does not make a share seem smaller.
pub(super) fn hold_if_too_many(judged: &mut [Judged<'_>], max: MaxShare) {
    let (mut snapshots, mut bytes) = ((0_u64, 0_u64), (0_u64, 0_u64));
    for Judged { snapshot, verdict, .. } in &*judged {
        let is_removed = match verdict {
            Verdict::Held(_) => continue,
            Verdict::Keep(_) => 0,
            Verdict::Remove => 1,
        };
        let size = snapshot.size.unwrap_or_default().bytes;
        snapshots = (snapshots.0 + is_removed, snapshots.1 + 1);
        bytes = (bytes.0.saturating_add(is_removed * size), bytes.1.saturating_add(size));
    }
    if !max.is_exceeded(snapshots) && !max.is_exceeded(bytes) {
        return;
    }
    for judged in judged.iter_mut().filter(|judged| judged.verdict == Verdict::Remove) {
        judged.verdict = Verdict::Held(Held::TooMany { snapshots, bytes });
    }
}
