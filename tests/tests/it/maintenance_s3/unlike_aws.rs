//! Stores that differ from AWS: what hosts and nights need works there all the same.

use std::collections::BTreeMap;

use pawl_tests::faults::{Fault, Which};
use pawl_tests::moto::Moto;
use pawl_tests::s3::S3;

use super::host::{Host, PRUNE, VERSION, host_behind};

/// A host whose store, moto, answers some requests as another store would.
fn host_of(s3: &S3, store: &[(Which, u16, &'static str)], accepted: &[&'static str]) -> Host {
    host_behind(
        s3,
        0,
        |roles| roles.maintenance.clone(),
        |line| {
            for (which, status, code) in store {
                line.add(which.clone(), Fault::Answer(*status, code));
            }
        },
        |server| accepted.iter().fold(server, |server, weakness| server.accept(weakness)),
    )
}

/// A prune hides files, and they come back. Returns what was visible before.
fn prune_and_undelete(host: &Host) -> BTreeMap<String, Vec<u8>> {
    let before = host.visible();
    let mut maintenance = host.door();
    maintenance.restic(VERSION, "web1").succeed(PRUNE);
    maintenance.stop();
    assert!(host.visible().len() < before.len());
    let _ = host.maintain(&["undelete", &maintenance.one_batch()]).expect_code(0);
    host.assert_all_restore();
    host.assert_nothing_lost(&before);
    before
}

/// Backblaze B2 does not know If-None-Match, and a key that stores files there can hide them and delete none.
#[test]
fn where_conditions_are_unknown_a_night_and_what_undoes_it_work() {
    let s3 = S3::Moto(Moto::shared());
    let store = [
        (Which::all("PUT", "").header("if-none-match:"), 501, "NotImplemented"),
        (Which::all("DELETE", "versionId="), 403, "AccessDenied"),
    ];
    let host = host_of(&s3, &store, &["unconditional-writes"]);
    let before = prune_and_undelete(&host);

    // Whoever had the server's credential overwrote a snapshot.
    let key = before.keys().find(|key| key.contains("/snapshots/")).unwrap();
    host.bucket.put(key, b"by another hand").unwrap();
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    host.assert_all_restore();
    let _ = host.maintain(&["run", "--json", "--only", "verify"]).expect_code(0);
}

/// `OpenStack` Swift refuses each DELETE with If-Match.
#[test]
fn files_are_hidden_and_a_lock_is_taken_back_where_no_condition_holds() {
    let s3 = S3::Moto(Moto::shared());
    let refused = (Which::all("DELETE", "").header("if-match:"), 412, "PreconditionFailed");
    let host = host_of(&s3, &[refused], &[]);
    let _ = prune_and_undelete(&host);
    for _ in 0..2 {
        let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    }
    let held = host.bucket.list("some/").unwrap().into_iter().filter(|key| key.contains("maintenance/lock"));
    assert_eq!(held.count(), 0);
}
