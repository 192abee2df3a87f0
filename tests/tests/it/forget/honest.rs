//! What honest people do to snapshots: nothing good is removed for it, and an admin can say that it is good.

use std::time::Duration;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::maintenance::Maintenance;
use pawl_tests::store::remove;
use serde_json::Value;

use super::{DAY, Ground, assert_held, with_verdict};

#[test]
fn tagged_rewritten_and_copied_snapshots_are_held_until_they_are_adopted() {
    let ground = Ground::new();
    let good = ground.daily(20, 6);
    let mut door = Maintenance::start(&ground.server);
    let admin = door.restic(Version::V0_19, "web1");
    admin.succeed(["tag", "--add", "important", &good[0]]);
    admin.succeed(["rewrite", "--exclude", "file-9", "--forget", &good[1]]);
    door.stop();
    // From a repository of another host.
    let other = Restic::new(Version::V0_19, &clients::ready(&ground.server, "other"));
    let _ = other.report_of_backup(&ground.files, &["--host", "web1", "--time", &super::time(19 * DAY)]);
    let from = ground.server.data().join("other");
    ground.restic.succeed(["copy", "--from-repo", from.to_str().unwrap()]);
    let new: Vec<String> = ground.there().into_iter().filter(|id| !good.contains(id)).collect();
    assert_eq!(new.len(), 3);

    let rules = ["--keep-last", "4", "--max-share", "100%"];
    let report = ground.report(&rules);
    assert_held(&report, &new, "forged time");
    assert_eq!(report["removed"], 0, "{report}");

    // What an admin vouches for counts, once it is older than the floor.
    for id in &new {
        let _ = ground.adopt(&[id]).expect_code(0);
    }
    assert_held(&ground.report(&rules), &new, "younger than the floor");
    for id in &new {
        ground.server.back_date(&format!("web1/snapshots/{id}"), Duration::from_secs(8 * DAY));
    }
    let expected = ground.restic_would_remove(&rules[..2]);
    let report = ground.report(&rules);
    assert_eq!((with_verdict(&report, "remove"), &report["held"]), (expected, &Value::from(0)));
    ground.assert_there(&good[2..]);
}

#[test]
fn a_repository_from_elsewhere_is_adopted() {
    let ground = Ground::new();
    let history = ground.daily(60, 12);
    for id in &history {
        ground.receive(id, 8 * DAY); // the day on which it was moved here
    }
    let late = ground.backup(9 * DAY, &[]);
    let rules = ["--keep-last", "5", "--keep-monthly", "2", "--max-share", "100%"];
    let report = ground.report(&rules);
    assert_eq!((&report["removed"], with_verdict(&report, "held").len()), (&Value::from(0), 12), "{report}");
    let adopted = ground.adopt(&["--json"]).expect_code(0).json();
    assert_eq!(adopted["trusted"], 13);
    let place = ground.server.place();
    let told = pawl_tests::command::pawl(["audit", "show"].iter().chain(&place)).expect_code(0);
    assert!(told.stdout.contains("vouched for snapshots: web1/"), "{told:#?}");
    let expected = ground.restic_would_remove(&rules[..4]);
    assert!(!expected.is_empty());
    assert_eq!(with_verdict(&ground.report(&rules), "remove"), expected);
    assert!(ground.there().contains(&late));
    // What comes later is judged as ever.
    let forged = ground.backup(8 * DAY, &["--time", &super::time(50 * DAY)]);
    assert_held(&ground.report(&rules), &[forged], "forged time");
}

#[test]
fn a_host_that_has_less_now_is_measured_anew_once_that_is_said_to_be_good() {
    let ground = Ground::new();
    ground.daily(20, 4);
    for name in 2..10 {
        remove(&ground.files.join(format!("file-{name}")));
    }
    let less = ground.daily(16, 4);
    assert_held(&ground.report(&["--keep-last", "8"]), &less, "shrunken");
    let _ = ground.adopt(&[&less[0]]).expect_code(0);
    let report = ground.report(&["--keep-last", "8"]);
    assert_eq!((&report["kept"], &report["held"]), (&Value::from(8), &Value::from(0)), "{report}");
    // They stay good when those before them, and the adopted one, are gone.
    let report = ground.report(&["--keep-last", "3", "--max-share", "100%"]);
    assert_eq!(with_verdict(&report, "remove").len(), 5, "{report}");
    let report = ground.report(&["--keep-last", "3"]);
    assert_eq!((&report["kept"], &report["held"]), (&Value::from(3), &Value::from(0)), "{report}");
    assert!(ground.adopt(&["0".repeat(64).as_str()]).expect_code(1).stderr.contains("nothing was adopted"));
}

#[test]
fn what_is_removed_is_one_batch_that_comes_back_and_data_stays() {
    let ground = Ground::new();
    let good = ground.daily(20, 6);
    let data = || std::fs::read_dir(ground.server.data().join("web1/index")).unwrap().count();
    let before = data();
    let report = ground.report(&["--keep-last", "4"]);
    assert_eq!((report["removed"].as_u64(), data()), (Some(2), before));
    assert_eq!(ground.there(), good[2..].iter().cloned().collect());
    let batch = report["batch"].as_str().expect("a batch");
    let place = ground.server.place();
    let _ = pawl_tests::maintenance::maintain(&place, &["undelete", batch]).expect_code(0);
    ground.assert_there(&good);
}
