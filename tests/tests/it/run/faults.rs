//! What goes wrong is said, and nothing that comes after it is done there; run again without it, the work is done.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use pawl_tests::clients;
use pawl_tests::command::pawl_binary;
use pawl_tests::maintenance::Maintenance;
use pawl_tests::program::program;
use pawl_tests::server::Server;
use pawl_tests::store::{plant, plant_program, remove};
use pawl_tests::wait;

use super::{Ground, RULES, WELL, chmod, ends, last_line, step};

#[test]
fn a_restic_that_is_missing_or_none_and_a_wrong_password_stop_the_repository() {
    let ground = Ground::new(&["web1"]);
    let none = ground.server.dir().join("no-restic");
    plant_program(&none, "#!/bin/sh\necho rustic 0.9\n");
    let old = ground.server.dir().join("old-restic");
    plant_program(&old, "#!/bin/sh\necho restic 0.13.1 compiled with go1.18\n");
    for (restic, reason) in [
        ("/nowhere/restic".into(), "cannot start /nowhere/restic"),
        (none, "is no restic"),
        (old, "is restic 0.13; expected 0.14 or newer"),
        (ground.scripted("[ $1 = version ] || kill -9 $$"), "signal: 9"),
        (ground.scripted("[ $1 = version ] || { echo junk; exit 0; }"), "cannot be understood"),
    ] {
        let report = ground.start(&restic, &[&RULES[..], &["--json"]].concat()).end().expect_code(2).json();
        assert_eq!(
            ends(&report, "web1"),
            ["verify well", "purge well", "examine well", "forget failed"],
            "{report:#}"
        );
        let said = step(&report, "web1", "forget")["said"][0].as_str().unwrap();
        assert!(said.contains(reason), "expected {reason}: {said}");
        assert_eq!(report["failed"], 1);
    }
    plant(&ground.password, b"wrong");
    let wrong = ground.run(&RULES).expect_code(2);
    assert!(wrong.stdout.contains("opens none of the 2 keys"), "{wrong:#?}");
    plant(&ground.password, b"secret");
    chmod(&ground.password, 0o640);
    let shown = ground.run(&RULES).expect_code(2);
    assert!(shown.stdout.contains("others than its owner may read it; `chmod 600"), "{shown:#?}");
    chmod(&ground.password, 0o600);
    assert_eq!(ground.snapshots("web1").len(), 6);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    ground.assert_unlocked();
}

#[test]
fn a_restic_that_is_killed_in_any_step_stops_the_repository_and_the_others_go_on() {
    for (at, command) in [(3, "forget"), (4, "prune"), (5, "check")] {
        let ground = Ground::new(&["db1", "web1"]);
        let restic = ground.scripted(&format!(
            "case \"$RESTIC_REPOSITORY $* \" in *db1*\" {command} \"*) kill -9 $$;; esac"
        ));
        let report = ground.start(&restic, &[&RULES[..], &["--json"]].concat()).end().expect_code(2).json();
        let db1 = ends(&report, "db1");
        assert_eq!((db1.len(), &*db1[at]), (at + 1, &*format!("{command} failed")), "{report:#}");
        assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
        assert_eq!((&report["failed"], &report["well"]), (&1.into(), &1.into()));
        let again = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
        assert_eq!(ends(&again, "db1"), WELL, "{again:#}");
        assert_eq!(ground.snapshots("db1").len(), 4);
        ground.assert_unlocked();
    }
}

