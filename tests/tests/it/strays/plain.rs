//! The same where the server's user has no privileges: cargo-nextest runs this as such a user where the run is root's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use pawl_tests::maintenance::maintain;
use pawl_tests::server::Server;
use serde_json::Value;

use super::headers::two_batches;
use super::{assert_costs_itself_alone, server_with_a_backup};

/// Whether a mode means anything to the user of this test.
fn is_plain_user() -> bool {
    let is_plain = !rustix::process::geteuid().is_root();
    if !is_plain {
        eprintln!(
            "NOT TESTED: root may read and write everything; run this with cargo-nextest, or as another user"
        );
    }
    is_plain
}

#[test]
fn a_directory_that_may_not_be_read_costs_itself_alone() {
    if !is_plain_user() {
        return;
    }
    let (server, _restic) = server_with_a_backup();
    let stray = server.data().join("stray");
    fs::create_dir(&stray).unwrap();
    fs::set_permissions(&stray, Permissions::from_mode(0o000)).unwrap();
    assert_costs_itself_alone(&server, &stray, "Permission denied");
    fs::set_permissions(&stray, Permissions::from_mode(0o700)).unwrap();
}

/// Its tombstone is there, and read-only, when it is deleted once more.
#[test]
fn a_snapshot_that_an_admin_copied_back_can_be_deleted_again() {
    if !is_plain_user() {
        return;
    }
    let (server, restic) = server_with_a_backup();
    let snapshot = format!("snapshots/{}", restic.snapshots()[0]);
    let delete = ["delete", "web1", &snapshot, "--below-floor"];
    let _ = maintain(&server.place(), &delete).expect_code(0);
    let deleted = maintain(&server.place(), &["deleted", "--json"]).expect_code(0).json();
    let batch = server.data().join(".pawl/deleted").join(deleted[0]["batch"].as_str().unwrap());
    fs::copy(batch.join(&snapshot), server.data().join("web1").join(&snapshot)).unwrap();
    let _ = maintain(&server.place(), &delete).expect_code(0);
    let deleted: Value = maintain(&server.place(), &["deleted", "--json"]).expect_code(0).json();
    assert_eq!(deleted.as_array().unwrap().len(), 2, "{deleted:#}");
}

#[test]
fn a_batch_that_may_not_be_read_costs_itself_alone() {
    if !is_plain_user() {
        return;
    }
    let server = Server::start();
    let [broken, whole] = two_batches(&server);
    let snapshots = server.data().join(".pawl/deleted").join(&broken).join("snapshots");
    fs::set_permissions(&snapshots, Permissions::from_mode(0o000)).unwrap();
    for args in [&["deleted"][..], &["purge", "--dry-run"], &["purge"]] {
        let done = maintain(&server.place(), args).expect_code(1);
        assert!(done.stdout.contains(&whole), "{done:#?}");
        assert!(done.stderr.contains(&broken) && done.stderr.contains("web1"), "{done:#?}");
    }
    let report = maintain(&server.place(), &["report", "--json"]).expect_code(1).json();
    let mut attention = report["attention"].as_array().unwrap().iter();
    assert!(attention.any(|line| line["text"].as_str().unwrap().contains(&broken)), "{report:#}");
    fs::set_permissions(&snapshots, Permissions::from_mode(0o700)).unwrap();
}
