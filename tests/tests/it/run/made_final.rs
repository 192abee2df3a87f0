//! What a night makes final, and what it keeps although it is past its delay.

use std::path::PathBuf;

use pawl_tests::disk::Disk;
use pawl_tests::maintenance::maintain_at_time;
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use serde_json::Value;

use super::{Ground, RULES, WELL, ends, step};

/// Hosts of which a night deleted something.
fn pruned(server: Server, names: &[&'static str]) -> Ground {
    let ground = Ground::on(server, names);
    let report: Value = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, names[0]), WELL, "{report:#}");
    ground
}

/// The run of a night that is so many days ahead, without anything of restic.
fn night(ground: &Ground, day: u32, args: &[&str], code: i32) -> Value {
    let args = [&["run", "--json"], args].concat();
    maintain_at_time(&format!("+{day}d"), &ground.server.place(), &args).expect_code(code).json()
}

/// Nights from one day to another on which all is seen and nothing is due, or what is due is kept.
fn nights(ground: &Ground, days: std::ops::RangeInclusive<u32>) {
    for day in days {
        let _ = night(ground, day, &[], i32::from(day > 13));
    }
}

/// Files that can still be brought back.
fn pending(ground: &Ground) -> Vec<PathBuf> {
    let (mut found, mut ahead) = (Vec::new(), vec![ground.server.data().join(".pawl/deleted")]);
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => ahead.push(entry.path()),
                false if entry.file_name().len() == 64 => found.push(entry.path()),
                false => {}
            }
        }
    }
    found
}

fn said(report: &Value, name: &str) -> String {
    let said = step(report, name, "purge")["said"].as_array().unwrap().clone();
    said.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// A149: Damage is hidden behind a deletion that becomes final: what could still heal a file is purged in the same night.
#[test]
fn nothing_becomes_final_where_verification_found_something() {
    let ground = pruned(Server::start(), &["web1"]);
    for day in 7..=13 {
        let _ = night(&ground, day, &["--clock-is-right"], 0);
    }
    // Another hand brings back what was deleted.
    let before = pending(&ground);
    let is_snapshot = |path: &&PathBuf| path.parent().unwrap().ends_with("snapshots");
    let deleted = before.iter().find(is_snapshot).unwrap();
    let id = deleted.file_name().unwrap().to_str().unwrap();
    ground.server.plant(&format!("web1/snapshots/{id}"), &std::fs::read(deleted).unwrap());
    let report = night(&ground, 15, &["--clock-is-right"], 1);
    let why = said(&report, "web1");
    assert!(why.contains("verification found something that may need it") && why.contains(id), "{why}");
    assert_eq!(pending(&ground), before);
}

/// A180: A machine does not say whether its clock follows others, as in a container, or saw too little of what was deleted:
/// nothing is ever freed, and every night says that all is well.
#[test]
fn what_is_past_its_delay_and_kept_is_a_notice_with_its_reason_size_and_remedy() {
    let ground = pruned(Server::start(), &["web1"]);
    let before = pending(&ground);
    assert!(before.len() > 2);
    // Too few days.
    let report = night(&ground, 15, &["--clock-is-right"], 1);
    let why = said(&report, "web1");
    assert!(
        why.contains("maintenance saw it on 1 of the 7 days") && why.contains("past the delay and kept"),
        "{why}"
    );
    nights(&ground, 16..=21);
    // Enough of them, and a clock that says nothing.
    let report = night(&ground, 22, &[], 1);
    let why = said(&report, "web1");
    assert!(why.starts_with("nothing was removed of what is due"), "{why}");
    assert!(why.contains("B, past the delay and kept: ") && why.contains("--clock-is-right"), "{why}");
    assert!(report["attention"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(pending(&ground), before);
    // An admin who knows it to be right says so, for one night or in the configuration.
    let report = night(&ground, 22, &["--clock-is-right"], 0);
    assert!(said(&report, "web1").starts_with("removed "), "{report:#}");
    assert!(pending(&ground).is_empty());
    ground.restic("web1").check();
}

/// A181: A host stores a file while the server's clock stands ahead, and keeps all that is deleted in its repository from
/// becoming final until that time has come.
#[test]
fn a_time_of_receipt_that_is_to_come_blocks_nothing_and_is_named() {
    let ground = pruned(Server::start(), &["web1"]);
    let snapshot = ground.restic("web1").snapshots().remove(0);
    let file = format!("snapshots/{snapshot}");
    let ahead = std::time::SystemTime::now() + std::time::Duration::from_secs(400 * super::DAY);
    let ahead = ahead.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis().to_string();
    ground.server.set_fact(&format!("web1/{file}"), "received", &ahead);
    for day in 7..=13 {
        let report = night(&ground, day, &["--clock-is-right"], 1);
        let found = step(&report, "web1", "verify")["said"].to_string();
        assert!(found.contains("ahead of time") && found.contains(&snapshot), "{report:#}");
    }
    let report = night(&ground, 15, &["--clock-is-right"], 1);
    assert!(said(&report, "web1").starts_with("removed "), "{report:#}");
    assert!(pending(&ground).is_empty());
}

/// A182: A disk is full, so that restic cannot prune, a night cannot begin, and nothing frees what is due.
#[test]
fn on_a_full_disk_a_night_begins_and_frees_what_is_due_before_it_prunes() {
    let Some(disk) = Disk::new("size=96m") else { return };
    let ground = pruned(Server::build().data(&disk.data()).start(), &["db1", "web1"]);
    nights(&ground, 7..=13);
    disk.fill();
    let report = night(&ground, 15, &["--clock-is-right"], 0);
    for name in ["db1", "web1"] {
        assert!(said(&report, name).starts_with("removed "), "{report:#}");
    }
    assert!(pending(&ground).is_empty());
    // In the room that was kept for it, the next night has nothing to complain of.
    let report: Value = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
}

#[test]
fn a_machine_that_was_off_reads_what_is_late_and_foreign_files_keep_nothing() {
    let ground = pruned(Server::start(), &["web1"]);
    plant(&ground.server.data().join("web1/data/.DS_Store"), b"of a file manager");
    plant(&ground.server.data().join("web1/data/0123-tmp-123"), b"of another server");
    for day in [1, 2, 8, 9, 10, 11, 12] {
        let _ = night(&ground, day, &["--clock-is-right"], 1);
    }
    let report = night(&ground, 30, &["--clock-is-right"], 1);
    let found = step(&report, "web1", "verify")["said"].to_string();
    assert!(found.contains("foreign") && !found.contains("overdue"), "{report:#}");
    assert!(said(&report, "web1").starts_with("removed "), "{report:#}");
}
