//! What was removed past Pawl is named, and what maintenance deleted is not.

use std::fs;
use std::path::PathBuf;

use pawl_tests::maintenance::{Maintenance, maintain_at_time};
use pawl_tests::store::{plant, remove};
use pawl_tests::wait;
use serde_json::{Value, json};

use super::{Ground, VERSION, attention};

/// Keeps a report as an admin would on another machine, and returns where.
fn keep(ground: &Ground) -> PathBuf {
    let report = ground.report(&["--json"]);
    let path = ground.restic.home().join("earlier.json");
    plant(&path, report.stdout.as_bytes());
    path
}

fn compare(ground: &Ground, code: u8, earlier: &std::path::Path) -> Value {
    ground.json(code, &["--compare", earlier.to_str().unwrap()])
}

/// A152: Root on the server removes a snapshot's file.
#[test]
fn a_snapshot_that_was_removed_past_pawl_is_named() {
    let ground = Ground::new();
    let earlier = keep(&ground);
    assert_eq!(compare(&ground, 0, &earlier)["compared"]["missing"], json!([]));
    remove(&ground.snapshot_path(&ground.snapshots[0]));
    let report = compare(&ground, 1, &earlier);
    let missing = json!([{"repository": "web1", "snapshots": [ground.snapshots[0]], "of": 2}]);
    assert_eq!(report["compared"]["missing"], missing);
    assert_eq!(report["summary"]["missing"], 1);
    let found = attention(&report);
    assert!(found[0].starts_with("loss web1: 1 of the 2 snapshots that had to be there"), "{found:?}");
    assert!(found[0].contains(&ground.snapshots[0]), "{found:?}");
    // The part that the page has is enough.
    let whole: Value = serde_json::from_slice(&fs::read(&earlier).unwrap()).unwrap();
    plant(&earlier, whole["expected"].to_string().as_bytes());
    assert_eq!(compare(&ground, 1, &earlier)["summary"]["missing"], 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test stands in for an admin here")]
fn a_repository_that_is_gone_as_a_whole_is_missed() {
    let ground = Ground::new();
    let earlier = keep(&ground);
    fs::rename(ground.server.data().join("web1"), ground.server.dir().join("away")).unwrap();
    let report = compare(&ground, 1, &earlier);
    assert_eq!(report["compared"]["missing"][0]["snapshots"].as_array().unwrap().len(), 2);
    // Nor is there need of an earlier report, or of a verification since.
    for _ in 0..2 {
        let found = attention(&ground.json(1, &[]));
        assert!(found[0].starts_with("loss web1: all of it is gone"), "{found:?}");
        let _ = ground.maintain(&["verify", "--all"]).expect_code(1);
    }
    assert!(attention(&ground.json(1, &["web1"]))[0].contains("maintain restore web1 --from"));
}

fn remove_files(directory: &std::path::Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { remove_files(&path) } else { remove(&path) }
    }
}

#[test]
fn a_repository_that_is_empty_is_worth_a_look_if_it_was_not_retired() {
    let ground = Ground::new();
    let _ = ground.maintain(&["delete", "web1"]).expect_code(0);
    assert_eq!(attention(&ground.json(0, &[])), [""; 0]);
    let ground = Ground::new();
    remove_files(&ground.server.data().join("web1"));
    assert_eq!(attention(&ground.json(1, &[])), ["look web1: it has no snapshot"]);
}

/// A166: Somebody with the disk removes a repository's config, which is no file that is damaged.
#[test]
fn a_config_that_is_gone_is_in_the_report_even_while_other_maintenance_is_at_work() {
    let ground = Ground::new();
    let config = ground.server.data().join("web1/config");
    let content = fs::read(&config).unwrap();
    remove(&config);
    plant(&ground.server.data().join("web1/data/foreign"), b"what is this?");
    let mut door = Maintenance::start(&ground.server);
    let _ = ground.maintain(&["verify"]).expect_code(1);
    let report = ground.json(1, &[]);
    let found = attention(&report);
    assert!(found[0].starts_with("loss web1: 1 file is damaged or missing"), "{found:?}");
    assert!(found.iter().any(|line| line.contains("had 1 finding at which")), "{found:?}");
    assert_eq!(report["repositories"][0]["findings"][0]["file"], "config");
    assert_eq!(report["summary"]["damaged"], 1);
    plant(&config, &content);
    remove(&ground.server.data().join("web1/data/foreign"));
    let _ = ground.maintain(&["verify"]);
    assert_eq!(ground.json(0, &[])["repositories"][0]["findings"], json!([]));
    door.stop();
}

/// Forgotten, brought back, and forgotten and purged: each time it is known why a snapshot is there or not.
#[test]
fn what_maintenance_deleted_is_not_missed_even_when_it_is_purged() {
    let ground = Ground::new();
    let earlier = keep(&ground);
    let mut door = Maintenance::start(&ground.server);
    let forget = ["forget", "--keep-last", "1", "--prune", "--max-unused", "0"];
    door.restic(VERSION, "web1").succeed(forget);
    assert_eq!(compare(&ground, 0, &earlier)["summary"]["missing"], 0);
    door.stop();
    let _ = ground.maintain(&["undelete", &door.one_batch()]).expect_code(0);
    assert_eq!(compare(&ground, 0, &earlier)["summary"]["snapshots"], 2);
    let snapshot = format!("snapshots/{}", ground.snapshots[0]);
    let _ = ground.maintain(&["delete", "web1", &snapshot]).expect_code(0);
    for day in 1..=7 {
        let purge = ["purge", "--assume-clock-synced"];
        let _ = maintain_at_time(&format!("+{}d", 14 + day), &ground.server.place(), &purge).expect_code(0);
    }
    assert_eq!(door.deleted().len(), 0, "all was purged");
    let report = compare(&ground, 0, &earlier);
    assert_eq!((&report["summary"]["missing"], &report["summary"]["snapshots"]), (&json!(0), &json!(1)));
}

/// A153: Somebody removes a snapshot out of the batch in which it waits to become final, so that nothing brings it back.
#[test]
fn a_snapshot_that_was_removed_out_of_its_batch_is_named() {
    let ground = Ground::new();
    let earlier = keep(&ground);
    let snapshot = format!("snapshots/{}", ground.snapshots[0]);
    let _ = ground.maintain(&["delete", "web1", &snapshot]).expect_code(0);
    assert_eq!(compare(&ground, 0, &earlier)["summary"]["missing"], 0);
    let batches = fs::read_dir(ground.server.data().join(".pawl/deleted")).unwrap();
    let batch =
        batches.map(|entry| entry.unwrap().path()).find(|path| path.join(&snapshot).exists()).unwrap();
    remove(&batch.join(&snapshot));
    assert_eq!(
        compare(&ground, 1, &earlier)["compared"]["missing"][0]["snapshots"],
        json!([ground.snapshots[0]])
    );
}

fn audit_log(ground: &Ground) -> PathBuf {
    let entries = fs::read_dir(ground.server.data().join(".pawl/audit")).unwrap();
    entries.map(|entry| entry.unwrap().path()).max().unwrap()
}

/// A154: Somebody who has the disk changes a record of the audit log, or writes all of it anew so that it verifies.
#[test]
fn an_audit_log_that_was_changed_cut_or_rewritten_is_named() {
    let mut ground = Ground::new();
    let _ = ground.server.stop();
    let earlier = keep(&ground);
    let path = audit_log(&ground);
    let whole = fs::read_to_string(&path).unwrap();

    // Changed: it does not verify, whether there is an earlier report or not.
    plant(&path, whole.replacen("\"web1\"", "\"web2\"", 1).as_bytes());
    let found = attention(&ground.json(1, &[]));
    assert!(found[0].contains("the audit log of hosts is not what was written"), "{found:?}");

    // What is expected of it is what was, so that it does not help to make it verify again later.
    let broken = compare(&ground, 1, &earlier);
    let heads = |report: &Value| report["expected"]["audit"]["hosts"].clone();
    let whole_report: Value = serde_json::from_slice(&fs::read(&earlier).unwrap()).unwrap();
    assert!(heads(&broken).is_object() && heads(&broken) == heads(&whole_report), "{broken}");

    // Cut: it verifies, and lacks the record that was the last.
    let lines: Vec<_> = whole.lines().collect();
    plant(&path, format!("{}\n", lines[..lines.len() - 1].join("\n")).as_bytes());
    assert_eq!(ground.json(0, &[])["audit"][0]["broken"], Value::Null);
    let report = compare(&ground, 1, &earlier);
    let logs = report["compared"]["logs"].as_array().unwrap();
    assert!(logs.len() == 1 && logs[0].as_str().unwrap().contains("cut or rewritten"), "{report}");
    assert!(attention(&report)[0].starts_with("loss -: the audit log of hosts"));

    // Rewritten with more records than before, as a new server would begin one.
    remove(&path);
    ground.server.start_again();
    for _ in 0..3 {
        ground.restic.check();
    }
    let report = compare(&ground, 1, &earlier);
    assert_eq!(report["audit"][0]["broken"], Value::Null);
    assert_eq!(report["compared"]["logs"].as_array().unwrap().len(), 1, "{report}");

    // As it was, and longer.
    let _ = ground.server.stop();
    plant(&path, whole.as_bytes());
    ground.server.start_again();
    ground.restic.check();
    assert_eq!(compare(&ground, 0, &earlier)["compared"]["logs"], json!([]));
}

/// How the step `compare` of a night ends.
fn night(ground: &Ground) -> Value {
    let report = ground.maintain(&["run", "--json"]).json();
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == "compare").map_or(Value::Null, |step| step["ended"].clone())
}

