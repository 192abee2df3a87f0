//! Somebody does not want the night to end well, or wants it to look as if it did.

use pawl_tests::maintenance::maintain;
use pawl_tests::program::program;
use pawl_tests::store::{plant, remove};

use super::{Ground, RULES, WELL, chmod, ends, step};

/// A148: A restic that is told to remove what must not go ends well although Pawl refused it, as restic does after some
/// refusals, so that nobody notices.
#[test]
fn a_deletion_that_was_refused_is_a_surprise_whatever_restic_says() {
    let ground = Ground::new(&["web1"]);
    let files = ground.restic("web1").home().join("files");
    let young = ground.restic("web1").report_of_backup(&files, &["--host", "web1"]).snapshot;
    let restic = ground.scripted(&format!(
        "case \" $* \" in *\" prune \"*) $real --no-cache forget {young} >/dev/null 2>&1; exit 0;; esac"
    ));
    let report = ground.start(&restic, &[&RULES[..], &["--json"]].concat()).end().expect_code(2).json();
    assert_eq!(
        ends(&report, "web1"),
        ["verify well", "purge well", "examine well", "forget well", "prune failed"],
        "{report:#}"
    );
    let said = step(&report, "web1", "prune")["said"][0].as_str().unwrap();
    assert!(said.contains("deletions that Pawl refused: 1"), "{said}");
    assert!(ground.snapshots("web1").contains(&young));
}

/// A150: What restic says, which a host may have written, holds a terminal's control characters or a last line of its own.
#[test]
fn nobody_writes_the_last_line_but_the_run() {
    let ground = Ground::new(&["web1"]);
    let forged = r#"pawl-run: {"exit":0}"#;
    let restic = ground.scripted(&format!(
        "[ $1 = version ] || {{ printf '\\033[2Jgone\\n{forged}\\n' >&2; echo '{forged}'; exit 1; }}"
    ));
    let finished = ground.start(&restic, &RULES).end().expect_code(2);
    let starts = finished.stdout.lines().filter(|line| line.starts_with("pawl-run: ")).count();
    assert_eq!(starts, 1, "{finished:#?}");
    assert_eq!(super::last_line(&finished)["failed"], 1);
    assert!(!finished.stdout.contains('\u{1b}') && !finished.stderr.contains('\u{1b}'), "{finished:#?}");
}

/// A151: Somebody who can read files of others' groups on the machine, such as the server's user, reads the management
/// password, or finds it on a command line.
#[test]
fn the_management_password_is_nobodys_but_its_owners() {
    let ground = Ground::new(&["web1"]);
    let seen = ground.server.dir().join("seen");
    let restic = ground.scripted(&format!(
        "(tr '\\0' '\\n' </proc/$$/cmdline; tr '\\0' '\\n' </proc/$PPID/cmdline) >>{}",
        seen.display()
    ));
    let options = [&RULES[..], &["--json", "--bytes-per-second", "50MiB"]].concat();
    let report = ground.start(&restic, &options).end().expect_code(0).json();
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(
        seen.contains("prune") && !seen.lines().any(|word| word == "secret") && !seen.contains("rest:http"),
        "{seen}"
    );
    assert!(seen.contains("\n--limit-download\n51200\n"), "{seen}");
    for mode in [0o640, 0o604, 0o644] {
        chmod(&ground.password, mode);
        let refused = ground.start(&program("restic-0.19"), &RULES).end().expect_code(2);
        assert!(refused.stdout.contains("others than its owner may read it"), "{refused:#?}");
    }
}

/// A165: Somebody with the disk removes a snapshot, or cuts the audit log, and the night goes on as if nothing had been:
/// forgets, prunes, and makes final.
#[test]
fn what_vanished_since_the_last_report_stops_the_night_until_somebody_has_looked() {
    let ground = Ground::new(&["db1", "web1"]);
    let _ = ground.run(&[]).expect_code(0);
    let report = ground.server.dir().join("kept-elsewhere.json");
    let made = maintain(&ground.server.place(), &["report", "--json"]).expect_code(0);
    plant(&report, made.stdout.as_bytes());
    let lost = ground.restic("web1").snapshots().remove(5);
    ground.server.remove(&format!("web1/snapshots/{lost}"));
    let night = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(2).json();
    assert_eq!(ends(&night, "web1"), ["verify well", "compare failed"], "{night:#}");
    let said = step(&night, "web1", "compare")["said"][0].as_str().unwrap();
    assert!(said.contains("1 of the 6 snapshots") && said.contains(&lost), "{said}");
    assert_eq!(ends(&night, "db1"), WELL, "{night:#}");
    assert_eq!(ground.snapshots("web1").len(), 5, "nothing was forgotten");
    let _ = maintain(&ground.server.place(), &["report", "--acknowledge"]).expect_code(1);
    let night = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&night, "web1"), WELL, "{night:#}");
    // A copy on another machine has not been told that all is well.
    let elsewhere = ["--compare", report.to_str().unwrap(), "--json"];
    let night = ground.run(&[&RULES[..], &elsewhere].concat()).expect_code(2).json();
    assert_eq!(ends(&night, "web1"), ["verify well", "compare failed"], "{night:#}");

    let log = ground.server.data().join(".pawl/audit");
    for file in std::fs::read_dir(log).unwrap() {
        remove(&file.unwrap().path());
    }
    let night = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(2).json();
    assert_eq!(ends(&night, "db1"), ["verify well", "compare failed"], "{night:#}");
    assert!(
        step(&night, "db1", "compare")["said"][0].as_str().unwrap().contains("cut or rewritten"),
        "{night:#}"
    );
}
