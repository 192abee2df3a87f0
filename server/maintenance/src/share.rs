//! Which part of all bytes one verification reads, as it is typed.
//!
//! Invariant: it is never nothing, and never more than the whole.

use std::fmt;
use std::str::FromStr;

/// Which part of all bytes one run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    parts: u32,
    of: u32,
}

/// A run that reads less than this would never come round.
const OF_MAX: u32 = 10_000;

impl Share {
    /// All bytes of all files.
    pub const ALL: Self = Self { parts: 1, of: 1 };

    /// One of this many parts.
    #[must_use]
    pub const fn one_of(of: u32) -> Self {
        Self { parts: 1, of: if of == 0 { 1 } else { of } }
    }

    pub(crate) fn bytes_of(self, total: u64) -> u64 {
        let bytes = u128::from(total) * u128::from(self.parts);
        u64::try_from(bytes.div_ceil(u128::from(self.of))).unwrap_or(total)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = text.split_once('/').and_then(|(parts, of)| {
            let (parts, of) = (parts.parse().ok()?, of.parse().ok()?);
            (1 <= parts && parts <= of && of <= OF_MAX).then_some(Self { parts, of })
        });
        share.ok_or_else(|| format!("expected a part of the whole such as 1/7, found '{text}'"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.parts, self.of)
    }
}
