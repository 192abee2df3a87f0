//! A repository as it was at a moment.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use pawl_tests::server::Server;

use super::{Stage, in_batches};

/// A moment that lies between what was done before and what is done next.
fn now() -> String {
    sleep(Duration::from_millis(20));
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let output = std::process::Command::new("date")
        .args([
            "--utc",
            "--iso-8601=ns",
            "--date",
            &format!("@{}.{:09}", since.as_secs(), since.subsec_nanos()),
        ])
        .output()
        .unwrap();
    sleep(Duration::from_millis(20));
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().replace(',', ".").replace("+00:00", "Z")
}

/// Everything that the first backups stored is deleted, and one more backup is made.
fn deleted_and_added(stage: &Stage) {
    let all = stage.stored();
    let first: Vec<_> = all
        .keys()
        .filter(|name| ["snapshots/", "data/", "index/"].iter().any(|of| name.starts_with(of)))
        .collect();
    let mut args = vec!["delete", "web1", "--below-floor"];
    args.extend(first.iter().map(|name| name.as_str()));
    let _ = stage.maintain(&args).expect_code(0);
    stage.backup(7);
}

#[test]
fn what_was_deleted_since_comes_back_and_what_was_added_is_listed() {
    let stage = Stage::new(3);
    let then = stage.stored();
    let moment = now();
    deleted_and_added(&stage);
    let deleted = stage.stored();
    assert!(then.keys().any(|name| !deleted.contains_key(name)));

    let planned = stage.maintain(&["restore", "web1", "--as-of", &moment, "--dry-run"]).expect_code(0);
    assert!(planned.stdout.contains("would be restored"), "{planned:?}");
    assert_eq!(stage.stored(), deleted);

    let done = stage.maintain(&["restore", "web1", "--as-of", &moment, "--json"]).expect_code(0).json();
    let now = stage.stored();
    for (name, content) in &then {
        assert!(now.get(name) == Some(content), "{name}");
    }
    let added: Vec<_> = now.keys().filter(|name| !then.contains_key(*name)).collect();
    let listed = done["repositories"][0]["added"].as_array().unwrap();
    assert_eq!(listed.len(), added.len(), "{done}");
    assert!(listed.iter().all(|line| line["outcome"] == "added since"), "{done}");
    stage.restic.check();
    assert_eq!(stage.restic.snapshots().len(), 4);
}

#[test]
fn what_was_added_since_is_hidden_on_request_and_can_be_brought_back() {
    let server = Server::build().config("[maintenance]\nmin_snapshot_age_days = 0").start();
    let stage = Stage::on(server, 3);
    let then = stage.stored();
    let moment = now();
    deleted_and_added(&stage);
    let later = stage.stored();
    let args = ["restore", "web1", "--as-of", &moment, "--hide-added"];
    let _ = stage.maintain(&args).expect_code(0);
    assert_eq!(stage.stored(), then);
    stage.restic.check();
    let hidden = in_batches(&stage.server);
    for (name, content) in later.iter().filter(|(name, _)| !then.contains_key(*name)) {
        assert!(
            hidden.iter().any(|(path, bytes)| path.ends_with(name.as_str()) && bytes == content),
            "{name}"
        );
    }
}

#[test]
fn a_young_snapshot_is_not_hidden_whatever_moment_is_asked_for() {
    let stage = Stage::new(1);
    let moment = now();
    stage.backup(1);
    let before = stage.stored();
    let done = stage.maintain(&["restore", "web1", "--as-of", &moment, "--hide-added"]).expect_code(1);
    assert!(done.stdout.contains("snapshot is younger than the floor"), "{done:?}");
    // Nor is anything that it needs.
    assert_eq!(stage.stored(), before);
}

#[test]
fn an_older_config_comes_back_with_what_was_added_hidden() {
    let server = Server::build().config("[maintenance]\nmin_snapshot_age_days = 0").start();
    let stage = Stage::on(server, 1);
    let then = stage.stored();
    let moment = now();
    // As `restic migrate upgrade_repo_v2` does it: deleted, and stored anew.
    let old = fs::read(stage.path("config")).unwrap();
    let _ = stage.maintain(&["delete", "web1", "config"]).expect_code(0);
    let other: Vec<u8> = old.iter().map(|byte| byte ^ 1).collect();
    let second = stage.server.dir().join("second");
    pawl_tests::store::plant(&second, &other);
    fs::copy(&second, stage.path("config")).unwrap();
    let listed = stage.maintain(&["restore", "web1", "--as-of", &moment]).expect_code(0);
    assert!(listed.stdout.contains("its config is not that of that moment"), "{listed:?}");
    assert_eq!(fs::read(stage.path("config")).unwrap(), other);
    let _ = stage.maintain(&["restore", "web1", "--as-of", &moment, "--hide-added"]).expect_code(0);
    assert_eq!(stage.stored(), then);
    stage.restic.check();
}
