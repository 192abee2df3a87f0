//! Single steps of a night.

use pawl_tests::maintenance::maintain;
use pawl_tests::program::program;
use pawl_tests::store::plant;

use super::{Ground, RULES, ends, step};

#[test]
fn only_what_was_asked_for_is_done_and_the_night_before_stays_in_the_report() {
    let ground = Ground::new(&["web1"]);
    let _ = ground.run(&["--json"]).expect_code(0);
    let night = ground.server.data().join(".pawl/maintenance/run/,run.json");
    let before = std::fs::read(&night).unwrap();

    let only =
        ground.run(&[&RULES[..], &["--only", "forget,prune", "--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&only, "web1"), ["forget well", "prune well"], "{only:#}");
    assert!(!step(&only, "web1", "prune")["said"][0].as_str().unwrap().contains("deleted 0 "), "{only:#}");
    assert_eq!(ground.snapshots("web1").len(), 4);
    ground.restic("web1").check();
    // It is no night: the next is not put off by it, and the last is still told of, with what was done since.
    assert_eq!(std::fs::read(&night).unwrap(), before);
    let report = maintain(&ground.server.place(), &["report", "--json"]).json().to_string();
    for done in ["\"verify\"", "\"check\"", "removed 2, kept 4"] {
        assert!(report.contains(done), "{report}");
    }
    let next = ground.run(&["--json"]).expect_code(0).json();
    assert_eq!((&next["resumed"], ends(&next, "web1").len()), (&false.into(), 6), "{next:#}");
}

#[test]
fn a_step_that_there_is_not_is_an_error_with_those_that_there_are() {
    let ground = Ground::new(&[]);
    let unknown = ground.run_alone(&["--only", "repack"]).expect_code(2);
    assert!(unknown.stderr.contains("repack") && unknown.stderr.contains("prune"), "{unknown:?}");
    let internal = ground.run_alone(&["--only", "locks"]);
    assert_eq!(internal.code, Some(2), "{internal:?}");
}

#[test]
fn forget_by_hand_has_the_settings_of_the_night_and_options_go_before_them() {
    let ground = Ground::new(&["web1", "db1"]);
    let place = ground.server.place();
    let written = std::fs::read_to_string(place[1]).unwrap();
    let settings = format!(
        "keep_last = 4\nrestic = '{}'\npassword_file = '{}'\n",
        program("restic-0.19").display(),
        ground.password.display()
    );
    let of_db1 = "[maintenance.run.repositories.db1]\nkeep_last = 5\n";
    let config = format!("{written}\n[maintenance.run]\n{settings}{of_db1}");
    plant(place[1].as_ref(), config.as_bytes());
    let forget = |args: &[&str]| {
        let report = maintain(&place, &[&["forget"], args, &["--json"]].concat()).expect_code(0).json();
        report["removed"].as_u64().unwrap()
    };
    assert_eq!(forget(&["web1", "--dry-run", "--keep-last", "3"]), 3);
    assert_eq!((forget(&["web1"]), forget(&["db1"])), (2, 1));
    assert_eq!((ground.snapshots("web1").len(), ground.snapshots("db1").len()), (4, 5));
    // Damage tells of itself which snapshots need it.
    for pack in ground.files("db1").into_iter().filter(|file| file.starts_with("db1/data/")) {
        ground.server.plant(&pack, b"rotten");
    }
    let found = maintain(&place, &["verify", "db1", "--all", "--json"]).expect_code(1).stdout;
    let needed = ground.snapshots("db1").iter().any(|snapshot| found.contains(snapshot.as_str()));
    assert!(needed, "{found}");
}
