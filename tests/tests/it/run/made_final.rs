//! What a night makes final, and what it keeps although it is past its delay.

use std::path::PathBuf;

use pawl_tests::clock::{Clock, Kernel};
use pawl_tests::command::pawl;
use pawl_tests::disk::Disk;
use pawl_tests::maintenance::{maintain, maintain_at_time, maintain_by};
use pawl_tests::server::Server;
use pawl_tests::store::{fact, path_of, plant};
use serde_json::Value;

use super::{Ground, RULES, WELL, code_of_steps, ends, step};

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
    let report = maintain_at_time(&format!("+{day}d"), &ground.server.place(), &args).json();
    // What needs restic is not done, of which the report tells.
    assert_eq!(code_of_steps(&report), code, "{report:#}");
    report
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
        let _ = night(&ground, day, &["--assume-clock-synced"], 0);
    }
    // Another hand brings back what was deleted.
    let before = pending(&ground);
    let is_snapshot = |path: &&PathBuf| path.parent().unwrap().ends_with("snapshots");
    let deleted = before.iter().find(is_snapshot).unwrap();
    let id = deleted.file_name().unwrap().to_str().unwrap();
    ground.server.plant(&format!("web1/snapshots/{id}"), &std::fs::read(deleted).unwrap());
    let report = night(&ground, 15, &["--assume-clock-synced"], 1);
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
    let report = night(&ground, 15, &["--assume-clock-synced"], 1);
    let why = said(&report, "web1");
    assert!(
        why.contains("maintenance saw it on 1 of the 7 days") && why.contains("past the delay and kept"),
        "{why}"
    );
    nights(&ground, 16..=21);
    // Enough of them, and a clock of which nothing says that it is right.
    let dir = tempfile::tempdir().unwrap();
    for (kernel, found) in [
        (Kernel::Unsynchronised, "this machine's clock is not synchronised"),
        (Kernel::Silent, "this machine does not say whether its clock is synchronised"),
    ] {
        let clock = Clock::default().at("+22d").of(kernel).and_timedatectl(dir.path(), None);
        let report = maintain_by(&clock, &ground.server.place(), &["run", "--json"]).expect_code(1).json();
        let why = said(&report, "web1");
        assert!(why.starts_with("nothing was removed of what is due") && why.contains(found), "{why}");
        assert!(
            why.contains("B, past the delay and kept: ") && why.contains("--assume-clock-synced"),
            "{why}"
        );
        assert!(report["attention"].as_u64().unwrap() > 0, "{report:#}");
    }
    assert_eq!(pending(&ground), before);
    // An admin who knows it to be right says so, for one night or in the configuration.
    let report = night(&ground, 22, &["--assume-clock-synced"], 0);
    assert!(said(&report, "web1").starts_with("removed "), "{report:#}");
    assert!(pending(&ground).is_empty());
    ground.restic("web1").check();
}

#[test]
fn in_a_container_the_kernels_word_about_the_clock_is_enough() {
    let ground = pruned(Server::start(), &["web1"]);
    nights(&ground, 7..=13);
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::default().at("+15d").of(Kernel::Synchronised).and_timedatectl(dir.path(), None);
    let report = maintain_by(&clock, &ground.server.place(), &["run", "--json"]).json();
    assert_eq!(code_of_steps(&report), 0);
    assert!(said(&report, "web1").starts_with("removed "), "{report:#}");
    assert!(pending(&ground).is_empty());
}

/// A181: A host stores a file while the server's clock stands ahead, and keeps all that is deleted in its repository from
/// becoming final until that time has come.
#[test]
fn a_time_of_receipt_that_is_to_come_blocks_nothing_and_is_named() {
    let ground = pruned(Server::start(), &["web1"]);
    let snapshot = ground.restic("web1").snapshots().remove(0);
    let file = format!("snapshots/{snapshot}");
    ground.server.set_fact(&format!("web1/{file}"), "received", &moment_ms(400).to_string());
    for day in 7..=13 {
        let report = night(&ground, day, &["--assume-clock-synced"], 1);
        let found = step(&report, "web1", "verify")["said"].to_string();
        assert!(found.contains("ahead of time") && found.contains(&snapshot), "{report:#}");
    }
    let report = night(&ground, 15, &["--assume-clock-synced"], 1);
    assert!(said(&report, "web1").starts_with("removed "), "{report:#}");
    assert!(pending(&ground).is_empty());
}