/// A167: Somebody who has the disk changes one byte of an audit log, so that maintenance never goes on.
#[test]
fn a_known_break_of_an_audit_log_stops_no_night_and_another_does() {
    let mut ground = Ground::new();
    let _ = ground.report(&["--acknowledge"]).expect_code(0);
    let _ = ground.server.stop();
    let path = audit_log(&ground);
    let change = |from: &str, to: &str| {
        let whole = fs::read_to_string(&path).unwrap();
        assert!(whole.contains(from));
        plant(&path, whole.replacen(from, to, 1).as_bytes());
    };
    for (from, to) in [("\"web1\"", "\"web2\""), ("{\"number\":2,", "[\"number\":2,")] {
        change(from, to);
        let report = ground.json(1, &[]);
        assert!(attention(&report)[0].starts_with("loss -: the audit log of hosts"), "{report}");
        assert_eq!(night(&ground), "failed");
        let _ = ground.report(&["--acknowledge"]).expect_code(1);
        let report = ground.json(1, &[]);
        assert_eq!((&report["compared"]["logs"], &report["audit"][0]["broken"]), (&json!([]), &Value::Null));
        let found = attention(&report);
        let known = |line: &String| line.starts_with("look -: the audit log of hosts has ");
        assert_eq!(found.iter().filter(|line| known(line)).count(), 1, "{found:?}");
        assert_eq!(night(&ground), "well");
    }
    // What comes later counts from there on.
    ground.server.start_again();
    ground.restic.check();
    let _ = ground.server.stop();
    assert_eq!(night(&ground), "well");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    plant(&path, format!("{}\n", lines[..lines.len() - 1].join("\n")).as_bytes());
    assert_eq!(ground.json(1, &[])["compared"]["logs"].as_array().unwrap().len(), 1);
    assert_eq!(night(&ground), "failed");
}

