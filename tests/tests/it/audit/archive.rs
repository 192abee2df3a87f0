//! `pawl audit archive`: the log is proven without its old files, and with them.
//!
//! A log gets a second file at 64 MiB. These tests cut the one file of a stopped server into several, at lines, as the
//! keeper does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use pawl_tests::command::{Finished, pawl};
use pawl_tests::maintenance::maintain;
use pawl_tests::server::Server;
use pawl_tests::store::{plant, remove};
use serde_json::Value;

use super::{assert_found, created, data, falsify, head, history, stored, verify};

fn log(server: &Server) -> PathBuf {
    server.data().join(".pawl/audit")
}

/// The names of the log's files.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.strip_suffix(".jsonl").is_some()).collect();
    names.sort();
    names
}

fn file_name(first: usize) -> String {
    format!("{first:016}.jsonl")
}

/// Has the last file end before the record of this number, and another begin with it.
fn cut(server: &Server, number: usize) {
    let path = log(server).join(names(&log(server)).pop().unwrap());
    let first: usize = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut rest = Vec::new();
    falsify(&path, |lines| rest = lines.split_off(number - first));
    plant(&log(server).join(file_name(number)), (rest.join("\n") + "\n").as_bytes());
}

/// A stopped server whose log has three files: from records 1, 3 and 5.
fn long_history() -> (Server, PathBuf) {
    let server = history();
    let _ = verify(&server, None).expect_code(0);
    cut(&server, 3);
    cut(&server, 5);
    let to = server.dir().join("archive");
    fs::create_dir(&to).unwrap();
    (server, to)
}

fn archive(server: &Server, before: &str, to: &Path) -> Finished {
    let to = to.to_str().unwrap();
    pawl(["audit", "archive", "--before", before, "--to", to, "--json", "--data", &data(server)])
}

/// How many files of the log of hosts were archived.
fn archived(server: &Server, before: &str, to: &Path) -> u64 {
    let report = archive(server, before, to).expect_code(0).json();
    assert_eq!((&report[0]["log"], &report[1]["log"]), (&Value::from("hosts"), &Value::from("maintenance")));
    report[0]["files"].as_u64().unwrap()
}

fn verify_all(server: &Server, to: &Path, head: Option<&str>) -> Finished {
    let (data, to) = (data(server), to.to_str().unwrap());
    let mut args = vec!["audit", "verify", "--json", "--data", &data, "--archive", to];
    args.extend(head.map(|head| ["--head", head]).into_iter().flatten());
    pawl(args)
}

fn assert_found_with_archive(server: &Server, to: &Path, words: &[&str]) {
    let found = verify_all(server, to, None).expect_code(1);
    for word in words {
        assert!(found.stderr.contains(word), "expected {word:?} in {}", found.stderr);
    }
}

#[test]
fn the_chain_holds_without_what_was_archived_and_with_it() {
    let (mut server, to) = long_history();
    let first = log(&server).join(file_name(1));
    let old = pawl(["audit", "verify", "--json", first.to_str().unwrap()]).expect_code(0).json();
    let old = old["head"].as_str().unwrap().to_owned();
    assert_eq!(archived(&server, "2020-01-01", &to), 0, "all of it is younger");
    assert_eq!(archived(&server, "2126-01-01", &to), 2);
    assert_eq!(names(&log(&server)), [file_name(5)], "the last file stays");
    let shown = pawl(["audit", "show", "--data", &data(&server)]).expect_code(0).stdout;
    assert!(shown.contains("archived 2 files of the log of hosts, up to record 4, for uid-"), "{shown}");
    assert_eq!(names(&to.join("hosts")), [file_name(1), file_name(3)]);

    server.start_again();
    let web1 = created(&server, "web2");
    let _ = stored(&web1, "web2", "data", "later");
    assert_eq!(archived(&server, "2126-01-01", &to), 0, "a server may run meanwhile");
    assert!(server.stop().success());
    let without = pawl(["audit", "verify", "--json", "--data", &data(&server)]).expect_code(0).json();
    let with = verify_all(&server, &to, None).expect_code(0).json();
    assert_eq!((&without["first"], &with["first"]), (&Value::from(5), &Value::from(1)));
    assert_eq!((&without["head"], &with["number"]), (&with["head"], &with["lines"]));
    // A head from before is looked for where it is.
    assert_found(&server, Some(&old), &["it was archived", "--archive"]);
    let _ = verify_all(&server, &to, Some(&old)).expect_code(0);
    let _ = pawl(["audit", "show", "--data", &data(&server)]).expect_code(0);

    // The next files go beside them.
    cut(&server, 8);
    assert_eq!(archived(&server, "2126-01-01", &to), 1);
    assert_eq!(names(&to.join("hosts")).len(), 3);
    let _ = verify(&server, None).expect_code(0);
    let _ = verify_all(&server, &to, None).expect_code(0);
}