#[test]
fn a_time_of_receipt_that_is_to_come_is_amended_where_the_clock_is_right() {
    let ground = Ground::new(&["web1"]);
    let stored = ground.files("web1");
    let one_of = |part: &str| stored.iter().find(|name| name.contains(part)).unwrap().clone();
    let ahead = [one_of("/index/"), one_of("/snapshots/")];
    let to_come = moment_ms(400).to_string();
    for name in &ahead {
        ground.server.set_fact(name, "received", &to_come);
    }
    let place = ground.server.place();
    let found = maintain(&place, &["verify", "--all"]).expect_code(1).stdout;
    assert_eq!(found.matches("pawl maintain trust REPOSITORY --amend-received").count(), 2, "{found}");
    let amend = |kernel, args: &[&str]| {
        let args = [&["trust", "web1", "--amend-received", "--json"], args].concat();
        maintain_by(&Clock::default().of(kernel), &place, &args)
    };
    assert!(amend(Kernel::Unsynchronised, &[]).expect_code(1).stderr.contains("set up NTP"));
    let facts = |name: &String| {
        let path = path_of(ground.server.data(), name);
        ["received", "creator"].map(|of| fact(&path, of).unwrap())
    };
    assert_eq!(facts(&ahead[0]), [to_come, "web1".to_owned()]);
    assert_eq!(amend(Kernel::Synchronised, &[]).expect_code(0).json()["amended"], 2);
    for name in &ahead {
        let [received, creator] = facts(name);
        let received: u64 = received.parse().unwrap();
        assert!(
            (moment_ms(0) - 3_600_000..=moment_ms(0)).contains(&received) && creator == "web1",
            "{received}"
        );
        assert_eq!(ground.server.mode(name), Some(0o440));
    }
    let _ = maintain(&place, &["verify", "--all"]).expect_code(0);
    let told = pawl(["audit", "show"].iter().chain(&place)).expect_code(0).stdout;
    assert_eq!(told.matches("amended the time of receipt of web1/").count(), 2, "{told}");
    assert_eq!(amend(Kernel::Unsynchronised, &["--assume-clock-synced"]).expect_code(0).json()["amended"], 0);
}

/// So many days from now on, in Unix milliseconds.
fn moment_ms(days: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap() + days * super::DAY * 1000
}

/// A182: A disk is full, so that restic cannot prune, a night cannot begin, and nothing frees what is due.
#[test]
fn on_a_full_disk_a_night_begins_and_frees_what_is_due_before_it_prunes() {
    let Some(disk) = Disk::new("size=96m") else { return };
    let ground = pruned(Server::build().data(&disk.data()).start(), &["db1", "web1"]);
    nights(&ground, 7..=13);
    disk.fill();
    let report = night(&ground, 15, &["--assume-clock-synced"], 0);
    for name in ["db1", "web1"] {
        assert!(said(&report, name).starts_with("removed "), "{report:#}");
    }
    assert!(pending(&ground).is_empty());
    // In the room that was kept for it, the next night has nothing to complain of.
    let report: Value = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
}

#[test]
fn without_a_free_inode_a_night_begins_and_frees_what_is_due() {
    let Some(disk) = Disk::new("size=96m,nr_inodes=4000") else { return };
    let ground = pruned(Server::build().data(&disk.data()).start(), &["db1", "web1"]);
    nights(&ground, 7..=13);
    disk.fill_with_names();
    let report = night(&ground, 15, &["--assume-clock-synced"], 0);
    for name in ["db1", "web1"] {
        assert!(said(&report, name).starts_with("removed "), "{report:#}");
    }
    assert!(pending(&ground).is_empty());
}

#[test]
fn a_machine_that_was_off_reads_what_is_late_and_foreign_files_keep_nothing() {
    let ground = pruned(Server::start(), &["web1"]);
    plant(&ground.server.data().join("web1/data/.DS_Store"), b"of a file manager");
    plant(&ground.server.data().join("web1/data/0123-tmp-123"), b"of another server");
    for day in [1, 2, 8, 9, 10, 11, 12] {
        let _ = night(&ground, day, &["--assume-clock-synced"], 1);
    }
    let report = night(&ground, 30, &["--assume-clock-synced"], 1);
    let found = step(&report, "web1", "verify")["said"].to_string();
    assert!(found.contains("foreign") && !found.contains("overdue"), "{report:#}");
    assert!(said(&report, "web1").starts_with("removed "), "{report:#}");
}

/// The clock of maintenance stood ahead for one night.
#[test]
fn what_was_deleted_on_a_day_to_come_is_named_with_what_to_do() {
    let ground = Ground::new(&["web1"]);
    let index = ground.files("web1").into_iter().find(|file| file.starts_with("web1/index/")).unwrap();
    let index = index.trim_start_matches("web1/");
    let _ = maintain_at_time("+400d", &ground.server.place(), &["delete", "web1", index]).expect_code(0);
    let report = night(&ground, 0, &[], 1);
    let said = said(&report, "web1");
    assert!(said.contains("which is still to come, and the delay counts from then"), "{report:#}");
    let (_, batch) = said.split_once("maintain undelete ").unwrap();
    let batch = batch.split(['`', ' ']).next().unwrap();
    let _ = maintain(&ground.server.place(), &["undelete", batch]).expect_code(0);
    assert!(pending(&ground).is_empty());
    ground.restic("web1").check();
}
