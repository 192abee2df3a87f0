//! Who has locks in a repository while it is waited for.
//!
//! Invariant: who is told apart by nothing but the facts of a lock.

use std::collections::{BTreeMap, BTreeSet};

use pawl_policy::{FileId, PrincipalName};
use pawl_store::locks::Lock;
use pawl_store::{Facts, now_ms};

use super::report::KeptBy;

/// Everybody who was seen with a lock.
#[derive(Debug, Default)]
pub(super) struct Watch(BTreeMap<Option<PrincipalName>, Holder>);

#[derive(Debug, Default)]
struct Holder {
    first_ms: u64,
    last_ms: u64,
    /// How many there were at first.
    at_first: usize,
    seen: BTreeSet<FileId>,
    in_spite: BTreeSet<FileId>,
    /// Whether new locks had to be suspended because of it.
    kept: bool,
}

impl Watch {
    /// Notes which locks there are.
    pub(super) fn note(&mut self, locks: &[Lock]) {
        let mut there: BTreeMap<_, BTreeSet<FileId>> = BTreeMap::new();
        for lock in locks {
            there.entry(lock.facts.creator.clone()).or_default().insert(lock.id);
        }
        for (who, ids) in there {
            let holder = self.holder(who);
            if holder.seen.is_empty() {
                holder.at_first = ids.len();
            }
            holder.seen.extend(ids);
        }
    }

    /// Notes which locks there are as new ones are suspended because of them.
    pub(super) fn note_kept(&mut self, locks: &[Lock]) {
        self.note(locks);
        for lock in locks {
            self.holder(lock.facts.creator.clone()).kept = true;
        }
    }

    /// Notes locks that came in spite of the suspension.
    pub(super) fn note_in_spite(&mut self, locks: &[Lock]) {
        for lock in locks {
            self.holder(lock.facts.creator.clone()).in_spite.insert(lock.id);
        }
    }

    /// Notes locks that our restic was not shown; whose they are is known of those that are still there.
    pub(super) fn note_ignored(&mut self, ignored: &BTreeSet<FileId>, left: &[Lock]) {
        let still: Vec<_> = left.iter().filter(|lock| ignored.contains(&lock.id)).cloned().collect();
        self.note_in_spite(&still);
        let known: BTreeSet<_> = self.0.values().flat_map(|holder| &holder.in_spite).copied().collect();
        let unknown: BTreeSet<_> = ignored.difference(&known).copied().collect();
        if !unknown.is_empty() {
            self.holder(None).in_spite.extend(unknown);
        }
    }

    /// Somebody who has a lock at this moment.
    fn holder(&mut self, who: Option<PrincipalName>) -> &mut Holder {
        let now_ms = now_ms();
        let new = || Holder { first_ms: now_ms, ..Holder::default() };
        let holder = self.0.entry(who).or_insert_with(new);
        holder.last_ms = now_ms;
        holder
    }

    /// Who made a suspension necessary, or did not heed it.
    pub(super) fn kept_by(&self) -> Vec<KeptBy> {
        let meant = self.0.iter().filter(|(_, holder)| holder.kept || !holder.in_spite.is_empty());
        meant.map(|(who, holder)| holder.report(who.as_ref())).collect()
    }
}

impl Holder {
    fn report(&self, who: Option<&PrincipalName>) -> KeptBy {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let since = jiff::Timestamp::from_millisecond(i64::try_from(self.first_ms).unwrap_or(i64::MAX));
        KeptBy {
            principal: who.map(ToString::to_string),
            since: since
                .map_or_else(|_| "an unknown time".to_owned(), |since| since.strftime("%FT%TZ").to_string()),
            seconds: self.last_ms.saturating_sub(self.first_ms) / 1000,
            renewals: count(self.seen.len().saturating_sub(self.at_first)),
            in_spite: count(self.in_spite.len()),
        }
    }
}

/// Whose a lock is, for people.
pub(super) fn name(facts: &Facts) -> String {
    facts.creator.as_ref().map_or_else(|| "somebody unknown".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use pawl_policy::Audience;

    use super::*;

    fn lock(id: u8, creator: Option<&str>) -> Lock {
        let creator = creator.map(|name| name.parse().unwrap());
        let facts = Facts { creator, received_ms: 0, audience: Audience::All };
        Lock { id: FileId::from_sha256([id; 32]), facts, of_maintenance: false }
    }

    #[test]
    fn who_keeps_a_repository_locked_is_told_from_who_has_left() {
        let mut watch = Watch::default();
        watch.note(&[lock(1, Some("web1")), lock(2, Some("thief")), lock(3, Some("thief"))]);
        watch.note(&[lock(3, Some("thief")), lock(4, Some("thief"))]);
        watch.note_kept(&[lock(5, Some("thief"))]);
        let kept_by = watch.kept_by();
        let told: Vec<_> =
            kept_by.iter().map(|it| (it.principal.as_deref(), it.renewals, it.in_spite)).collect();
        assert_eq!(told, [(Some("thief"), 2, 0)]);
    }

    #[test]
    fn locks_that_were_ignored_are_told_whether_their_maker_is_known_or_not() {
        let mut watch = Watch::default();
        let ignored = [1, 2].map(|id| FileId::from_sha256([id; 32])).into();
        watch.note_ignored(&ignored, &[lock(1, Some("thief")), lock(9, Some("web1"))]);
        let kept_by = watch.kept_by();
        let told: Vec<_> = kept_by.iter().map(|it| (it.principal.as_deref(), it.in_spite)).collect();
        assert_eq!(told, [(None, 1), (Some("thief"), 1)]);
    }
}
