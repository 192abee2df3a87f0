//! Retention: what is removed, kept and held. Whether the rules mean what restic's mean is tested with restic itself.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use pawl_policy::DAY_MS;
use pawl_policy::retention::{
    Count, Held, Judged, MaxShare, Moment, Plan, Rules, Size, Snapshot, Verdict, Vouched, Within, days_left,
    judge,
};

/// 2026-11-21T00:00:00Z
const NOW_MS: u64 = 1_795_219_200_000;
const FLOOR_MS: u64 = 7 * DAY_MS;
const FULL: Size = Size { files: 1000, bytes: 1_000_000 };

/// An honest snapshot, received this many days ago.
fn snapshot(number: u8, days_ago: u64) -> Snapshot {
    let received_ms = NOW_MS - days_ago * DAY_MS;
    Snapshot {
        id: format!("{number:064x}").parse().unwrap(),
        claimed: Some(Moment::from_ms(received_ms - 60_000, None)),
        received_ms,
        host: "web1".into(),
        paths: vec!["/srv".into()],
        tags: Vec::new(),
        size: Some(FULL),
        lacks_canary: false,
        vouched: Vouched::Nothing,
        brought: false,
        fell_before: false,
    }
}

/// One a day, the oldest first, the newest of today.
fn daily(days: u8) -> Vec<Snapshot> {
    (0..days).map(|number| snapshot(number, u64::from(days - 1 - number))).collect()
}

fn keep_last(number: u32, max_share: &str) -> Plan {
    let rules = Rules { last: Count::Newest(number), ..Rules::default() };
    Plan { rules, max_share: max_share.parse().unwrap(), floor_ms: FLOOR_MS, ..Plan::default() }
}

/// A plan for groups that other rules have judged before.
fn not_the_first(history: &[Snapshot], plan: Plan) -> Plan {
    let judged = judge(history, &Plan::default(), NOW_MS);
    Plan { judged_before: judged.into_iter().map(|judged| judged.group).collect(), ..plan }
}

