//! A stretch of the calendar, as `--keep-within` takes it.
//!
//! Invariant: none is negative; printing one gives a text that is read as the same.

use core::fmt;
use core::str::FromStr;

/// Years, months, days and hours, counted back from a moment in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Within {
    pub(super) years: u32,
    pub(super) months: u32,
    pub(super) days: u32,
    pub(super) hours: u32,
}

/// The text is no stretch of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidWithin;

impl fmt::Display for InvalidWithin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected numbers of years, months, days and hours, such as 1y5m7d2h")
    }
}

impl core::error::Error for InvalidWithin {}

impl FromStr for Within {
    type Err = InvalidWithin;

    /// Of a unit that is said twice, the last one counts, as in restic.
    fn from_str(text: &str) -> Result<Self, InvalidWithin> {
        let mut within = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = rest.split_at_checked(digits).ok_or(InvalidWithin)?;
            let number = number.parse().map_err(|_| InvalidWithin)?;
            let mut letters = behind.chars();
            match letters.next() {
                Some('y') => within.years = number,
                Some('m') => within.months = number,
                Some('d') => within.days = number,
                Some('h') => within.hours = number,
                _ => return Err(InvalidWithin),
            }
            rest = letters.as_str();
        }
        Ok(within)
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}
