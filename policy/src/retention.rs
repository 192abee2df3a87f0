//! Which snapshots are removed, kept and held back: restic's keep rules on times that cannot be forged.
//!
//! Invariant: only [`judge`] says [`Verdict::Remove`]. It never says so of a snapshot that is held, and what is held is
//! out of the rules' sight, so that it keeps no place that another should have.

mod group;
mod held;
mod moment;
mod rules;
mod share;
mod snapshot;
mod within;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

pub use group::{Filter, Group, GroupBy, InvalidGroupBy};
pub use held::{COMPARED_MAX, Cause, FALL, Held, SILENT_AFTER_MS};
pub use moment::Moment;
pub use rules::{Count, InvalidCount, Rules, TagList};
pub use share::{DaysLeft, InvalidShare, MaxShare, days_left};
pub use snapshot::{Size, Snapshot, TOLERANCE_MS, Vouched};
pub use within::{InvalidWithin, Within};

use rules::Seen;

/// By what snapshots are judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is kept of each group.
    pub rules: Rules,
    /// What a group is.
    pub group_by: GroupBy,
    /// Which snapshots are looked at.
    pub filter: Filter,
    /// How much of a group's history one run may take.
    pub max_share: MaxShare,
    /// What the last run by the same rules left.
    pub earlier: DaysLeft,
    /// Groups that a run was allowed to judge before, by whatever rules.
    pub judged_before: BTreeSet<Group>,
    /// The age from which on a snapshot can be deleted, in milliseconds.
    pub floor_ms: u64,
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept, by these rules.
    Keep(Vec<&'static str>),
    /// It is removed.
    Remove,
    /// It is held back: kept, and out of the rules' sight.
    Held(Held),
}

/// A snapshot that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged<'a> {
    /// Which.
    pub snapshot: &'a Snapshot,
    /// The group that it is in.
    pub group: Group,
    /// The time at which it was judged.
    pub effective: Moment,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Judges snapshots: group by group, newest first.
#[must_use]
pub fn judge<'a>(snapshots: &'a [Snapshot], plan: &Plan, now_ms: u64) -> Vec<Judged<'a>> {
    let mut groups = BTreeMap::<Group, Vec<&Snapshot>>::new();
    for snapshot in snapshots.iter().filter(|snapshot| plan.filter.lets_through(snapshot)) {
        groups.entry(Group::of(snapshot, plan.group_by)).or_default().push(snapshot);
    }
    let mut judged = Vec::new();
    for (group, mut members) in groups {
        members.sort_unstable_by_key(|snapshot| (snapshot.effective(), snapshot.id));
        let verdicts = judge_group(&members, plan, now_ms);
        let of_group = members.into_iter().zip(verdicts).rev();
        judged.extend(of_group.map(|(snapshot, verdict)| Judged {
            snapshot,
            group: group.clone(),
            effective: snapshot.effective(),
            verdict,
        }));
    }
    share::hold_if_too_many(&mut judged, plan);
    judged
}

/// Judges a group that stands in the order of time, oldest first.
fn judge_group(members: &[&Snapshot], plan: &Plan, now_ms: u64) -> Vec<Verdict> {
    let held = held::for_itself(members, plan.floor_ms, now_ms);
    let mut visible: Vec<&Snapshot> = Vec::new();
    let mut newest = None;
    for (snapshot, held) in members.iter().zip(&held) {
        if held.is_none() {
            visible.push(snapshot);
        }
        if held.is_none_or(|held| !held.is_suspicious()) {
            newest = Some(snapshot.effective());
        }
    }
    visible.reverse();
    let whole_group = silence(newest, now_ms);
    let mut ruled = rule(&visible, plan, whole_group, now_ms);
    let verdicts = held.into_iter().map(|held| match held {
        Some(held) => Verdict::Held(held),
        None => ruled.pop().unwrap_or(Verdict::Held(Held::NoneLeft)), // there is one for each
    });
    verdicts.collect()
}

/// Whether the group's newest snapshot is so old that nothing of the group is removed.
fn silence(newest: Option<Moment>, now_ms: u64) -> Option<Held> {
    let since = Moment::from_ms(now_ms.saturating_sub(SILENT_AFTER_MS), None);
    newest.filter(|newest| *newest < since).map(|newest| Held::Silent { newest })
}

/// What the rules say of what they see, newest first.
fn rule(visible: &[&Snapshot], plan: &Plan, silent: Option<Held>, now_ms: u64) -> Vec<Verdict> {
    let seen: Vec<_> =
        visible.iter().map(|snapshot| Seen { at: snapshot.effective(), tags: &snapshot.tags }).collect();
    let kept = plan.rules.keep(&seen, &Moment::from_ms(now_ms, None));
    let none_left = kept.iter().all(Vec::is_empty).then_some(Held::NoneLeft);
    let verdict = |reasons: Vec<_>| match silent.or(none_left) {
        _ if !reasons.is_empty() => Verdict::Keep(reasons),
        Some(held) => Verdict::Held(held),
        None => Verdict::Remove,
    };
    kept.into_iter().map(verdict).collect()
}
