//! A thief of a host adds snapshots so that the admin's rules throw the good ones away.

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::{id_of, noise};
use pawl_tests::store::{plant, remove};

use super::{DAY, Ground, HOUR, assert_held, time, with_verdict};

/// Ten good backups, which the rule keeps as long as nothing takes their place, and none young.
const GOOD: u64 = 10;
const KEEP: [&str; 2] = ["--keep-last", "10"];

fn good() -> (Ground, Vec<String>) {
    let ground = Ground::new();
    let good = ground.daily(20, GOOD);
    (ground, good)
}

/// Runs it, and expects that all that is good survives and that the thief's are named with this reason.
fn assert_survives(ground: &Ground, good: &[String], forged: &[String], rules: &[&str], reason: &str) {
    let finished = ground.forget(&[rules, &["--max-share", "100%"]].concat()).expect_code(1);
    assert!(finished.stdout.contains(reason), "{finished:#?}");
    ground.assert_there(good);
    assert_held(&ground.report(&[rules, &["--dry-run"]].concat()), forged, reason);
}

/// A138: A thief of a host claims times in the future, so that the forged snapshots are the newest.
#[test]
fn snapshots_of_the_future_take_no_place() {
    let (ground, good) = good();
    let future = time(0).replacen("20", "21", 1); // in a hundred years
    let forged: Vec<_> = (0..GOOD).map(|_| ground.backup(9 * DAY, &["--time", &future])).collect();
    assert!(ground.restic_would_remove(&KEEP).len() >= 10, "plain restic falls for it");
    assert_survives(&ground, &good, &forged, &KEEP, "forged time");
}

/// A139: A thief of a host claims times in the past, so that forged snapshots are what is kept of those years.
#[test]
fn snapshots_of_the_past_take_no_place() {
    let (ground, good) = good();
    let rules = ["--keep-last", "9", "--keep-monthly", "1"]; // the oldest of all fills the month that is left
    let past: Vec<_> =
        (1..4).map(|year| ground.backup(9 * DAY, &["--time", &time(year * 365 * DAY)])).collect();
    let report = ground.report(&[&rules[..], &["--dry-run"]].concat());
    assert_held(&report, &past, "forged time");
    assert_survives(&ground, &good[1..], &past, &rules, "forged time");
}

/// A140: A thief of a host adds snapshots under other hosts' names and with tags that are kept.
#[test]
fn forged_hosts_and_tags_take_no_place() {
    let (ground, good) = good();
    ground.empty();
    let mut forged = Vec::new();
    for number in 0..12 {
        forged.push(ground.backup(9 * DAY - number, &["--host", "db1", "--tag", "keep"]));
    }
    for group_by in ["host,paths", "host,paths,tags"] {
        let report = ground.report(&["--keep-last", "10", "--keep-tag", "keep", "--group-by", group_by]);
        assert_eq!(with_verdict(&report, "keep").len() + with_verdict(&report, "held").len(), 22, "{report}");
        ground.assert_there(&good);
    }
    // Where nothing is grouped, they are told by what they lack.
    let rules = ["--keep-last", "10", "--group-by", ""];
    assert_survives(&ground, &good, &forged, &rules, "shrunken");
}

/// A141: A thief of a host floods the repository with tiny snapshots, so that the last so many are none of the good.
#[test]
fn a_flood_of_tiny_snapshots_takes_no_place() {
    let (ground, good) = good();
    ground.empty();
    let flood: Vec<_> = (0..100).map(|number| ground.backup(9 * DAY - number * 60, &[])).collect();
    assert_eq!(ground.restic_would_remove(&KEEP).len(), 100, "plain restic falls for it");
    assert_survives(&ground, &good, &flood, &KEEP, "shrunken");
}

/// A142: A thief of a host adds an empty snapshot every day, a little newer than the good one, to win every day and week.
#[test]
fn an_empty_snapshot_a_little_newer_each_day_wins_nothing() {
    let (ground, good) = good();
    let empty = ground.daily_and_empty(GOOD);
    let rules = ["--keep-daily", "10"];
    assert!(ground.restic_would_remove(&rules).len() >= 9, "plain restic falls for it");
    assert_survives(&ground, &good, &empty, &rules, "shrunken");
}

