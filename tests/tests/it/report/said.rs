//! What a report says of repositories that are well, and of those that are not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    assert!(text.stdout.contains("Nothing needs attention."), "{text:?}");
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

/// Milliseconds so many days ago.
fn days_ago_ms(days: u64) -> u64 {
    let then = SystemTime::now().checked_sub(Duration::from_hours(24 * days)).unwrap();
    u64::try_from(then.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn examined(ground: &Ground, good: &[&String]) {
    let good: Vec<_> = good.iter().map(|id| format!("snapshots/{id}")).collect();
    let state = ground.server.data().join(".pawl/maintenance/examined/web1.json");
    plant(&state, json!({"rules": 1, "whole": true, "good": good}).to_string().as_bytes());
}

/// A193: The server's clock stood ahead once, and until that time a host that sends nothing any more seems to be backed up.
#[test]
fn a_snapshot_of_the_future_hides_no_silence() {
    let ground = Ground::reporting("silent_days = 3");
    let [old, new] = [0, 1].map(|at| format!("web1/snapshots/{}", ground.snapshots[at]));
    ground.server.back_date(&old, Duration::from_hours(24 * 4));
    let ahead = (2 * days_ago_ms(0) - days_ago_ms(400)).to_string();
    ground.server.set_fact(&new, "received", &ahead);
    let has = |found: &[String], text: &str| found.iter().any(|line| line.starts_with(text));
    let found = attention(&ground.json(1, &[]));
    assert!(has(&found, "look web1: the last backup came 4 days ago"), "{found:#?}");
    ground.server.set_fact(&old, "received", &ahead);
    let found = attention(&ground.json(1, &[]));
    assert!(
        has(&found, "look web1: all its snapshots say that they are received in the future"),
        "{found:#?}"
    );
}

/// A168: A thief of a host, who has stopped its backups, adds snapshots of noise, so that nobody hears the silence.
#[test]
fn noise_does_not_end_the_alarm_about_silence() {
    let ground = Ground::reporting("silent_days = 3");
    let [first, second] = &ground.snapshots[..] else { unreachable!() };
    ground.server.back_date(&format!("web1/snapshots/{first}"), Duration::from_hours(24 * 10));
    let text = ground.report(&[]).expect_code(0).stdout;
    assert!(text.contains("(nobody opened it)"), "{text}");
    // It is newer than the last examination.
    examined(&ground, &[first]);
    let report = ground.json(1, &[]);
    let of = &report["repositories"][0];
    assert_eq!((&of["last_backup"]["snapshot"], &of["newest"]["snapshot"]), (&json!(first), &json!(second)));
    let silent = "look web1: the last backup came 10 days ago; a newer one ";
    assert_eq!(attention(&report), [format!("{silent}was not opened yet")]);
    let text = ground.report(&[]).expect_code(1).stdout;
    assert!(text.contains("(not opened yet)") && !text.contains("nobody opened it"), "{text}");
    assert!(ground.page().contains("not opened yet"));
    // It was opened, and is held.
    examined(&ground, &[first, second]);
    assert_eq!(attention(&ground.json(0, &[])), [""; 0]);
    let held = |reason: &str, cause: &str| {
        json!({
            "id": second, "host": "web1", "received": "", "reason": reason, "suspicious": true, "cause": cause,
        })
    };
    ground.remember(&json!({"held": [held("the canary is missing or changed", "itself")]}));
    let found = attention(&ground.json(1, &[]));
    assert!(found.contains(&format!("{silent}is held")), "{found:?}");
    // What the rules would do to its group says nothing of it.
    ground.remember(&json!({"held": [held("the rules would keep none of its group", "rules")]}));
    assert_eq!(ground.json(1, &[])["repositories"][0]["newest"], Value::Null);
}

#[test]
fn a_group_that_fell_silent_is_named_and_long_lists_are_cut_for_people_only() {
    let ground = Ground::new();
    let reason = "its group fell silent: the newest is of 2026-01-02";
    let held: Vec<_> = (0..60)
        .map(|_| {
            json!({
                "id": ground.snapshots[0], "host": "db7", "received": "", "reason": reason, "suspicious": false,
                "cause": "silence",
            })
        })
        .collect();
    ground.remember(&json!({"held": held, "junk": []}));
    let report = ground.json(1, &[]);
    assert_eq!(attention(&report), [format!("look web1: snapshots of db7: {reason}")]);
    assert_eq!(report["repositories"][0]["held"].as_array().unwrap().len(), 60);
    let text = ground.report(&[]).expect_code(1).stdout;
    assert_eq!(text.lines().filter(|line| line.starts_with("  held ")).count(), 50);
    for told in [text, ground.page()] {
        assert!(told.contains("and 10 more"), "{told}");
    }
}

#[test]
fn maintenance_that_does_not_run_or_never_ends_is_noticed() {
    let ground = Ground::new();
    let night = |began: u64, ended: Option<u64>| json!({"began_ms": days_ago_ms(began), "ended_ms": ended.map(days_ago_ms), "steps": []});
    let noticed = |record: &Value| {
        ground.remember(record);
        attention(&ground.json(u8::from(record["fine"] != true), &[]))
    };
    let stale = noticed(&json!({"last": night(5, Some(5))}));
    assert!(stale.len() == 1 && stale[0].contains("no run of maintenance has ended since"), "{stale:?}");
    // Each night begins, and none ends.
    let cut = noticed(&json!({"last": night(0, None), "last_ended_ms": days_ago_ms(4)}));
    assert_eq!((cut.len(), cut[0].contains("(4 days ago)")), (1, true), "{cut:?}");
    let steps = json!({"check": days_ago_ms(9), "verify": days_ago_ms(1), "restore": days_ago_ms(99)});
    let late = noticed(&json!({"last": night(1, Some(1)), "well_ms": steps}));
    assert_eq!(late, ["look web1: steps last ended well: `check` 9 days ago"]);
    assert_eq!(noticed(&json!({"last": night(1, Some(1)), "fine": true})), [""; 0]);
    assert_eq!(noticed(&json!({"last": night(0, None), "fine": true})), [""; 0], "the first is at work");
}

/// A169: Somebody garbles what maintenance remembers, so that there is nothing to compare with and all seems well.
#[test]
fn what_cannot_be_understood_is_told_and_not_written_over() {
    let ground = Ground::new();
    let _ = ground.report(&["--acknowledge"]).expect_code(0);
    let remembered = |name: &str| ground.server.data().join(".pawl/maintenance").join(name);
    for name in ["verify/web1.json", "run/web1.json", "examined/web1.json", "report/last.json"] {
        let path = remembered(name);
        let before = std::fs::read(&path).ok();
        plant(&path, b"garbage");
        let found = attention(&ground.json(1, &[]));
        assert!(
            found.iter().any(|line| line.starts_with("look ") && line.contains(name)),
            "{name}: {found:?}"
        );
        match before {
            Some(before) => plant(&path, &before),
            None => pawl_tests::store::remove(&path),
        }
    }
    plant(&remembered("report/last.json"), b"garbage");
    let night = ground.maintain(&["run"]).expect_code(2);
    for word in ["report/last.json", "pawl maintain report --acknowledge"] {
        assert!(night.stdout.contains(word), "{night:?}");
    }
    assert_eq!(std::fs::read(remembered("report/last.json")).unwrap(), b"garbage");
    let _ = ground.report(&["--acknowledge"]).expect_code(1);
    let night = ground.maintain(&["run"]).stdout;
    assert!(night.contains("compare") && !night.contains("last.json"), "{night}");
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
