//! A moment as a snapshot claims it: a point in time, and the offset of the clock on whose wall it was read.
//!
//! Invariant: calendar fields are those of the moment's own offset, wherever they are asked for.

use core::cmp::Ordering;
use core::fmt;

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use jiff::{SignedDuration, Span, Timestamp};

use super::within::Within;

/// Months of a year.
const MONTHS: i32 = 12;
/// Seconds of a day.
const SECONDS_OF_DAY: i64 = 24 * 60 * 60;

/// A point in time with an offset. Two are compared by the point alone.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    at: Timestamp,
    offset: Offset,
}

impl Moment {
    /// Before everything that is ever claimed.
    pub(super) const BEGINNING: Self = Self { at: Timestamp::MIN, offset: Offset::UTC };

    /// Reads what restic writes: `2026-11-01T08:00:00.123456789+01:00`. Nothing if it is no moment, or one that no
    /// calendar has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let pieces = Pieces::parse(text).ok()?;
        let offset = pieces.to_numeric_offset()?;
        let read = DateTime::from_parts(pieces.date(), pieces.time()?);
        Some(Self { at: offset.to_timestamp(read).ok()?, offset })
    }

    /// This moment by Pawl's clock, read on the same wall as `wall`, or in UTC.
    #[must_use]
    pub fn from_ms(ms: u64, wall: Option<Self>) -> Self {
        let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self { at: at.unwrap_or(Timestamp::MAX), offset: wall.map_or(Offset::UTC, |wall| wall.offset) }
    }

    /// How far two moments are apart, in milliseconds, and what is left over counts as one more.
    #[must_use]
    pub fn distance_ms(&self, other: &Self) -> u64 {
        let apart = self.at.as_nanosecond().abs_diff(other.at.as_nanosecond());
        u64::try_from(apart.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// Year, month, day and hour.
    pub(super) fn hour(&self) -> [i32; 4] {
        let read = self.read();
        [read.year().into(), read.month().into(), read.day().into(), read.hour().into()]
    }

    /// Year, month and day.
    pub(super) fn day(&self) -> [i32; 4] {
        let [year, month, day, _] = self.hour();
        [year, month, day, 0]
    }

    /// Days of its own calendar since 1970-01-01.
    pub(super) fn day_number(&self) -> i64 {
        let seconds = self.at.as_second().saturating_add(self.offset.seconds().into());
        seconds.div_euclid(SECONDS_OF_DAY)
    }

    /// Year and number of the week, as ISO 8601 counts them: a week belongs to the year of its Thursday.
    pub(super) fn week(&self) -> [i32; 4] {
        let week = self.read().date().iso_week_date();
        [week.year().into(), week.week().into(), 0, 0]
    }

    /// Year and month.
    pub(super) fn month(&self) -> [i32; 4] {
        let [year, month, ..] = self.hour();
        [year, month, 0, 0]
    }

    /// The year.
    pub(super) fn year(&self) -> [i32; 4] {
        let [year, ..] = self.hour();
        [year, 0, 0, 0]
    }

    /// The moment that lies so long before this one. A day that the month does not have is counted on into the next one,
    /// as Go does it: a month before the 31st of October is the 1st of October. The hours come last, and are hours of time
    /// that passes. What lies before all calendars is the beginning of time.
    pub(super) fn before(&self, within: &Within) -> Self {
        let at = self.earlier(within).unwrap_or(Timestamp::MIN);
        Self { at, offset: self.offset }
    }

    fn earlier(&self, within: &Within) -> Option<Timestamp> {
        let read = self.read();
        let months = i64::from(read.month()) - 1 - i64::from(within.months);
        let year = i64::from(read.year()) - i64::from(within.years) + months.div_euclid(MONTHS.into());
        let month = i8::try_from(months.rem_euclid(MONTHS.into()) + 1).ok()?;
        let first = Date::new(i16::try_from(year).ok()?, month, 1).ok()?;
        let days = i64::from(read.day()) - 1 - i64::from(within.days);
        let date = first.checked_add(Span::new().try_days(days).ok()?).ok()?;
        let at = self.offset.to_timestamp(date.to_datetime(read.time())).ok()?;
        at.checked_sub(SignedDuration::from_hours(within.hours.into())).ok()
    }

    fn read(&self) -> DateTime {
        self.offset.to_datetime(self.at)
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

/// `2026-11-01T08:00:00+01:00`
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (read, minutes) = (self.read(), self.offset.seconds() / 60);
        write!(f, "{}T{:02}:{:02}:{:02}", read.date(), read.hour(), read.minute(), read.second())?;
        if minutes == 0 {
            return f.write_str("Z");
        }
        let sign = if minutes < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    }
}
