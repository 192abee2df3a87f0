//! `pawl doctor`: what it finds out about a deployment, and what it makes of that.
//!
//! Invariant: looking changes nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]
#![expect(clippy::indexing_slicing, reason = "what is not in an answer is null, or stops the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pawl_tests::bucket::Kind;
use pawl_tests::clock::{Clock, Kernel};
use pawl_tests::command::{Finished, pawl, pawl_command};
use pawl_tests::maintenance::maintain;
use pawl_tests::moto::Moto;
use pawl_tests::program::Run;
use pawl_tests::server::Server;
use pawl_tests::store::{Stored, plant};
use serde_json::Value;

use crate::maintenance_s3::host::write_credentials;

/// Looks at a deployment on a machine whose clock is right.
fn doctor(args: &[&str], place: &[&str]) -> Finished {
    let mut command = pawl_command();
    command.arg("doctor").args(args).args(place).envs(Clock::default().of(Kernel::Synchronised).variables());
    Run::start(command).end()
}

fn report(place: &[&str], code: i32) -> Value {
    doctor(&["--json"], place).expect_code(code).json()
}

fn check<'a>(report: &'a Value, text: &str) -> &'a Value {
    let mut checks = report["checks"].as_array().unwrap().iter();
    checks
        .find(|line| line["text"].as_str().unwrap().contains(text))
        .unwrap_or_else(|| panic!("{text}: {report}"))
}

fn adversary<'a>(report: &'a Value, letter: &str) -> &'a Value {
    let mut adversaries = report["adversaries"].as_array().unwrap().iter();
    adversaries.find(|adversary| adversary["letter"] == letter).unwrap()
}

#[test]
fn a_directory_that_is_served_is_well_and_stays_as_it_is() {
    let server = Server::start();
    server.add_client("web1", &[]).ask("POST", "/web1/?create=true").unwrap();
    let before = Stored::read(server.data());
    let report = report(&server.place(), 0);
    assert_eq!(check(&report, "confinement: ")["verdict"], "good");
    assert_eq!(check(&report, "by their owner alone")["verdict"], "good");
    assert_eq!(check(&report, "hosts can store")["verdict"], "good");
    let letters: Vec<_> =
        report["adversaries"].as_array().unwrap().iter().map(|who| &who["letter"]).collect();
    assert_eq!(letters, ["A", "B", "C", "D", "E", "F"]);
    assert_eq!(adversary(&report, "C")["holds"], "yes");
    assert_eq!(adversary(&report, "D")["holds"], "no"); // one machine is one machine
    Stored::read(server.data()).assert_unchanged(&before);

    let text = doctor(&[], &server.place()).expect_code(0).stdout;
    assert!(text.contains("What each adversary could do here"), "{text}");
}

#[test]
fn the_kernel_is_asked_about_the_clock_and_systemd_where_it_does_not_answer() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let look = |clock: Clock, prints: Option<&str>, config: &str| {
        let path = dir.path().join("pawl.toml");
        plant(&path, format!("data = {:?}\nlisten = \"127.0.0.1:0\"\n{config}", server.data()).as_bytes());
        let mut command = pawl_command();
        command.args(["doctor", "--json", "--config"]).arg(path);
        command.envs(clock.and_timedatectl(dir.path(), prints).variables());
        let report = Run::start(command).end().json();
        check(&report, "the clock")["verdict"].as_str().unwrap().to_owned()
    };
    let kernel = |says| Clock::default().of(says);
    assert_eq!(look(kernel(Kernel::Synchronised), None, ""), "good");
    assert_eq!(look(kernel(Kernel::Unsynchronised), Some("yes"), ""), "fault");
    assert_eq!(look(kernel(Kernel::Silent), Some("yes"), ""), "good");
    assert_eq!(look(kernel(Kernel::Silent), Some("no"), ""), "fault");
    assert_eq!(look(kernel(Kernel::Silent), None, ""), "note");
    let is_right = "[maintenance.run]\nassume_clock_synced = true\n";
    assert_eq!(look(kernel(Kernel::Unsynchronised), None, is_right), "note");
}

