//! Retention night after night, as `pawl maintain run` has it: what honest hosts store is never refused, and a sudden cut
//! is, however often it is tried.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;

use pawl_policy::DAY_MS;
use pawl_policy::retention::{
    Count, DaysLeft, Group, Held, Moment, Plan, Rules, Size, Snapshot, Verdict, Vouched, Within, days_left,
    judge,
};
use proptest::prelude::*;

/// 2026-01-01T03:30:00Z
const FIRST_NIGHT_MS: u64 = 1_767_238_200_000;

/// A repository of one host, from its first night on.
struct Repository {
    rules: Rules,
    night: u64,
    stored: u32,
    snapshots: Vec<Snapshot>,
    earlier: DaysLeft,
    judged_before: BTreeSet<Group>,
}

impl Repository {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            night: 0,
            stored: 0,
            snapshots: Vec::new(),
            earlier: DaysLeft::new(),
            judged_before: BTreeSet::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        FIRST_NIGHT_MS + self.night * DAY_MS
    }

    /// A day with so many backups, spread over it.
    fn day(&mut self, backups: u64) {
        self.night += 1;
        for backup in 0..backups {
            let received_ms = self.now_ms() - DAY_MS + (backup + 1) * DAY_MS / (backups + 1);
            self.stored += 1;
            self.snapshots.push(Snapshot {
                id: format!("{:064x}", self.stored).parse().unwrap(),
                claimed: Some(Moment::from_ms(received_ms - 60_000, None)),
                received_ms,
                host: "web1".into(),
                paths: vec!["/srv".into()],
                tags: Vec::new(),
                size: Some(Size { files: 1000, bytes: 1_000_000 }),
                lacks_canary: false,
                vouched: Vouched::Nothing,
                brought: false,
                fell_before: false,
            });
        }
    }

    /// Forgets, and says what was refused.
    fn forget(&mut self) -> Option<Held> {
        let rules = self.rules.clone();
        let (refused, left) = self.forget_by(&rules, &self.earlier.clone());
        if refused.is_none() {
            self.judged_before.extend(left.keys().cloned());
            self.earlier = left;
        }
        refused
    }

    fn forget_by(&mut self, rules: &Rules, earlier: &DaysLeft) -> (Option<Held>, DaysLeft) {
        let plan = Plan {
            rules: rules.clone(),
            floor_ms: 7 * DAY_MS,
            earlier: earlier.clone(),
            judged_before: self.judged_before.clone(),
            ..Plan::default()
        };
        let judged = judge(&self.snapshots, &plan, self.now_ms());
        let refused = judged.iter().find_map(|judged| match judged.verdict {
            Verdict::Held(held @ Held::TooMany { .. }) => Some(held),
            _ => None,
        });
        let left = days_left(&judged);
        let removed = judged.iter().filter(|judged| judged.verdict == Verdict::Remove);
        let removed: Vec<_> = removed.map(|judged| judged.snapshot.id).collect();
        self.snapshots.retain(|snapshot| !removed.contains(&snapshot.id));
        (refused, left)
    }

    /// What becomes of `--keep-last 1` where more was kept.
    fn assert_a_cut_is_refused(&mut self) {
        let before = self.snapshots.len();
        for _ in 0..60 {
            // Other rules than those of the last run: what they left says nothing.
            let cut = Rules { last: Count::Newest(1), ..Rules::default() };
            let (refused, _) = self.forget_by(&cut, &DaysLeft::new());
            assert!(refused.is_some(), "night {}: {before} snapshots", self.night);
            assert!(self.snapshots.len() >= before);
            self.day(1);
        }
    }
}

fn keep(daily: u32, weekly: u32, monthly: u32) -> Rules {
    let [daily, weekly, monthly] = [daily, weekly, monthly].map(Count::Newest);
    Rules { daily, weekly, monthly, ..Rules::default() }
}

#[test]
fn what_honest_hosts_store_is_never_refused() {
    let last = |number| Rules { last: Count::Newest(number), ..Rules::default() };
    let hourly = Rules { hourly: Count::Newest(24), ..keep(14, 8, 12) };
    let within = Rules { within: "30d".parse().unwrap(), ..Rules::default() };
    for rules in [keep(14, 8, 12), keep(7, 4, 0), keep(7, 4, 6), hourly, last(10), last(48), within] {
        for backups in [1, 4, 6, 8, 12, 24, 48] {
            let mut repository = Repository::new(rules.clone());
            for night in 0..400 {
                repository.day(backups);
                let refused = repository.forget();
                assert_eq!(refused, None, "{rules:?}, {backups} a day, night {night}");
            }
            let most = usize::try_from(8 * backups).unwrap()
                + 24
                + 48
                + 34
                + 30 * usize::from(rules.within != Within::default()) * usize::try_from(backups).unwrap();
            assert!(repository.snapshots.len() <= most, "{rules:?}: {}", repository.snapshots.len());
        }
    }
}

#[test]
fn nights_in_which_forget_was_not_reached_lock_nothing() {
    for rules in [keep(14, 8, 12), keep(7, 4, 0)] {
        for (backups, missed) in [(1, 9), (1, 24), (1, 100), (6, 9), (24, 40)] {
            let mut repository = Repository::new(rules.clone());
            for night in 0..400 {
                repository.day(backups);
                if night % (missed + 30) >= 30 {
                    continue;
                }
                let refused = repository.forget();
                assert_eq!(refused, None, "{rules:?}, {backups} a day, {missed} missed, night {night}");
            }
        }
    }
}

