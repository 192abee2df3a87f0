//! What a report says of repositories that are well, and of those that are not.

use std::time::Duration;

use pawl_tests::maintenance::Maintenance;
use pawl_tests::store::{Stored, plant};
use serde_json::{Value, json};

use super::{Ground, VERSION, attention, last_line};

#[test]
fn of_a_repository_that_is_well_there_is_nothing_to_look_at_and_nothing_changes() {
    let ground = Ground::new();
    let before = Stored::read(ground.server.data());
    let report = ground.json(0, &[]);
    let of = &report["repositories"][0];
    assert_eq!(of["repository"], "web1");
    assert_eq!(of["last_backup"]["snapshot"], *ground.snapshots[1]);
    assert_eq!(of["last_backup"]["by"], "web1");
    assert_eq!((&of["snapshots"], &of["verified"]["share"]), (&json!(2), &json!(1.0)));
    assert_eq!(of["received"]["from"], "files");
    let received: u64 =
        of["received"]["days"].as_array().unwrap().iter().filter_map(|day| day["bytes"].as_u64()).sum();
    assert_eq!(Some(received), of["bytes"].as_u64());
    assert!(received > 200_000, "{received}");
    let text = ground.report(&[]).expect_code(0);
    assert!(text.stdout.contains("There is nothing to look at."), "{text:?}");
    assert_eq!(text.stderr, "");
    let mut line = last_line(&text);
    line["made"] = report["summary"]["made"].clone();
    assert_eq!(line, report["summary"]);
    Stored::read(ground.server.data()).assert_unchanged(&before);
}

#[test]
fn the_json_has_the_keys_that_the_help_documents() {
    let ground = Ground::new();
    let help = ground.report(&["--help"]).expect_code(0).stdout;
    let report = ground.json(0, &[]);
    let documented = |of: &Value| {
        for key in of.as_object().unwrap().keys() {
            let is_named = help.contains(&format!("`{key}`")) || help.contains(&format!("\"{key}\""));
            assert!(is_named, "{key} is not in the help");
        }
    };
    documented(&report);
    documented(&report["summary"]);
    documented(&report["repositories"][0]);
    assert_eq!(report["pawl_report"], 1);
    let expected: Vec<_> = report["expected"].as_object().unwrap().keys().collect();
    assert_eq!(expected, ["audit", "made", "repositories"]);
}

#[test]
fn it_works_while_maintenance_is_at_work_and_tells_what_was_deleted_and_when_it_is_final() {
    let ground = Ground::new();
    let door = Maintenance::start(&ground.server);
    door.restic(VERSION, "web1").succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    let report = ground.json(0, &[]);
    let pending = &report["repositories"][0]["pending"][0];
    let deleted = &door.deleted()[0];
    for key in ["batch", "bytes", "files", "final_from", "days_seen", "days_needed"] {
        assert_eq!(pending[key], deleted[key], "{key}");
    }
    assert_eq!(report["frees"][0]["bytes"], deleted["bytes"]);
    assert!(deleted["final_from"].as_str().unwrap().starts_with(report["frees"][0]["day"].as_str().unwrap()));
    assert_eq!(report["summary"]["pending_batches"], 1);
    let page = ground.page();
    assert!(page.contains(deleted["batch"].as_str().unwrap()) && page.contains("final from"));
}

#[test]
fn silence_damage_and_what_runs_said_are_on_top_the_gravest_first() {
    let ground = Ground::reporting("silent_days = 3");
    for id in &ground.snapshots {
        ground.server.back_date(&format!("web1/snapshots/{id}"), Duration::from_hours(24 * 4));
    }
    plant(&ground.snapshot_path(&ground.snapshots[0]), b"rotten");
    let _ = ground.maintain(&["verify", "--all"]).expect_code(1);
    let step = |step: &str, ended: &str, said: &str| json!({"step": step, "ended": ended, "said": [said], "batch": null, "took_ms": 1});
    ground.remember(&json!({
        "last": {"began_ms": 1, "ended_ms": null, "steps": [
            step("verify", "well", "nothing"), step("prune", "failed", "restic was killed"),
            step("check", "skipped", "no password"),
        ]},
        "held": [{"id": ground.snapshots[1], "host": "web1", "received": "2026-11-20T02:00:00Z",
                  "reason": "claims a time far from it", "suspicious": true}],
    }));
    let report = ground.json(1, &[]);
    let found = attention(&report);
    let expected = [
        "loss web1: 1 file is damaged",
        "look web1: the last run began ",
        "look web1: the step `prune` of the last run failed: restic was killed",
        "look web1: 1 snapshot is held and suspicious",
        "look web1: the last backup came 4 days ago",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
    assert_eq!((&report["summary"]["damaged"], &report["summary"]["held"]), (&json!(1), &json!(1)));
    let text = ground.report(&[]).expect_code(1).stdout;
    assert!(text.find("1 file is damaged").unwrap() < text.find("last backup  ").unwrap(), "{text}");
    assert!(text.contains("it was cut, or is at work"), "{text}");
}

#[test]
fn a_report_that_cannot_be_made_says_why_and_ends_with_2() {
    let ground = Ground::new();
    let failed = ground.report(&["web2"]).expect_code(2);
    assert!(failed.stderr.contains("web2: there is no such repository"), "{failed:?}");
    let line = last_line(&failed);
    assert_eq!(line["exit"], 2);
    assert!(line["error"].as_str().unwrap().contains("web2"), "{line}");
    for content in
        ["no JSON", "{}", r#"{"expected": {"made": "yesterday", "repositories": {}, "audit": {}}}"#]
    {
        let earlier = ground.restic.home().join("earlier.json");
        plant(&earlier, content.as_bytes());
        let failed = ground.report(&["--compare", earlier.to_str().unwrap()]).expect_code(2);
        assert!(failed.stderr.contains("pawl maintain report --json"), "{content}: {failed:?}");
    }
}
