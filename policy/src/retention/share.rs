//! How much of a group's history one run may take.
//!
//! Invariant: history is counted in days of the calendar, not in snapshots. A run that would leave backups of too few
//! days removes nothing of that group. The first time, history that no rules thinned out counts in the spans of [`span`].

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::str::FromStr;

use super::group::Group;
use super::held::Held;
use super::snapshot::Vouched;
use super::{Judged, Plan, Verdict};

/// Unless told otherwise, a run leaves backups of at least half of the days of which the last one left some.
const DEFAULT_PERCENT: u8 = 50;

/// Of which days of the calendar a run left backups, for each group that it was allowed to judge. A day is counted from
/// 1970-01-01, on the snapshot's own calendar.
pub type DaysLeft = BTreeMap<Group, BTreeSet<i64>>;

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
    /// Whether a run may leave so many days of so many.
    fn allows(self, left: usize, of: usize) -> bool {
        let kept_percent = 100_u8.saturating_sub(self.0);
        left.saturating_mul(100) >= of.saturating_mul(kept_percent.into())
    }
}

/// Holds what would be removed of each group of which too few days would be left. Of a group of which no run by the same
/// rules left anything, every [`span`] of what the rules see counts.
///
/// Unchanged rules remove an old day for each new day. A run may always do that, however many runs were missed.
pub(super) fn hold_if_too_many(judged: &mut [Judged<'_>], plan: &Plan) {
    let Plan { max_share: max, earlier, judged_before, .. } = plan;
    for group in judged.chunk_by_mut(|one, next| one.group == next.group) {
        let (seen, left) = (days(group, is_seen), days(group, is_left));
        let remembered = group.first().and_then(|judged| earlier.get(&judged.group));
        let known = remembered.map_or_else(|| seen.clone(), |days| days & &seen);
        let spans = |is_meant| spans(group, judged_before, is_meant).len();
        let is_allowed = match remembered {
            Some(_) => max.allows(left.len(), known.len()),
            None => max.allows(spans(is_left), spans(is_seen)),
        };
        if is_allowed {
            continue;
        }
        let new = remembered.and_then(|days| Some(seen.last()?.saturating_sub(*days.last()?))).unwrap_or(0);
        let lost = known.difference(&left).count();
        if i64::try_from(lost).is_ok_and(|lost| lost <= new) {
            continue;
        }
        let held = Held::TooMany { left: left.len() as u64, days: known.len() as u64 };
        for judged in group.iter_mut().filter(|judged| judged.verdict == Verdict::Remove) {
            judged.verdict = Verdict::Held(held);
        }
    }
}

/// Of which days backups are left, for each group of which not too much would have gone.
#[must_use]
pub fn days_left(judged: &[Judged<'_>]) -> DaysLeft {
    let is_refused = |judged: &Judged<'_>| matches!(judged.verdict, Verdict::Held(Held::TooMany { .. }));
    let groups = judged.chunk_by(|one, next| one.group == next.group);
    let allowed = groups.filter(|group| !group.iter().any(is_refused));
    let left = allowed.filter_map(|group| Some((group.first()?.group.clone(), days(group, is_left))));
    left.filter(|(_, days)| !days.is_empty()).collect()
}

/// Of which spans of the history that the rules see there are backups.
fn spans(
    group: &[Judged<'_>],
    judged_before: &BTreeSet<Group>,
    is_meant: fn(&Verdict) -> bool,
) -> BTreeSet<(i64, i64)> {
    let newest = days(group, is_seen).last().copied().unwrap_or_default();
    let meant = group.iter().filter(|judged| is_meant(&judged.verdict));
    meant.map(|judged| span(judged, newest, judged_before.contains(&judged.group))).collect()
}

/// What a snapshot stands for when rules judge it for the first time: its day. But if no rules ever judged its group,
/// another server stored it, or an admin vouched for it, it is part of a history that no rules thinned out yet. Then it
/// stands for its day in the last 7 days, for its week in the last 4 weeks, for 4 weeks in the last 52, and else for 52
/// weeks. Rules that keep something of each may take the rest.
///
/// Returns how many days the span has, and which of these it is, counted from the newest.
fn span(judged: &Judged<'_>, newest: i64, was_judged_before: bool) -> (i64, i64) {
    let ago = newest.saturating_sub(judged.effective.day_number());
    let is_from_elsewhere = judged.snapshot.brought || judged.snapshot.vouched != Vouched::Nothing;
    let days = match ago {
        _ if was_judged_before && !is_from_elsewhere => 1,
        ..7 => 1,
        7..28 => 7,
        28..364 => 28,
        364.. => 364,
    };
    (days, ago.div_euclid(days))
}

fn days(group: &[Judged<'_>], is_meant: fn(&Verdict) -> bool) -> BTreeSet<i64> {
    group
        .iter()
        .filter(|judged| is_meant(&judged.verdict))
        .map(|judged| judged.effective.day_number())
        .collect()
}

/// Whether the rules saw it. What is held for itself does not count: a flood of forged snapshots makes no history.
fn is_seen(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Held(held) => matches!(held, Held::Silent { .. } | Held::NoneLeft | Held::TooMany { .. }),
        Verdict::Keep(_) | Verdict::Remove => true,
    }
}

fn is_left(verdict: &Verdict) -> bool {
    is_seen(verdict) && *verdict != Verdict::Remove
}
