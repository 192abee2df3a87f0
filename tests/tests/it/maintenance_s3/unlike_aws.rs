//! Stores that differ from AWS: what hosts and nights need works there all the same.

use pawl_tests::faults::{Fault, Which};
use pawl_tests::moto::Moto;
use pawl_tests::s3::S3;

use super::host::{PRUNE, VERSION, host_behind};

/// Backblaze B2 does not know If-None-Match, and a key that stores files there can hide them and delete none.
#[test]
fn where_conditions_are_unknown_a_night_and_what_undoes_it_work() {
    let s3 = S3::Moto(Moto::shared());
    let host = host_behind(
        &s3,
        0,
        |roles| roles.maintenance.clone(),
        |line| {
            line.add(Which::all("PUT", "").header("if-none-match:"), Fault::Answer(501, "NotImplemented"));
            line.add(Which::all("DELETE", "versionId="), Fault::Answer(403, "AccessDenied"));
        },
        |server| server.accept("unconditional-writes"),
    );
    let before = host.visible();
    let mut maintenance = host.door();
    maintenance.restic(VERSION, "web1").succeed(PRUNE);
    maintenance.stop();
    assert!(host.visible().len() < before.len());
    let _ = host.maintain(&["undelete", &maintenance.one_batch()]).expect_code(0);
    host.assert_all_restore();
    host.assert_nothing_lost(&before);

    // Whoever had the server's credential overwrote a snapshot.
    let key = before.keys().find(|key| key.contains("/snapshots/")).unwrap();
    host.bucket.put(key, b"by another hand").unwrap();
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    host.assert_all_restore();
    let _ = host.maintain(&["run", "--json", "--only", "verify"]).expect_code(0);
}

/// `OpenStack` Swift refuses each DELETE with If-Match.
#[test]
fn a_lock_is_taken_back_where_no_condition_holds() {
    let s3 = S3::Moto(Moto::shared());
    let host = host_behind(
        &s3,
        0,
        |roles| roles.maintenance.clone(),
        |line| {
            line.add(Which::all("DELETE", "").header("if-match:"), Fault::Answer(412, "PreconditionFailed"));
        },
        |server| server,
    );
    for _ in 0..2 {
        let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    }
    let held = host.bucket.list("some/").unwrap().into_iter().filter(|key| key.contains("maintenance/lock"));
    assert_eq!(held.count(), 0);
}
