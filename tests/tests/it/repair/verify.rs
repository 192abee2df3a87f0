//! What verification finds, when it reads what, and how it goes on.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use pawl_tests::clients::PASSWORD;
use pawl_tests::command::{pawl, pawl_command};
use pawl_tests::content::id_of;
use pawl_tests::maintenance::Maintenance;
use pawl_tests::program::{Run, program};
use pawl_tests::server::Server;
use pawl_tests::store::{plant, set_fact};
use pawl_tests::wait;

use super::{Stage, damaged, found};

#[test]
fn a_store_without_damage_is_clean_and_nothing_in_it_changes() {
    let stage = Stage::new(2);
    let before = stage.server.stored();
    let verified = stage.maintain(&["verify", "--all"]).expect_code(0);
    assert!(verified.stdout.ends_with("Nothing is damaged.\n"), "{verified:?}");
    assert_eq!(verified.stderr, ""); // no bar in a pipe
    before.assert_kept(&stage.server.stored());
    let report = stage.maintain(&["verify", "--all", "--json"]).expect_code(0).json();
    let files = stage.stored().len() as u64;
    assert_eq!(report["repositories"][0]["files_checked"], files, "{report}");
    assert_eq!(report["clean"], true);
}

#[test]
fn what_does_not_belong_is_found_without_reading() {
    let stage = Stage::new(2);
    let snapshot = format!("snapshots/{}", stage.restic.snapshots().remove(0));
    let content = fs::read(stage.path(&snapshot)).unwrap();
    let _ = stage.maintain(&["delete", "web1", &snapshot, "--below-floor"]).expect_code(0);
    plant(&stage.path(&snapshot), &content); // by another hand
    plant(&stage.path("index/leftover.tmp"), b"junk");
    let short = format!("index/{}", id_of(b"short"));
    plant(&stage.path(&short), b"short");
    let written = stage.stored().into_keys().find(|name| name.starts_with("data/")).unwrap();
    fs::set_permissions(stage.path(&written), fs::Permissions::from_mode(0o640)).unwrap();
    let _writer = fs::OpenOptions::new().append(true).open(stage.path(&written)).unwrap();
    for key in stage.stored().keys().filter(|name| name.starts_with("keys/")) {
        set_fact(&stage.path(key), "audience", "maintenance");
    }

    let report = stage.maintain(&["verify", "--share", "1/10000", "--json"]).expect_code(1).json();
    let expected = [
        (snapshot, "revived"),
        ("index/leftover.tmp".to_owned(), "foreign"),
        (written.clone(), "being_written"),
        (String::new(), "no_key_for_hosts"),
    ];
    let expected: BTreeSet<_> = expected.map(|(file, kind)| (file, kind.to_owned())).into();
    assert_eq!(found(&report, "suspicion"), expected);
    assert!(found(&report, "note").contains(&(short, "odd_size".to_owned())), "{report}");
    assert!(found(&report, "note").contains(&(written, "unusual".to_owned())), "{report}");
    assert_eq!(damaged(&report), BTreeSet::new());
}

#[test]
fn a_file_that_was_cut_off_is_found_without_waiting_for_its_turn() {
    let stage = Stage::new(1);
    let name = stage.stored().into_keys().find(|name| name.starts_with("index/")).unwrap();
    plant(&stage.path(&name), b"");
    let report = stage.maintain(&["verify", "--share", "1/10000", "--json"]).expect_code(1).json();
    assert_eq!(damaged(&report), [name].into());
}

#[test]
fn seven_runs_of_a_seventh_read_everything_once() {
    let stage = Stage::new(6);
    let all = stage.stored();
    let total: u64 = all.values().map(|content| content.len() as u64).sum();
    let largest = all.values().map(|content| content.len() as u64).max().unwrap();
    // The config, which is small, is read every time.
    let mut read = 0;
    for day in 1..=7 {
        let report = stage.maintain(&["verify", "--json"]).expect_code(0).json();
        let repository = &report["repositories"][0];
        let bytes = repository["bytes_read"].as_u64().unwrap();
        assert!(bytes <= total / 7 + 2 * largest, "day {day}: {bytes} of {total}");
        read += bytes;
        let is_all = !repository["all_read_since"].is_null();
        assert!(is_all || day < 7, "day {day}: {report}");
    }
    assert!(read >= total, "{read} of {total}");
}

