//! How long locks of others are waited for, as it is typed.
//!
//! Invariant: it has an end.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A time such as `90s`, `5m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockWait(pub Duration);

impl Default for LockWait {
    /// Two hours: most backups end in that time, and the others of a night still have theirs.
    fn default() -> Self {
        Self(Duration::from_hours(2))
    }
}

/// Not such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 90s, 5m or 1h30m")]
pub struct InvalidWait;

impl FromStr for LockWait {
    type Err = InvalidWait;

    fn from_str(text: &str) -> Result<Self, InvalidWait> {
        let time: jiff::SignedDuration = text.parse().map_err(|_| InvalidWait)?;
        Duration::try_from(time).map(Self).map_err(|_| InvalidWait)
    }
}

impl fmt::Display for LockWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        for (unit, name) in [(3600, "h"), (60, "m")] {
            if seconds > 0 && seconds.is_multiple_of(unit) {
                return write!(f, "{}{name}", seconds / unit);
            }
        }
        write!(f, "{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_restic_would_and_has_an_end() {
        for (text, seconds, shown) in [
            ("0s", 0, "0s"),
            ("90s", 90, "90s"),
            ("5m", 300, "5m"),
            ("1h30m", 5400, "90m"),
            ("2h", 7200, "2h"),
        ] {
            let wait: LockWait = text.parse().unwrap();
            assert_eq!((wait.0.as_secs(), wait.to_string().as_str()), (seconds, shown));
        }
        for text in ["", "5", "-5m", "m", "for ever", "9999999999999999999h"] {
            assert_eq!(text.parse::<LockWait>(), Err(InvalidWait), "{text}");
        }
    }
}
