//! A host is at work in its repository while the night comes.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use pawl_tests::program::program;
use pawl_tests::wait;
use serde_json::Value;

use super::cut::{moment, steps_done};
use super::{Ground, RULES, WELL, ends, step};

/// A backup that goes on until it is told that its input has ended.
struct Backup(Child);

impl Backup {
    fn start(ground: &Ground, name: &str) -> Self {
        let mut command = Command::new(program("restic-0.19"));
        command.args([
            "-r",
            ground.restic(name).repository(),
            "--no-cache",
            "backup",
            "--stdin",
            "--host",
            name,
        ]);
        command.env("RESTIC_PASSWORD", "secret").stdin(Stdio::piped());
        let backup = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let locks = ground.server.data().join(name).join("locks");
        wait::until("the backup holds its lock", || {
            std::fs::read_dir(&locks).unwrap().next().is_some().then_some(())
        });
        backup
    }

    fn end(mut self) {
        self.0.stdin.take().unwrap().write_all(b"the last of it").unwrap();
        assert!(self.0.wait().unwrap().success(), "the backup is not ended by maintenance");
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it fails only if it has ended
        let _ = self.0.wait();
    }
}

#[test]
fn whom_one_has_to_wait_for_comes_last_and_keeps_no_other_waiting() {
    let ground = Ground::new(&["db1", "web1"]);
    let backup = Backup::start(&ground, "db1");
    let mut run = ground.start(&program("restic-0.19"), &[&RULES[..], &["--json"]].concat());
    wait::until("the other repository is done", || {
        assert!(!run.has_ended(), "{}", run.seen());
        (steps_done(&ground, "web1") >= Some(WELL.len())).then_some(())
    });
    assert_eq!(ground.snapshots("web1").len(), 4);
    assert_eq!(ground.snapshots("db1").len(), 6);
    backup.end();
    let report: Value = run.end().expect_code(0).json();
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    for done in WELL {
        assert!(ends(&report, "db1").contains(&done.to_owned()), "{report:#}");
    }
}

#[test]
fn for_whom_there_is_no_time_to_wait_is_left_and_no_failure() {
    let ground = Ground::new(&["db1", "web1"]);
    let backup = Backup::start(&ground, "db1");
    // Nobody's lock is stale before half an hour has passed.
    let args = ["--json", "--lock-wait", "1s", "--until", &moment(20 * 60)];
    let report: Value = ground.run(&[&RULES[..], &args].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    for name in ["forget", "prune", "check"] {
        let left = step(&report, "db1", name);
        assert_eq!(left["ended"], "skipped", "{report:#}");
        let said = left["said"][0].as_str().unwrap();
        assert!(said.contains("left for the next run") && said.contains("is locked by"), "{said}");
    }
    assert_eq!((&report["left"], &report["failed"]), (&3.into(), &0.into()), "{report:#}");
    backup.end();
    let report: Value = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    for done in WELL {
        assert!(ends(&report, "db1").contains(&done.to_owned()), "{report:#}");
    }
}