#[test]
fn damage_that_stays_stops_its_repository_and_nothing_else() {
    let ground = Ground::new(&["db1", "web1"]);
    let data = ground.server.data().join("db1/data");
    let file = std::fs::read_dir(data)
        .unwrap()
        .flatten()
        .find_map(|dir| std::fs::read_dir(dir.path()).unwrap().flatten().next().map(|file| file.file_name()));
    let file = format!("db1/data/{}", file.unwrap().to_str().unwrap());
    let good = ground.server.content(&file).unwrap();
    let mut damaged = good.clone();
    damaged[10] ^= 1;
    ground.server.plant(&file, &damaged);
    let _ = super::maintain(&ground.server.place(), &["verify", "--all"]).expect_code(1);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(2).json();
    assert_eq!(ends(&report, "db1"), ["verify notice", "restore failed"], "{report:#}");
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    assert_eq!(ground.snapshots("db1").len(), 6);

    // The host sends it again, and the run puts that in place; but it makes nothing final before a clean night.
    let credential = clients::Restic::repository(ground.restic("db1")).to_owned();
    let (who, _) = credential.split_once('@').unwrap();
    let (user, password) = who.rsplit_once('/').unwrap().1.split_once(':').unwrap();
    let client = ground.server.client(&pawl_tests::server::Credential {
        user: user.to_owned(),
        password: password.to_owned(),
        repository: String::new(),
        ca_file: None,
    });
    assert_eq!(client.post(&format!("/{file}"), &good).unwrap().status, 503);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(1).json();
    let all = [
        "verify notice",
        "restore notice",
        "purge well",
        "examine well",
        "forget well",
        "prune well",
        "check well",
    ];
    assert_eq!(ends(&report, "db1"), all, "{report:#}");
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "db1"), WELL, "{report:#}");
}

#[test]
fn a_repository_that_cannot_be_read_fails_by_itself() {
    let ground = Ground::new(&["db1", "web1"]);
    let tombstones = ground.server.data().join(".pawl/tombstones/db1");
    plant(&tombstones, b"no directory");
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(2).json();
    assert_eq!(ends(&report, "db1"), ["verify failed"], "{report:#}");
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    remove(&tombstones);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "db1"), WELL, "{report:#}");
}

#[test]
fn a_record_that_cannot_be_read_costs_its_own_repository() {
    let ground = Ground::new(&["db1", "web1"]);
    let record = ground.server.data().join(".pawl/maintenance/run/db1.json");
    plant(&record, b"{\"version\": 2}");
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(2).json();
    assert!(report["error"].as_str().unwrap().contains("run/db1.json"), "{report:#}");
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    remove(&record);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "db1"), WELL, "{report:#}");
}

#[test]
fn a_password_command_can_ask_at_a_terminal() {
    let ground = Ground::new(&["web1"]);
    let ask = ground.server.dir().join("ask");
    plant_program(
        &ask,
        "#!/bin/sh\nprintf 'Password: ' > /dev/tty; read password < /dev/tty; echo \"$password\"\n",
    );
    let restic = ground.scripted("[ $1 = version ] || exit 0"); // which asks for none itself
    let mut words = vec!["maintain", "run", "--restic", restic.to_str().unwrap(), "--password-command"];
    words.extend([ask.to_str().unwrap()].into_iter().chain(ground.server.place()));
    let line = format!("{} {}", pawl_binary().display(), words.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    keys.write_all(b"secret\n").unwrap();
    wait::until("the run has its password", || terminal.try_wait().unwrap());
    let mut shown = String::new();
    terminal.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(shown.contains("Password: ") && shown.contains("examine  well"), "{shown}");
}

#[test]
fn what_cannot_be_noted_as_seen_is_a_failure_of_that_repository_alone() {
    let ground = Ground::new(&["db1", "web1"]);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    let batch = step(&report, "db1", "forget")["batch"].as_str().unwrap();
    let seen = ground.server.data().join(format!(".pawl/deleted/{batch}/seen"));
    // A file has the name of the directory in which the note would lie.
    plant(&seen, b"");
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(2).json();
    let all = ["verify well", "purge failed", "examine well", "forget well", "prune well", "check well"];
    assert_eq!(ends(&report, "db1"), all, "{report:#}");
    let said = step(&report, "db1", "purge")["said"][0].as_str().unwrap();
    assert!(said.contains("noted as seen") && said.contains(batch), "{said}");
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    assert_eq!((&report["failed"], &report["error"]), (&1.into(), &serde_json::Value::Null), "{report:#}");
    // A run of another repository says it as well, as it notes for all.
    let other = ground.run(&[&RULES[..], &["web1", "--json"]].concat()).expect_code(2).json();
    assert_eq!(ends(&other, "web1"), WELL, "{other:#}");
    assert!(other["error"].as_str().unwrap().starts_with("db1: "), "{other:#}");
    remove(&seen);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "db1"), WELL, "{report:#}");
}