#[test]
fn a_run_that_is_killed_goes_on_where_it_was_and_forgets_no_damage() {
    let stage = Stage::new(6);
    let rotten: Vec<_> = stage.stored().into_keys().filter(|name| name.starts_with("data/")).collect();
    stage.rot(&rotten);
    let total: u64 = stage.stored().values().map(|content| content.len() as u64).sum();
    let mut command = pawl_command();
    command.args(["maintain", "verify", "--all", "--jobs", "1", "--bytes-per-second", "300KiB"]);
    command.args(stage.server.place());
    let mut run = Run::start(command);
    let remembered = stage.server.data().join(".pawl/maintenance/verify/web1.json");
    wait::until("some damage was remembered", || {
        assert!(!run.has_ended(), "{}", run.seen());
        fs::read_to_string(&remembered).unwrap_or_default().contains("\"damaged\": {\n").then_some(())
    });
    run.kill();
    let text = fs::read_to_string(&remembered).unwrap();
    assert!(text.contains("hashes to"), "{text}");

    let rest = stage.maintain(&["verify", "--all", "--json"]).expect_code(1).json();
    assert_eq!(rest["continued"], true, "{rest}");
    assert!(rest["repositories"][0]["bytes_read"].as_u64().unwrap() <= total);
    assert_eq!(damaged(&rest), rotten.into_iter().collect());
}

#[test]
fn reading_keeps_to_the_pace_that_was_asked_for() {
    let stage = Stage::new(2);
    let total: usize = stage.stored().values().map(Vec::len).sum();
    let started = Instant::now();
    let _ = stage.maintain(&["verify", "--all", "--bytes-per-second", "256KiB"]).expect_code(0);
    // The first 256 KiB pass at once. A lower bound, which slowness cannot break.
    let least =
        Duration::from_millis(total as u64 * 1000 / (256 << 10)).saturating_sub(Duration::from_millis(1500));
    assert!(
        least > Duration::ZERO && started.elapsed() >= least,
        "{:?} for {total} bytes",
        started.elapsed()
    );
}

#[test]
fn a_state_that_cannot_be_understood_is_as_good_as_none() {
    let stage = Stage::new(1);
    let _ = stage.maintain(&["verify", "--all"]).expect_code(0);
    for file in fs::read_dir(stage.server.data().join(".pawl/maintenance/verify")).unwrap() {
        plant(&file.unwrap().path(), b"{ \"read\": 7");
    }
    let name = stage.stored().into_keys().find(|name| name.starts_with("data/")).unwrap();
    stage.rot([&name]);
    let report = stage.maintain(&["verify", "--all", "--json"]).expect_code(1).json();
    assert_eq!(damaged(&report), [name].into());
}

#[test]
fn what_cannot_be_verified_ends_in_2() {
    let stage = Stage::new(1);
    let unknown = stage.maintain(&["verify", "web2"]).expect_code(2);
    assert!(unknown.stderr.contains("there is no repository web2"), "{unknown:?}");
    let nowhere = stage.server.dir().join("nowhere");
    let nowhere = pawl(["maintain", "verify", "--data", nowhere.to_str().unwrap()]).expect_code(2);
    assert!(nowhere.stderr.contains("no such directory"), "{nowhere:?}");
    let slow =
        Server::build().config("[maintenance]\npurge_delay_days = 10\nverify_interval_days = 4").start();
    let place = slow.place()[1];
    let text =
        fs::read_to_string(place).unwrap().replace("verify_interval_days = 4", "verify_interval_days = 6");
    plant(std::path::Path::new(place), text.as_bytes());
    let refused = pawl(["maintain", "verify"].into_iter().chain(slow.place())).expect_code(2);
    assert!(refused.stderr.contains("maintenance.verify_interval_days"), "{refused:?}");
}

