//! What outlives a process, as another version wrote it.
//!
//! Invariant: what is not understood fails alone; what a newer version wrote is refused in words, and stays as it is.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::pawl;
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::Client;
use pawl_tests::maintenance::maintain;
use pawl_tests::server::Server;
use pawl_tests::store::{Stored, plant, remove};
use serde_json::Value;

/// Puts a text in place of a file.
fn rewrite(path: &Path, change: impl FnOnce(String) -> String) -> String {
    let text = change(fs::read_to_string(path).unwrap());
    remove(path);
    plant(path, text.as_bytes());
    text
}

/// A192: one slip of the pen in the hosts file, or a word of a newer version, keeps out all hosts.
#[test]
fn an_entry_of_the_hosts_file_that_is_not_understood_fails_alone() {
    let server = Server::start();
    let [web1, web2] = ["web1", "web2"].map(|name| server.add_client(name, &[]));
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let before = Stored::read(&server.data().join("web1"));
    let hosts = server.data().join(".pawl/hosts.toml");
    let written = rewrite(&hosts, |text| text.replace("[host.web2]\n", "[host.web2]\ncolour = \"blue\"\n"));
    assert!(
        written.contains("colour") && written.starts_with("# ") && written.contains("\nversion = 1\n"),
        "{written}"
    );
    assert_eq!(web1.ask("GET", "/web1/config").unwrap().status, 404);
    assert_eq!(web2.ask("GET", "/web2/config").unwrap().status, 401);
    let _ = server.log().wait_for_line(&["ERROR", "the entry of 'web2' cannot be understood", "colour"]);

    let listed = server.host(&["list"]).expect_code(0);
    assert!(listed.stdout.contains("web1") && listed.stderr.contains("'web2'"), "{listed:?}");
    let again = server.host(&["add", "web2"]).expect_code(1);
    assert!(again.stderr.contains("host 'web2' exists"), "{again:?}");
    let _ = server.host(&["add", "web3"]).expect_code(0);
    assert!(fs::read_to_string(&hosts).unwrap().contains("colour = \"blue\""), "it stays as it is");
    let _ = server.host(&["revoke", "web2"]).expect_code(0);
    assert!(!fs::read_to_string(&hosts).unwrap().contains("web2"));
    assert_eq!(web1.ask("GET", "/web1/config").unwrap().status, 404);
    before.assert_unchanged(&Stored::read(&server.data().join("web1")));
}

#[test]
fn a_hosts_file_of_a_newer_version_lets_nobody_in_and_stays() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    let hosts = server.data().join(".pawl/hosts.toml");
    let written = rewrite(&hosts, |text| text.replace("version = 1", "version = 2"));
    assert_eq!(web1.ask("GET", "/web1/config").unwrap().status, 503);
    let refused = server.host(&["add", "web2"]).expect_code(1);
    assert!(
        refused.stderr.contains("it has version 2 of its format, and this Pawl knows up to 1"),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(&hosts).unwrap(), written);
}

/// The last record of the one file of the log of hosts, with its hash.
fn last_record(server: &Server) -> (PathBuf, Value, String) {
    let mut files = fs::read_dir(server.data().join(".pawl/audit")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().last().unwrap();
    (file, serde_json::from_str(line).unwrap(), id_of(line.as_bytes()))
}

#[test]
fn an_audit_event_of_a_newer_version_is_shown_as_unknown() {
    let mut server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    assert!(server.stop().success());
    let (file, last, hash) = last_record(&server);
    let number = last["number"].as_u64().unwrap() + 1;
    let line = |event: &str| {
        format!("{{\"number\":{number},\"time\":\"2026-11-30T00:00:00Z\",\"previous\":\"{hash}\",{event}}}\n")
    };
    let whole = fs::read_to_string(&file).unwrap();
    let newer = line("\"event\":\"telepathy\",\"repository\":\"web1\"");
    let _ = rewrite(&file, |text| text + &newer);
    let data = server.data().to_str().unwrap().to_owned();
    let _ = pawl(["audit", "verify", "--data", &data]).expect_code(0);
    let shown = pawl(["audit", "show", "--data", &data]).expect_code(0).stdout;
    assert!(shown.contains("unknown to this version of Pawl: ") && shown.contains("telepathy"), "{shown}");
    let shown = pawl(["audit", "show", "--json", "--data", &data]).expect_code(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(shown.lines().last().unwrap()).unwrap()["repository"], "web1");
    server.start_again();
    assert!(server.stop().success());
    let _ = pawl(["audit", "verify", "--data", &data]).expect_code(0);

    // A known event that lacks something is no record, as before.
    let _ = rewrite(&file, |_| whole + &line("\"event\":\"stored\",\"repository\":\"web1\""));
    let broken = pawl(["audit", "verify", "--data", &data]).expect_code(1);
    assert!(broken.stderr.contains("this is no record"), "{broken:?}");
}

#[test]
fn what_maintenance_remembers_in_a_newer_version_is_refused_and_stays() {
    let server = Server::start();
    let restic = Restic::new(Version::V0_19, &clients::ready(&server, "web1"));
    plant(&restic.home().join("files/one"), &noise("one", 10_000));
    restic.backup(&restic.home().join("files"));
    let place = server.place();
    let _ = maintain(&place, &["verify", "--all"]).expect_code(0);
    let state = server.data().join(".pawl/maintenance/verify/web1.json");
    let written = rewrite(&state, |text| text.replacen("\"version\": 1", "\"version\": 2", 1));
    assert!(written.contains("\"version\": 2"), "{written}");
    let refused = maintain(&place, &["verify", "--all"]);
    assert_ne!(refused.code, Some(0));
    let said = refused.stdout + &refused.stderr;
    assert!(said.contains("knows up to 1") && said.contains("web1.json"), "{said}");
    assert_eq!(fs::read_to_string(&state).unwrap(), written);
}

/// The password of the host in the sample.
const SAMPLE_PASSWORD: &str = "pawl_311ed7ddda0b992782b8b61f4fe668b78596037b448bda72d1231a475da8ef3b";

/// `tests/formats/0.1.0` is the data directory of a server of that version after a night, with an archived part of its log.
#[test]
fn what_version_0_1_0_left_is_understood() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/formats/0.1.0");
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    assert!(Command::new("cp").args(["-r", sample]).arg(&data).status().unwrap().success());
    let server = Server::build().data(&data).start();
    let web1 = Client::new(server.address(), "web1", SAMPLE_PASSWORD);
    assert_eq!(web1.ask("GET", "/web1/config").unwrap().status, 200);
    let _ = pawl(["audit", "verify", "--data", data.to_str().unwrap()]).expect_code(0);

    let deleted = maintain(&server.place(), &["deleted", "--json"]).expect_code(0).json();
    assert_eq!(deleted.as_array().unwrap().len(), 2, "{deleted:#}");
    let verified = maintain(&server.place(), &["verify", "--all"]).expect_code(0);
    let report = maintain(&server.place(), &["report", "--json"]);
    for said in [verified.stderr, report.stderr, report.stdout] {
        assert!(!said.contains("understood") && !said.contains("understand"), "{said}");
    }
}