#[test]
fn rules_that_would_take_too_much_stop_nothing_but_forget() {
    let ground = Ground::new(&["web1"]);
    let all = ["verify well", "purge well", "examine well", "forget notice", "prune well", "check well"];
    // A slip of the pen, night after night, and the rules that were meant in between.
    for (rules, left, said) in
        [("1", 6, "refused: "), ("3", 3, "removed 3, kept 3"), ("1", 3, "refused: "), ("1", 3, "refused: ")]
    {
        let code = i32::from(said.starts_with("refused"));
        let report = ground.run(&["--keep-last", rules, "--json"]).expect_code(code).json();
        let expected = if code == 1 { &all } else { &WELL };
        assert_eq!(&ends(&report, "web1"), expected, "{report:#}");
        let found = step(&report, "web1", "forget")["said"][0].as_str().unwrap();
        assert!(found.starts_with(said), "{report:#}");
        assert_eq!(ground.snapshots("web1").len(), left);
        if code == 1 {
            assert!(found.contains("run forget once with --max-share 100%"), "{found}");
            assert_eq!(report["attention"].as_u64().map(|count| count > 0), Some(true), "{report:#}");
        }
    }
    // What was left by the rules that were meant is still known, and counts for them.
    let report = ground.run(&["--keep-last", "3", "--json"]).expect_code(0).json();
    assert_eq!(ends(&report, "web1"), WELL, "{report:#}");
    let files = ground.restic("web1").home().join("files");
    let forged =
        ground.restic("web1").report_of_backup(&files, &["--host", "web1", "--time", "2200-01-01 00:00:00"]);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(1).json();
    assert_eq!(ends(&report, "web1"), all, "{report:#}");
    let record = ground.server.data().join(".pawl/maintenance/run/web1.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    let held = &record["held"][0];
    assert_eq!((&held["id"], &held["suspicious"]), (&forged.snapshot.into(), &true.into()), "{record:#}");
}

#[test]
fn beside_the_door_to_admins_it_does_not_begin() {
    let ground = Ground::new(&["web1"]);
    let mut door = Maintenance::start(&ground.server);
    let refused = ground.run(&RULES).expect_code(2);
    assert!(refused.stderr.contains("other maintenance is at work here"), "{refused:#?}");
    assert_eq!(last_line(&refused)["repositories"], 0);
    door.stop();
    let _ = ground.run(&RULES).expect_code(0);
}

#[test]
fn nothing_to_do_and_nothing_of_that_name() {
    let server = Server::start();
    let empty = super::maintain(&server.place(), &["run"]).expect_code(0);
    assert_eq!(last_line(&empty)["repositories"], 0);
    let unknown = super::maintain(&server.place(), &["run", "web1"]).expect_code(2);
    assert!(unknown.stderr.contains("there is no repository web1"), "{unknown:#?}");
    // A repository that nobody initialised.
    let client = server.add_client("web1", &[]);
    assert_eq!(client.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let password = server.dir().join("password");
    plant(&password, b"secret");
    chmod(&password, 0o600);
    let (restic, password) = (program("restic-0.19"), password.to_str().unwrap());
    let options =
        ["run", "--keep-last", "1", "--restic", restic.to_str().unwrap(), "--password-file", password];
    let draft = super::maintain(&server.place(), &options).expect_code(0);
    assert!(draft.stdout.contains("it was never initialised"), "{draft:#?}");
}