#[test]
fn a_move_that_was_stopped_goes_on() {
    let (server, to) = long_history();
    let _ = head(&server);
    let old: Vec<_> = [1, 3].map(|first| fs::read(log(&server).join(file_name(first))).unwrap()).into();
    // A file of another content is never replaced.
    let taken = to.join("hosts").join(file_name(3));
    fs::create_dir(to.join("hosts")).unwrap();
    plant(&taken, b"another\n");
    let refused = archive(&server, "2126-01-01", &to).expect_code(1);
    assert!(refused.stderr.contains("0003.jsonl") && refused.stderr.contains("found another"), "{refused:?}");
    assert_eq!(names(&log(&server)).len(), 3);
    remove(&taken);
    // Nor is one removed that somebody reads.
    let reading = File::open(log(&server)).unwrap();
    reading.lock_shared().unwrap();
    let refused = archive(&server, "2126-01-01", &to).expect_code(1);
    assert!(refused.stderr.contains("another process reads the log"), "{refused:?}");
    assert_eq!(names(&log(&server)).len(), 3);
    drop(reading);
    assert_eq!(archived(&server, "2126-01-01", &to), 2);
    // As if it had been stopped before the second file, or both, were removed.
    for left in [&[3][..], &[1, 3]] {
        for first in left {
            plant(&log(&server).join(file_name(*first)), &old[first / 2]);
        }
        let _ = verify(&server, None).expect_code(0);
        let _ = verify_all(&server, &to, None).expect_code(0);
        assert_eq!(archived(&server, "2126-01-01", &to), left.len() as u64);
        assert_eq!(names(&log(&server)), [file_name(5)]);
        let _ = verify(&server, None).expect_code(0);
    }
}

