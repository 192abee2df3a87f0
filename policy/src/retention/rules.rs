//! The keep rules, with the meaning that restic gives them.
//!
//! Invariant: a rule only ever keeps; what no rule keeps is for the caller to remove. No rules at all keep everything.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::ParseIntError;
use core::str::FromStr;

use super::moment::Moment;
use super::within::Within;

/// How many a rule keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Count {
    /// The rule is not asked for.
    #[default]
    None,
    /// The newest so many.
    Newest(u32),
    /// One for each hour, day, … that there is.
    All,
}

/// The text is no number of snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCount(ParseIntError);

impl fmt::Display for InvalidCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a number, or 'unlimited' ({})", self.0)
    }
}

impl core::error::Error for InvalidCount {}

impl FromStr for Count {
    type Err = InvalidCount;

    fn from_str(text: &str) -> Result<Self, InvalidCount> {
        match text {
            "unlimited" | "-1" => Ok(Self::All), // restic before 0.16 knows the second only, later ones the first
            "0" => Ok(Self::None),
            number => number.parse().map(Self::Newest).map_err(InvalidCount),
        }
    }
}

/// Tags that a snapshot must all have. The empty tag is had by snapshots without any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagList(Vec<String>);

impl TagList {
    /// `a,b` is one list of two tags.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split(',').map(|tag| tag.trim().into()).collect())
    }

    /// Whether a snapshot with these tags has all of the list.
    pub(super) fn are_among(&self, tags: &[String]) -> bool {
        for wanted in &self.0 {
            if wanted.is_empty() && tags.is_empty() {
                return true;
            }
            if !tags.contains(wanted) {
                return false;
            }
        }
        true
    }
}

/// Which snapshots of a group are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The last ones.
    pub last: Count,
    /// The newest of each hour.
    pub hourly: Count,
    /// The newest of each day.
    pub daily: Count,
    /// The newest of each week.
    pub weekly: Count,
    /// The newest of each month.
    pub monthly: Count,
    /// The newest of each year.
    pub yearly: Count,
    /// All that are newer than this before the newest.
    pub within: Within,
    /// The newest of each hour among them.
    pub within_hourly: Within,
    /// The newest of each day among them.
    pub within_daily: Within,
    /// The newest of each week among them.
    pub within_weekly: Within,
    /// The newest of each month among them.
    pub within_monthly: Within,
    /// The newest of each year among them.
    pub within_yearly: Within,
    /// All that have every tag of one of these lists.
    pub tags: Vec<TagList>,
}

/// What of a snapshot the rules look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) at: Moment,
    pub(super) tags: &'a [String],
}

/// Which part of the calendar a moment lies in.
type Field = fn(&Moment) -> [i32; 4];

/// A rule that keeps a number, on its way through a group.
struct Counted {
    name: &'static str,
    count: Count,
    /// None for the rule that counts each snapshot.
    field: Option<Field>,
    filled: Option<[i32; 4]>,
}

/// A rule that keeps for a time, on its way through a group.
struct Timed {
    name: &'static str,
    since: Moment,
    field: Field,
    filled: Option<[i32; 4]>,
}

impl Rules {
    /// Whether none is asked for.
    #[must_use]
    pub fn are_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Which rules keep each snapshot of a group, newest first. `now` is the moment after which nothing counts as the
    /// newest: a time that is still to come does not move the stretches that are counted back from it.
    pub(super) fn keep(&self, newest_first: &[Seen<'_>], now: &Moment) -> Vec<Vec<&'static str>> {
        if self.are_empty() {
            return newest_first.iter().map(|_| alloc::vec!["no rule was given"]).collect();
        }
        let newest = newest_first.iter().map(|seen| seen.at).filter(|at| at < now).max();
        let mut counted = self.counted();
        let mut timed = self.timed(newest);
        let all_since = newest.map(|newest| newest.before(&self.within));
        let mut kept = Vec::with_capacity(newest_first.len());
        for (number, seen) in newest_first.iter().enumerate() {
            let is_oldest = number + 1 == newest_first.len();
            let mut reasons = Vec::new();
            if self.tags.iter().any(|list| list.are_among(seen.tags)) {
                reasons.push("tag");
            }
            if self.within != Within::default() && all_since.is_none_or(|since| seen.at > since) {
                reasons.push("within");
            }
            reasons.extend(counted.iter_mut().filter_map(|rule| rule.takes(&seen.at, is_oldest)));
            reasons.extend(timed.iter_mut().filter_map(|rule| rule.takes(&seen.at, is_oldest)));
            kept.push(reasons);
        }
        kept
    }

    fn counted(&self) -> Vec<Counted> {
        let fields: [(&'static str, Count, Option<Field>); 6] = [
            ("last", self.last, None),
            ("hourly", self.hourly, Some(Moment::hour)),
            ("daily", self.daily, Some(Moment::day)),
            ("weekly", self.weekly, Some(Moment::week)),
            ("monthly", self.monthly, Some(Moment::month)),
            ("yearly", self.yearly, Some(Moment::year)),
        ];
        fields.into_iter().map(|(name, count, field)| Counted { name, count, field, filled: None }).collect()
    }

    fn timed(&self, newest: Option<Moment>) -> Vec<Timed> {
        let fields: [(&'static str, Within, Field); 5] = [
            ("hourly within", self.within_hourly, Moment::hour),
            ("daily within", self.within_daily, Moment::day),
            ("weekly within", self.within_weekly, Moment::week),
            ("monthly within", self.within_monthly, Moment::month),
            ("yearly within", self.within_yearly, Moment::year),
        ];
        let asked_for = fields.into_iter().filter(|(_, within, _)| *within != Within::default());
        asked_for
            .map(|(name, within, field)| Timed {
                name,
                since: newest.map_or(Moment::BEGINNING, |newest| newest.before(&within)),
                field,
                filled: None,
            })
            .collect()
    }
}

impl Counted {
    /// Whether the rule keeps the next snapshot. As long as there is some count left, it keeps the oldest of all as well,
    /// so that the history stays as long as it is.
    fn takes(&mut self, at: &Moment, is_oldest: bool) -> Option<&'static str> {
        match self.count {
            Count::None | Count::Newest(0) => return None,
            Count::Newest(_) | Count::All => {}
        }
        let slot = self.field.map(|field| field(at));
        if slot.is_some() && slot == self.filled && !is_oldest {
            return None;
        }
        self.filled = slot;
        if let Count::Newest(left) = &mut self.count {
            *left -= 1;
        }
        Some(self.name)
    }
}

impl Timed {
    /// Whether the rule keeps the next snapshot. The oldest of all as well, if it is new enough: so restic 0.19 has it;
    /// earlier ones may keep one less.
    fn takes(&mut self, at: &Moment, is_oldest: bool) -> Option<&'static str> {
        let slot = (self.field)(at);
        if *at <= self.since || (self.filled == Some(slot) && !is_oldest) {
            return None;
        }
        self.filled = Some(slot);
        Some(self.name)
    }
}
