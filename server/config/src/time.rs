//! Times as people write them.
//!
//! Invariant: a day begins at midnight UTC, wherever the machine stands.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Reads a moment (`2026-11-01T08:00:00Z`) or the beginning of a day (`2026-11-01`).
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let expected = |error: jiff::Error| {
        format!(
            "'{text}': expected a day such as 2026-11-01 or a moment such as 2026-11-01T08:00:00Z ({error})"
        )
    };
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let day: Date = text.parse().map_err(expected)?;
    day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(expected)
}