#[test]
fn a_run_beside_the_maintenance_door_is_in_the_audit_log_later() {
    let stage = Stage::new(1);
    let name = stage.stored().into_keys().find(|name| name.starts_with("data/")).unwrap();
    stage.rot([&name]);
    let mut door = Maintenance::start(&stage.server);
    let verified = stage.maintain(&["verify", "--all", "--json"]).expect_code(1);
    assert_eq!(damaged(&verified.json()), [name.clone()].into());
    assert_eq!(verified.stderr, "");
    let told = || pawl(["audit", "show"].into_iter().chain(stage.server.place())).expect_code(0).stdout;
    assert!(!told().contains("found damaged"));
    door.stop();
    for _ in 0..2 {
        let _ = stage.maintain(&["restore"]).expect_code(1);
    }
    assert_eq!(told().matches(&format!("found damaged web1/{name}")).count(), 1, "{}", told());
    assert_eq!(told().matches("verified web1 for uid-").count(), 1, "{}", told());
}

#[test]
fn bytes_that_were_not_read_for_too_long_are_a_finding() {
    let stage = Stage::new(1);
    let _ = stage.maintain(&["verify", "--all"]).expect_code(0);
    let remembered = stage.server.data().join(".pawl/maintenance/verify/web1.json");
    let text = fs::read_to_string(&remembered).unwrap();
    let year = text.split("\"since\": \"").nth(1).unwrap().get(..4).unwrap().to_owned();
    plant(&remembered, text.replace(&format!("\"{year}-"), "\"2020-").as_bytes());
    let report = stage.maintain(&["verify", "--share", "1/10000", "--json"]).expect_code(1).json();
    assert_eq!(found(&report, "suspicion"), [(String::new(), "overdue".to_owned())].into());
    let _ = stage.maintain(&["verify", "--all"]).expect_code(0);
}

#[test]
fn the_snapshots_that_need_a_damaged_pack_are_named() {
    let stage = Stage::new(3);
    let password = stage.server.dir().join("password");
    plant(&password, PASSWORD.as_bytes());
    // The largest pack that the last backup added: what is in it only the last snapshot needs.
    let before = stage.stored();
    stage.backup(3);
    let after = stage.stored();
    let new = after.iter().filter(|(name, _)| name.starts_with("data/") && !before.contains_key(*name));
    let last = new.max_by_key(|(_, content)| content.len()).unwrap().0.clone();
    let first = before.iter().filter(|(name, _)| name.starts_with("data/"));
    let first = first.max_by_key(|(_, content)| content.len()).unwrap().0.clone();
    let snapshots = stage.restic.snapshots();
    let rotten = format!("snapshots/{}", snapshots[1]);
    stage.rot([&last, &rotten]);
    let verify = |restic: &str| {
        let (password, restic) = (password.to_str().unwrap(), program(restic));
        let restic = restic.to_str().unwrap();
        let args = ["verify", "--all", "--json", "--password-file", password, "--restic", restic];
        stage.maintain(&args).expect_code(1).json()
    };
    let named = |report: &serde_json::Value, file: &str| {
        let findings = report["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["file"] == file).unwrap().clone();
        let names = finding["snapshots"].as_array().unwrap().clone();
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    for restic in ["restic-0.14", "restic-0.18", "restic-0.19"] {
        let report = verify(restic);
        assert_eq!(named(&report, &last), [snapshots[3].clone()].into(), "{restic}: {report}");
        assert_eq!(named(&report, &rotten), [snapshots[1].clone()].into(), "{restic}: {report}");
    }

    // A pack that several need; the damaged snapshot cannot be asked.
    stage.rot([&first]);
    let report = verify("restic-0.19");
    let named = named(&report, &first);
    assert!(named.contains(&snapshots[3]) && named.len() >= 2, "{report}");
}