#[test]
fn what_restic_cleans_up_after_an_upload_that_failed_raises_no_alarm() {
    let ground = Ground::new();
    let host = ground.server.add_client("web1b", &["--repository", "web1"]);
    let target = format!("/web1/data/{}", "0".repeat(64));
    assert_eq!(host.ask("DELETE", &target).unwrap().status, 403);
    let log = audit_log(&ground);
    wait::until("it is in the audit log", || {
        fs::read_to_string(&log).unwrap().contains("delete data").then_some(())
    });
    let report = ground.json(0, &[]);
    assert_eq!((&report["refused"], &report["summary"]["refused"]), (&json!([]), &json!(0)));
}

#[test]
fn what_a_host_was_refused_is_counted_by_principal_since_the_last_report() {
    let ground = Ground::reporting("command = ['/bin/cat']");
    let _ = ground.restic.refused(["forget", "latest"], "append-only");
    // What was decided is in the log a moment after its answer; restic has removed its lock at the end.
    let log = audit_log(&ground);
    wait::until("all of it is in the audit log", || {
        let text = fs::read_to_string(&log).unwrap();
        let count = |action: &str| text.matches(action).count();
        (count("delete snapshots") > 0 && count("create locks") == count("delete locks")).then_some(())
    });
    let report = ground.json(1, &[]);
    let refused = &report["refused"][0];
    assert_eq!(refused["principal"], "web1");
    assert_eq!(refused["attempts"][0]["action"], "delete snapshots");
    assert_eq!(refused["attempts"][0]["status"], 403);
    assert_eq!(report["summary"]["refused"], refused["total"]);
    let found = attention(&report);
    assert!(found[0].starts_with("look -: web1 was refused "), "{found:?}");
    // Looking is not delivering: it stays until it was delivered.
    assert_eq!(ground.json(1, &[])["summary"]["refused"], refused["total"]);
    let _ = ground.report(&["--deliver"]).expect_code(1);
    let after = ground.json(0, &[]);
    assert_eq!((&after["refused"], &after["since"]), (&json!([]), &after["compared"]["made"]));
}