/// A143: A thief stops a host's backups and waits for months until the rules have thinned out what there was.
#[test]
fn a_group_that_fell_silent_loses_nothing() {
    let ground = Ground::new();
    let good = ground.daily(100, GOOD);
    let rules = ["--keep-last", "3", "--max-share", "100%"];
    assert_eq!(ground.restic_would_remove(&rules[..2]).len(), 7);
    let finished = ground.forget(&rules).expect_code(0);
    assert!(finished.stdout.contains("fell silent"), "{finished:#?}");
    ground.assert_there(&good);
    // Forged times break no silence.
    let forged = ground.backup(DAY, &["--time", &time(95 * DAY)]);
    let report = ground.report(&rules);
    assert_eq!((report["removed"].as_u64(), report["suspicious"].as_u64()), (Some(0), Some(1)), "{report}");
    assert_held(&report, &[forged], "forged time");
}

/// A144: A thief of a host floods the repository with snapshots that look like good ones.
#[test]
fn a_flood_of_snapshots_that_look_good_takes_no_place_before_it_is_as_old_as_the_floor() {
    let (ground, good) = good();
    for name in 0..10 {
        plant(&ground.files.join(format!("file-{name}")), &noise(&format!("garbage {name}"), 1000));
    }
    let flood: Vec<_> = (0..30).map(|hour| ground.backup(6 * DAY - hour * HOUR, &[])).collect();
    assert_eq!(ground.restic_would_remove(&KEEP).len(), 30, "plain restic falls for it");
    let report = ground.report(&KEEP);
    assert_eq!(report["removed"], 0, "{report}");
    assert_held(&report, &flood, "younger than the floor");
    ground.assert_there(&good);
}

/// A145: A thief of a host backs up garbage of the same size in place of the files.
#[test]
fn garbage_of_the_same_size_lacks_the_canary() {
    let ground = Ground::new();
    let canary = ground.files.join("file-3");
    let sha256 = id_of(&std::fs::read(&canary).unwrap());
    let canary = format!("{}={sha256}", canary.display());
    let good = ground.daily(20, GOOD);
    for name in 0..10 {
        plant(&ground.files.join(format!("file-{name}")), &noise(&format!("garbage {name}"), 1000));
    }
    let mut garbage: Vec<_> = (0..5).map(|hour| ground.backup(9 * DAY - hour * HOUR, &[])).collect();
    remove(&ground.files.join("file-3"));
    garbage.push(ground.backup(9 * DAY - 6 * HOUR, &[]));
    let rules = [&KEEP[..], &["--canary", &canary]].concat();
    assert_survives(&ground, &good, &garbage, &rules, "the canary is missing or changed");
}

/// A146: Rules and snapshots come together so that one run would remove most of what there is.
#[test]
fn a_run_that_would_remove_more_than_the_share_removes_nothing() {
    let (ground, good) = good();
    let finished = ground.forget(&["--keep-last", "2"]).expect_code(1);
    assert!(finished.stdout.contains("more than --max-share"), "{finished:#?}");
    ground.assert_there(&good);
    let _ = ground.forget(&["--keep-last", "2", "--max-share", "80%"]).expect_code(0);
    assert_eq!(ground.there(), good[8..].iter().cloned().collect());
}

/// A147: A host adds a snapshot of junk, or one whose trees are not there, so that the rules are not carried out any more.
#[test]
fn junk_among_the_snapshots_stops_nothing() {
    let (ground, good) = good();
    let junk = noise("no snapshot at all", 500);
    ground.server.plant(&format!("web1/snapshots/{}", id_of(&junk)), &junk);
    // Of another repository that the same password opens; nothing that it needs is here.
    let other = Restic::new(Version::V0_19, &clients::ready(&ground.server, "other"));
    plant(&ground.files.join("more"), b"more");
    let stray = other.report_of_backup(&ground.files, &["--host", "web1", "--time", &time(9 * DAY)]).snapshot;
    let snapshot = ground.server.content(&format!("other/snapshots/{stray}")).unwrap();
    ground.server.plant(&format!("web1/snapshots/{stray}"), &snapshot);
    ground.receive(&stray, 9 * DAY);

    let finished = ground.forget(&["--keep-last", "8"]).expect_code(1);
    assert!(finished.stdout.contains("its trees cannot be read"), "{finished:#?}");
    assert!(finished.stderr.contains(&id_of(&junk)[..8]), "{finished:#?}");
    let expected = good[2..].iter().chain([&stray, &id_of(&junk)]).cloned().collect();
    assert_eq!(ground.there(), expected);
}