#[test]
fn what_others_can_write_to_is_a_fault() {
    let server = Server::start();
    let _ = server.add_host("web1", &[]);
    chmod(server.data(), 0o777);
    let found = report(&server.place(), 1);
    assert_eq!(check(&found, "can be written to by others")["verdict"], "fault");
    chmod(server.data(), 0o750);
    server.add_client("web2", &[]).ask("POST", "/web2/?create=true").unwrap();
    chmod(&server.data().join("web2"), 0o777);
    let found = report(&server.place(), 1);
    assert_eq!(check(&found, "web2 can be written to by others")["verdict"], "fault");
    chmod(&server.data().join("web2"), 0o750);
    chmod(&server.data().join(".pawl/hosts.toml"), 0o644);
    let found = report(&server.place(), 1);
    let remedy = check(&found, "is too wide")["consequence"].as_str().unwrap();
    assert!(remedy.starts_with("chmod 640 "), "{remedy}");
    chmod(&server.data().join(".pawl/hosts.toml"), 0o640);
    report(&server.place(), 0);
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn confinement_that_is_off_is_a_fault_and_what_follows_is_said() {
    let server = Server::build().config("confinement = \"off\"").start();
    let report = report(&server.place(), 1);
    assert_eq!(check(&report, "confinement: off")["verdict"], "fault");
    assert_eq!(adversary(&report, "C")["holds"], "no");
    assert_eq!(adversary(&report, "C")["remedy"], "remove confinement = \"off\"");
}

#[test]
fn deletions_without_a_floor_and_hosts_without_tls_are_told() {
    let table = "plain_http = true\n[maintenance]\nmin_snapshot_age_days = 0";
    let server = Server::build().listen_at(&["0.0.0.0:0"]).config(table).start();
    let report = report(&server.place(), 0);
    assert_eq!(adversary(&report, "A")["holds"], "partly");
    assert_eq!(adversary(&report, "E")["holds"], "partly");
    assert_eq!(adversary(&report, "E")["remedy"], "set maintenance.min_snapshot_age_days");
}

#[test]
fn what_was_verified_lately_is_called_so() {
    let server = Server::start();
    server.add_client("web1", &[]).ask("POST", "/web1/?create=true").unwrap();
    assert_eq!(adversary(&report(&server.place(), 0), "F")["holds"], "partly");
    let _ = pawl(["maintain", "verify"].iter().chain(&server.place())).expect_code(0);
    let found = report(&server.place(), 0);
    assert_eq!(check(&found, "every byte was verified")["verdict"], "good");
    assert_eq!(adversary(&found, "F")["holds"], "yes");
}

#[test]
fn a_place_that_cannot_be_looked_at_is_told_apart_from_a_fault() {
    let finished = pawl(["doctor", "--data", "/nonexistent"]).expect_code(2);
    assert!(finished.stderr.contains("there is no such directory"), "{}", finished.stderr);
}

#[test]
fn of_a_bucket_without_versions_nothing_is_promised() {
    let moto = Moto::shared();
    let bucket = moto.bucket("plain", Kind::Plain);
    let secret = tempfile::tempdir().unwrap();
    let file = secret.path().join("credentials");
    write_credentials(&file, bucket.access());
    let table = format!("[maintenance]\ncredentials_file = {file:?}");
    let server = Server::build().bucket_by(&bucket, &file).accept("unversioned").config(&table).start();
    let report = report(&server.place(), 0);
    let check = check(&report, "`pawl maintain` deletes nothing there");
    assert_eq!(check["verdict"], "note");
    for letter in ["D", "E"] {
        let adversary = adversary(&report, letter);
        assert_eq!(adversary["holds"], "no", "{adversary}");
        assert!(adversary["remedy"].as_str().unwrap().contains("switch versioning on"), "{adversary}");
    }
    let text = report.to_string();
    assert!(!text.contains("deletions are final after") && !text.contains("from a version"), "{text}");
    let refused = maintain(&server.place(), &["verify"]).expect_code(2);
    assert!(refused.stderr.contains("use one that has (AWS, Ceph RGW, Backblaze B2)"), "{refused:?}");
}