#[test]
fn the_directory_is_one_that_was_made_elsewhere() {
    let (server, to) = long_history();
    for (to, words) in
        [(to.join("absent"), "make it first"), (server.data().join("web1"), "found one within it")]
    {
        let refused = archive(&server, "2126-01-01", &to).expect_code(1);
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    let refused = archive(&server, "last year", &to).expect_code(1);
    assert!(refused.stderr.contains("2026-11-01"), "{refused:?}");
}

#[test]
fn what_no_report_has_read_is_not_archived() {
    let (mut server, to) = long_history();
    let place = server.place().map(ToOwned::to_owned);
    let seen = maintain(&place, &["report", "--json", "--acknowledge"]).json();
    let last = seen["expected"]["audit"]["hosts"]["number"].as_u64().unwrap();
    server.start_again();
    assert!(server.stop().success());
    cut(&server, usize::try_from(last).unwrap() + 2);
    assert_eq!(archived(&server, "2126-01-01", &to), 2, "the third has a record that no report has read");
    let report = maintain(&place, &["report", "--json"]);
    assert!(!report.stdout.contains("audit log of hosts"), "{report:?}");
    let earlier = server.dir().join("earlier.json");
    plant(&earlier, seen.to_string().as_bytes());
    let _ = maintain(&place, &["report", "--acknowledge"]);
    assert_eq!(archived(&server, "2126-01-01", &to), 1);
    let report = maintain(&place, &["report", "--json"]);
    assert!(!report.stdout.contains("audit log of hosts"), "{report:?}");
    // An older report's record is where the archive is.
    let report = maintain(&place, &["report", "--json", "--compare", earlier.to_str().unwrap()]);
    assert!(report.stdout.contains("is archived, so that it cannot be compared here"), "{report:?}");
}

/// What a report has read, the next one leaves out; but not what was changed since.
#[test]
fn a_report_finds_a_change_in_a_file_that_the_last_one_has_read() {
    let (server, to) = long_history();
    let place = server.place().map(ToOwned::to_owned);
    let report = |more: &[&str]| maintain(&place, &[&["report", "--json"], more].concat()).json();
    let first = report(&["--acknowledge"]);
    let second = report(&[]);
    assert_eq!(second["audit"], first["audit"], "as many lines, with the same end");
    let kept = fs::read_to_string(server.data().join(".pawl/maintenance/report/last.json")).unwrap();
    assert!(kept.contains(&file_name(3)) && !kept.contains(&file_name(5)), "{kept}");
    falsify(&log(&server).join(file_name(1)), |lines| lines[1] = lines[1].replace("web1", "web2"));
    let third = report(&[]);
    assert!(third["audit"][0]["broken"].as_str().unwrap().contains("record 2 is not what it was"), "{third}");
    drop(to);
}

/// A194: Somebody who can write where the audit log lies removes old records, and says that they were archived.
#[test]
fn removed_history_is_not_taken_for_archived() {
    let (server, to) = long_history();
    let first = log(&server).join(file_name(1));
    let (old, checkpoint) = (fs::read(&first).unwrap(), log(&server).join("checkpoint.json"));
    // Without a checkpoint.
    remove(&first);
    assert_found(&server, None, &["expected record 1, found 3", "the beginning was cut off"]);
    plant(&first, &old);
    assert_eq!(archived(&server, "2126-01-01", &to), 2);
    let written: Value = serde_json::from_slice(&fs::read(&checkpoint).unwrap()).unwrap();
    assert_eq!((&written["version"], &written["number"]), (&Value::from(1), &Value::from(4)));
    let put = |change: &dyn Fn(&mut Value)| {
        let mut changed = written.clone();
        change(&mut changed);
        plant(&checkpoint, changed.to_string().as_bytes());
    };
    // With one that names another record, or more than was archived, or nothing.
    put(&|of| of["hash"] = "00".repeat(32).into());
    assert_found(&server, None, &["line 1", "record 4 is not what it was"]);
    assert_found_with_archive(&server, &to, &["line 2", "record 4 is not the one that was archived"]);
    put(&|of| of["number"] = 2.into());
    assert_found(&server, None, &["expected record 3, found 5"]);
    put(&|of| of["number"] = 5.into());
    assert_found(&server, None, &["record 5 is not the one that was archived"]);
    put(&|of| of["number"] = 5000.into());
    assert_found(&server, None, &["expected record 5001", "records were removed"]);
    put(&|of| of["version"] = 2.into());
    assert_found(&server, None, &["checkpoint.json", "version 2 of its format"]);
    remove(&checkpoint);
    assert_found(&server, None, &["expected record 1, found 5"]);
    // The report says so as well.
    let report = maintain(&server.place(), &["report", "--json"]).expect_code(1).stdout;
    assert!(report.contains("the audit log of hosts is not what was written"), "{report}");
    put(&|_| ());
    let _ = verify(&server, None).expect_code(0);
    // What follows the checkpoint is gone.
    let last = log(&server).join(file_name(5));
    let whole = fs::read(&last).unwrap();
    remove(&last);
    assert_found(&server, None, &["expected record 5", "records were removed"]);
    plant(&last, &whole);
    falsify(&last, |lines| drop(lines.remove(0)));
    assert_found(&server, None, &["expected record 5, found 6"]);
}

/// A195: Somebody who has the archive changes, removes or moves a record, or a file.
#[test]
fn a_change_in_the_archive_is_found() {
    type Change = fn(&mut Vec<String>);
    let (server, to) = long_history();
    assert_eq!(archived(&server, "2126-01-01", &to), 2);
    let _ = verify_all(&server, &to, None).expect_code(0);
    let changes: [(usize, Change, &[&str]); 5] = [
        (1, |lines| lines[1] = lines[1].replace("web1", "web2"), &["line 1", "record 2 is not what it was"]),
        (1, |lines| drop(lines.remove(0)), &["expected record 1, found 2"]),
        (1, |lines| lines.swap(0, 1), &["expected record 3, found 1"]),
        (3, |lines| drop(lines.pop()), &["expected record 4, found 5"]),
        (
            3,
            |lines| lines[1] = lines[1].replace("web1", "web2"),
            &["record 4 is not the one that was archived"],
        ),
    ];
    for (first, change, words) in changes {
        let path = to.join("hosts").join(file_name(first));
        let whole = fs::read(&path).unwrap();
        remove(&path);
        plant(&path, &whole);
        falsify(&path, change);
        assert_found_with_archive(&server, &to, words);
        remove(&path);
        plant(&path, &whole);
        let _ = verify_all(&server, &to, None).expect_code(0);
    }
    let path = to.join("hosts").join(file_name(1));
    remove(&path);
    assert_found_with_archive(&server, &to, &["expected record 1, found 3"]);
    let _ = verify(&server, None).expect_code(0);
}