#[test]
fn a_sudden_cut_of_the_rules_is_refused_every_night() {
    for (rules, backups) in [(keep(14, 8, 12), 1), (keep(14, 8, 12), 24), (keep(7, 4, 0), 6)] {
        let mut repository = Repository::new(rules);
        for _ in 0..100 {
            repository.day(backups);
            assert_eq!(repository.forget(), None);
        }
        repository.assert_a_cut_is_refused();
    }
}

/// The time that it claims, in Unix milliseconds.
fn claimed_ms(snapshot: &Snapshot) -> u64 {
    snapshot.claimed.map_or(0, |claimed| claimed.distance_ms(&Moment::from_ms(0, None)))
}

/// Two years of another server's daily backups, copied here a while ago.
fn migrated(backups: u64) -> Repository {
    let mut repository = Repository::new(Rules::default());
    for _ in 0..730 {
        repository.day(backups);
    }
    let moved_ms = repository.now_ms() - 8 * DAY_MS;
    for snapshot in &mut repository.snapshots {
        (snapshot.vouched, snapshot.brought, snapshot.received_ms) = (Vouched::Time, true, moved_ms);
    }
    repository
}

#[test]
fn the_first_run_thins_out_what_another_server_stored_and_is_no_cut() {
    let refused = |rules: &Rules, backups, change: fn(&mut Snapshot)| {
        let mut repository = migrated(backups);
        repository.snapshots.iter_mut().for_each(change);
        let (refused, left) = repository.forget_by(rules, &DaysLeft::new());
        if refused.is_none() {
            // From then on the days that it left are the measure.
            repository.earlier = left;
            repository.day(1);
            repository.rules = rules.clone();
            assert_eq!(repository.forget(), None, "{rules:?}");
            let cut = Rules { last: Count::Newest(1), ..Rules::default() };
            let earlier = repository.earlier.clone();
            assert!(repository.forget_by(&cut, &earlier).0.is_some(), "{rules:?}");
        }
        refused.is_some()
    };
    let in_place = |snapshot: &mut Snapshot| {
        snapshot.vouched = Vouched::Nothing;
        snapshot.received_ms = claimed_ms(snapshot);
    };
    let through_a_host = |snapshot: &mut Snapshot| snapshot.brought = false;
    for rules in [keep(14, 8, 12), keep(7, 4, 12), keep(7, 4, 6), keep(30, 0, 12), keep(0, 52, 0)] {
        for backups in [1, 4] {
            for change in [|_: &mut Snapshot| {}, in_place, through_a_host] {
                assert!(!refused(&rules, backups, change), "{rules:?}, {backups} a day");
            }
        }
    }
    let last = |number| Rules { last: Count::Newest(number), ..Rules::default() };
    for cut in [last(1), last(7), keep(7, 0, 0), keep(14, 0, 0), keep(0, 0, 2), keep(0, 4, 0)] {
        assert!(refused(&cut, 1, |_| {}), "{cut:?}");
    }
    // What came through Pawl counts by days, once any rules have judged it.
    let received_here = |snapshot: &mut Snapshot| {
        (snapshot.vouched, snapshot.brought) = (Vouched::Nothing, false);
        snapshot.received_ms = claimed_ms(snapshot);
    };
    assert!(!refused(&keep(14, 8, 12), 1, received_here));
    assert!(refused(&last(1), 1, received_here));
    let mut repository = migrated(1);
    repository.snapshots.iter_mut().for_each(received_here);
    let judged = judge(&repository.snapshots, &Plan::default(), repository.now_ms());
    repository.judged_before = judged.into_iter().map(|judged| judged.group).collect();
    assert!(repository.forget_by(&keep(14, 8, 12), &DaysLeft::new()).0.is_some());
}

#[test]
fn a_flood_of_snapshots_on_one_day_takes_no_history_at_once() {
    let mut repository = Repository::new(Rules { last: Count::Newest(10), ..Rules::default() });
    for _ in 0..40 {
        repository.day(1);
        assert_eq!(repository.forget(), None);
    }
    repository.day(30);
    let mut refused = 0;
    for _ in 0..12 {
        refused += u32::from(repository.forget().is_some());
        repository.day(1);
    }
    assert!(refused >= 4, "{refused}");
    for _ in 0..20 {
        repository.day(1);
        let _ = repository.forget();
    }
    assert_eq!(repository.forget(), None, "it does not stay so");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Hosts that are off for days, that back up now and then many times a day, and runs that do not reach forget.
    #[test]
    fn whatever_honest_hosts_and_nights_do(
        days in proptest::collection::vec((prop_oneof![Just(0_u64), Just(1), 2..9_u64], any::<bool>()), 400),
        off in proptest::collection::vec((0..400_usize, 1..29_usize), 0..6),
        (daily, weekly, monthly) in (1..20_u32, 0..10_u32, 0..13_u32),
        within in prop_oneof![Just(0_u32), 10..60_u32],
    ) {
        let within = if within == 0 { Within::default() } else { format!("{within}d").parse().unwrap() };
        let mut repository = Repository::new(Rules { within_daily: within, ..keep(daily, weekly, monthly) });
        for (night, (backups, is_reached)) in days.iter().enumerate() {
            let is_off = off.iter().any(|(from, length)| (*from..from + length).contains(&night));
            repository.day(if is_off { 0 } else { *backups });
            if *is_reached {
                prop_assert_eq!(repository.forget(), None, "night {}", night);
            }
        }
    }
}