fn removed(judged: &[Judged<'_>]) -> usize {
    judged.iter().filter(|judged| judged.verdict == Verdict::Remove).count()
}

fn held(judged: &[Judged<'_>], is_meant: impl Fn(&Held) -> bool) -> usize {
    let meant = |judged: &&Judged<'_>| matches!(&judged.verdict, Verdict::Held(held) if is_meant(held));
    judged.iter().filter(meant).count()
}

#[test]
fn young_snapshots_are_not_judged_and_take_no_place() {
    let history = daily(20);
    let judged = judge(&history, &keep_last(5, "100%"), NOW_MS);
    assert_eq!(held(&judged, |held| *held == Held::Young), 7);
    assert_eq!(removed(&judged), 20 - 7 - 5);
    assert!(judged[..7].iter().all(|judged| judged.verdict == Verdict::Held(Held::Young)));
    assert_eq!(judged[7].verdict, Verdict::Keep(vec!["last"]));
}

#[test]
fn no_rules_keep_everything() {
    let history = daily(20);
    assert_eq!(removed(&judge(&history, &Plan::default(), NOW_MS)), 0);
}

#[test]
fn a_forged_time_takes_no_place_and_is_held() {
    for (forged_ms, is_held) in [
        (NOW_MS + 400 * DAY_MS, true),
        (NOW_MS - 400 * DAY_MS, true),
        (NOW_MS - 8 * DAY_MS + DAY_MS, false), // a day is within the tolerance
        (NOW_MS - 8 * DAY_MS + DAY_MS + 1, true),
    ] {
        let mut forged = snapshot(99, 8);
        forged.claimed = Some(Moment::from_ms(forged_ms, None));
        let history = [daily(20), vec![forged]].concat();
        let judged = judge(&history, &keep_last(5, "100%"), NOW_MS);
        assert_eq!(held(&judged, |held| *held == Held::Time), usize::from(is_held));
        assert_eq!(removed(&judged), 20 - 7 - 5 + usize::from(!is_held));
    }
    let mut nonsense = snapshot(99, 8);
    nonsense.claimed = Moment::parse("at noon");
    assert_eq!(held(&judge(&[nonsense], &keep_last(5, "100%"), NOW_MS), |held| *held == Held::Time), 1);
}

#[test]
fn an_admin_who_vouches_for_a_time_makes_it_count() {
    let mut history = daily(20);
    for snapshot in &mut history {
        snapshot.received_ms = NOW_MS - 10 * DAY_MS;
    }
    let judged = judge(&history, &keep_last(5, "100%"), NOW_MS);
    assert!(held(&judged, |held| *held == Held::Time) > 15);
    for snapshot in &mut history {
        snapshot.vouched = Vouched::Time;
    }
    assert_eq!(removed(&judge(&history, &keep_last(5, "100%"), NOW_MS)), 15);
}

#[test]
fn what_shrank_below_half_is_held_until_somebody_vouches_for_it() {
    for (size, is_held) in [
        (Size { files: 500, bytes: 500_000 }, false),
        (Size { files: 499, bytes: 1_000_000 }, true),
        (Size { files: 1000, bytes: 499_999 }, true),
        (Size { files: 0, bytes: 0 }, true),
    ] {
        let mut history = daily(60);
        for snapshot in history.iter_mut().skip(15) {
            snapshot.size = Some(size); // however many there are, they do not become the measure
        }
        let judged = judge(&history, &keep_last(5, "100%"), NOW_MS);
        let fell = |held: &Held| matches!(held, Held::Fell { .. });
        assert_eq!(held(&judged, fell), if is_held { 45 } else { 0 }, "{size:?}");
        history[15].vouched = Vouched::AsItIs;
        let judged = judge(&history, &keep_last(5, "100%"), NOW_MS);
        assert_eq!(held(&judged, fell), 0, "{size:?}");
    }
}

#[test]
fn what_fell_once_stays_held_when_all_before_it_is_gone() {
    let mut history = vec![snapshot(1, 10), snapshot(2, 9)];
    history[0].fell_before = true;
    let judged = judge(&history, &keep_last(1, "100%"), NOW_MS);
    assert_eq!(held(&judged, |held| matches!(held, Held::Fell { median: None, .. })), 1);
    assert_eq!(removed(&judged), 0);
}

#[test]
fn a_silent_group_loses_nothing() {
    let mut history = daily(60);
    history.truncate(29); // the newest is 31 days old
    let judged = judge(&history, &keep_last(5, "100%"), NOW_MS);
    assert_eq!(held(&judged, |held| matches!(held, Held::Silent { .. })), 29 - 5);
    assert_eq!(removed(&judged), 0);
}

#[test]
fn a_run_that_would_remove_too_much_removes_nothing() {
    let history = daily(27); // of 20 that the rules see
    assert_eq!(removed(&judge(&history, &keep_last(10, "50%"), NOW_MS)), 10);
    let judged = judge(&history, &not_the_first(&history, keep_last(9, "50%")), NOW_MS);
    assert_eq!(removed(&judged), 0);
    assert_eq!(held(&judged, |held| matches!(held, Held::TooMany { left: 9, days: 20 })), 11);
    assert_eq!(removed(&judge(&history, &keep_last(1, "100%"), NOW_MS)), 19);
}

#[test]
fn too_much_of_one_group_holds_nothing_of_another() {
    let many_a_day = (0..27).map(|number| Snapshot { host: "db1".into(), ..snapshot(100 + number, 8) });
    let history: Vec<_> = daily(27).into_iter().chain(many_a_day).collect();
    let judged = judge(&history, &not_the_first(&history, keep_last(9, "50%")), NOW_MS);
    assert_eq!((removed(&judged), held(&judged, |held| matches!(held, Held::TooMany { .. }))), (18, 11));
    let left = days_left(&judged);
    assert_eq!(
        left.into_iter().map(|(group, days)| (group.host.unwrap(), days.len())).collect::<Vec<_>>(),
        [("db1".to_owned(), 1)]
    );
}

#[test]
fn rules_that_would_keep_none_of_a_group_remove_nothing_of_it() {
    let rules = Rules { tags: vec![pawl_policy::retention::TagList::parse("kept")], ..Rules::default() };
    let plan = Plan { rules, ..keep_last(1, "100%") };
    let history = daily(20);
    let judged = judge(&history, &plan, NOW_MS);
    assert_eq!(held(&judged, |held| *held == Held::NoneLeft), 13);
    let mut tagged = history;
    tagged[5].tags = vec!["kept".into(), "other".into()];
    assert_eq!(removed(&judge(&tagged, &plan, NOW_MS)), 12);
}

#[test]
fn a_missing_canary_holds() {
    let mut history = daily(20);
    history[3].lacks_canary = true;
    let judged = judge(&history, &keep_last(5, "100%"), NOW_MS);
    assert_eq!((removed(&judged), held(&judged, |held| *held == Held::Canary)), (20 - 7 - 5 - 1, 1));
    history[3].size = None;
    let judged = judge(&history, &keep_last(5, "100%"), NOW_MS);
    assert_eq!((removed(&judged), held(&judged, |held| *held == Held::Unreadable)), (20 - 7 - 5 - 1, 1));
}

#[test]
fn texts_are_read_as_restic_reads_them() {
    for text in ["1y5m7d2h", "14d", "8760h"] {
        assert_eq!(text.parse::<Within>().unwrap().to_string(), text);
    }
    for text in ["14", "d", "-1d", "1w", "1d 2h", "99999999999d"] {
        assert!(text.parse::<Within>().is_err(), "{text}");
    }
    assert_eq!("unlimited".parse(), Ok(Count::All));
    assert!("-2".parse::<Count>().is_err() && "many".parse::<Count>().is_err());
    assert!("101%".parse::<MaxShare>().is_err() && "50".parse::<MaxShare>().is_err());
    for text in ["2026-11-01T08:00:00Z", "2026-11-01T08:00:00+05:45", "0001-01-01T00:00:00-03:30"] {
        assert_eq!(Moment::parse(text).unwrap().to_string(), text);
    }
}
