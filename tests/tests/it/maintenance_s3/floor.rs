//! Young snapshots in a bucket.

use std::time::Duration;

use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use super::host::{Host, PRUNE, VERSION, host};

on_each_s3! {
    a_young_snapshot_in_a_bucket_cannot_be_deleted,
}

/// Has Pawl believe that it received a snapshot so long ago.
fn back_date(host: &Host, snapshot: &str, by: Duration) {
    let key = host.visible().into_keys().find(|key| key.ends_with(snapshot)).unwrap();
    host.back_date(&key, by);
}

/// A111: A thief of a maintenance credential deletes the snapshots of the last days, which lie in a bucket.
fn a_young_snapshot_in_a_bucket_cannot_be_deleted(s3: &S3) {
    let host = host(s3, 7, |roles| roles.maintenance.clone());
    let (before, versions) = (host.visible(), host.bucket.snapshot());
    let mut door = host.door();
    let admin = door.restic(VERSION, "web1");
    for args in [&PRUNE[..], &["forget", "latest", "--prune"]] {
        let refused = admin.run(args);
        assert!(refused.stderr.contains("snapshot is younger than the floor"), "{refused:?}");
    }
    assert!(before.iter().all(|(key, bytes)| host.visible().get(key) == Some(bytes)));
    // Six days are too few, eight are enough.
    let days = |days: u64| Duration::from_hours(24 * days);
    back_date(&host, &host.snapshots[0], days(6));
    let refused = admin.run(["forget", &host.snapshots[0]]);
    assert!(refused.stderr.contains("snapshot is younger than the floor"), "{refused:?}");
    for snapshot in &host.snapshots[..4] {
        back_date(&host, snapshot, days(8));
    }
    admin.succeed(PRUNE);
    assert_eq!(host.restic.snapshots(), host.snapshots[4..]);
    host.restic.check();
    door.stop();
    assert_eq!(versions.lost_in(&host.bucket.snapshot()), Vec::<String>::new());
    let _ = host.maintain(&["undelete", &door.one_batch()]).expect_code(0);
    host.assert_all_restore();
}
