//! A directory or a header below the data directory that Pawl cannot use.
//!
//! Invariant: it costs its own repository alone, and is named with its path.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod headers;
mod left_by_others;
mod plain;

use std::fs;
use std::path::Path;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::pawl;
use pawl_tests::content::noise;
use pawl_tests::disk::Mount;
use pawl_tests::maintenance::maintain;
use pawl_tests::server::Server;
use pawl_tests::store::{plant, remove};
use serde_json::Value;

/// A server with a backup in the repository web1.
fn server_with_a_backup() -> (Server, Restic) {
    let server = Server::start();
    let restic = Restic::new(Version::V0_19, &clients::ready(&server, "web1"));
    plant(&restic.home().join("files/one"), &noise("one", 10_000));
    restic.backup(&restic.home().join("files"));
    (server, restic)
}

/// How a step of the last run ended, and what it said.
fn step(run: &Value, repository: &str, step: &str) -> (String, String) {
    let mut steps = run["steps"].as_array().unwrap().iter();
    let found = steps.find(|line| line["repository"] == repository && line["step"] == step);
    let found = found.unwrap_or_else(|| panic!("no {step} of {repository}: {run:#}"));
    (found["ended"].as_str().unwrap().to_owned(), found["said"].to_string())
}

/// Every command goes on in web1, and names the stray directory with its path.
fn assert_costs_itself_alone(server: &Server, stray: &Path, why: &str) {
    let (place, path) = (server.place(), stray.to_str().unwrap());
    let is_named = |text: &str| text.contains(path) && text.contains(why);

    let verified = maintain(&place, &["verify", "--all"]).expect_code(2);
    assert!(verified.stdout.contains("web1: ") && is_named(&verified.stdout), "{verified:#?}");
    let verified = maintain(&place, &["verify", "--all", "--json"]).expect_code(2).json();
    let web1 = verified["repositories"].as_array().unwrap().iter().find(|of| of["repository"] == "web1");
    assert!(web1.unwrap()["files_checked"].as_u64() >= Some(5), "{verified:#}");

    let run = maintain(&place, &["run", "--json"]).expect_code(2).json();
    for of in ["verify", "purge"] {
        assert_eq!(step(&run, "web1", of).0, "well", "{run:#}");
    }
    let (ended, said) = step(&run, stray.file_name().unwrap().to_str().unwrap(), "verify");
    assert!(ended == "failed" && is_named(&said), "{run:#}");

    let report = maintain(&place, &["report", "--json"]).expect_code(1).json();
    let attention = report["attention"].as_array().unwrap();
    assert!(attention.iter().any(|line| is_named(line["text"].as_str().unwrap())), "{report:#}");
    let web1 = report["repositories"].as_array().unwrap().iter().find(|of| of["repository"] == "web1");
    assert!(web1.unwrap()["files"].as_u64() >= Some(5), "{report:#}");

    let doctor = pawl(["doctor", "--json"].iter().chain(&place)).expect_code(1).json();
    let mut checks = doctor["checks"].as_array().unwrap().iter();
    assert!(
        checks.any(|line| line["verdict"] == "fault" && line["text"].as_str().unwrap().contains(path)),
        "{doctor:#}"
    );
}

/// A183: A directory below the data directory that cannot be looked at (another disk, another user's) ends maintenance of all
/// repositories, verification and report included.
#[test]
fn a_directory_on_another_file_system_costs_itself_alone() {
    let (mut server, restic) = server_with_a_backup();
    let stray = server.data().join("stray");
    fs::create_dir(&stray).unwrap();
    let Some(mounted) = Mount::on(&stray) else { return };
    assert_costs_itself_alone(&server, &stray, "another file system");
    server.stop();
    server.start_again();
    let _ = server.log().wait_for_line(&["stray", "cannot be served", "another file system"]);
    restic.backup(&restic.home().join("files"));

    // Once it is gone, nothing is missed.
    drop(mounted);
    remove(&stray);
    let _ = maintain(&server.place(), &["verify", "--all"]).expect_code(0);
    let _ = maintain(&server.place(), &["run"]).expect_code(0);
}
