//! Single steps of a night.

use super::{Ground, RULES, ends, step};
use pawl_tests::maintenance::maintain;

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
