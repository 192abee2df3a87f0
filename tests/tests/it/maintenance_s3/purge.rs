//! Making deletions final in a bucket, and what keeps them from it.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use pawl_tests::bucket::Kind;
use pawl_tests::maintenance::{Maintenance, maintain_at_time};
use pawl_tests::on_each_s3;
use pawl_tests::roles::Roles;
use pawl_tests::s3::S3;

use super::host::{Host, PRUNE, VERSION, host, host_in, host_with_five_backups, name_of};

on_each_s3! {
    a_clock_set_forward_makes_nothing_in_a_bucket_final,
    what_waited_and_was_seen_is_purged_from_a_bucket_and_the_rest_stays_whole,
    a_purge_of_a_bucket_reads_no_faster_than_it_may,
    a_purge_with_maintenances_own_key_is_left_to_the_store,
    what_object_lock_keeps_is_named_and_the_rest_of_the_batch_is_purged,
}

/// Bytes a second: what passes at once however low the rate is.
const RATE: u64 = 256 << 10;
const PURGE: [&str; 3] = ["purge", "--assume-clock-synced", "--json"];

/// The four older snapshots are forgotten and pruned, and the server is stopped.
fn pruned(host: &Host) -> Maintenance {
    let mut door = host.door();
    door.restic(VERSION, "web1").succeed(PRUNE);
    door.stop();
    door
}

/// Six days pass on which the deletions are seen, and then all of their delay.
fn seen_on_six_days(host: &Host) {
    for day in 1..=6 {
        let kept = maintain_at_time(&format!("+{day}d"), &host.server.place(), &PURGE).expect_code(0).json();
        assert_eq!(kept[0]["outcome"], "kept", "{kept}");
    }
}

/// A112: Somebody sets the clock of the machine forward from which maintenance purges a bucket.
fn a_clock_set_forward_makes_nothing_in_a_bucket_final(s3: &S3) {
    let host = host(s3, 0, |roles| roles.owner.access().clone());
    let door = pruned(&host);
    let before = host.bucket.snapshot();
    for time in ["+15d", "+400d"] {
        let kept = maintain_at_time(time, &host.server.place(), &PURGE).expect_code(0).json();
        assert!(kept[0]["reason"].as_str().unwrap().contains("of the 7 days that are needed"), "{kept}");
        let files = |key: &String| key.contains("/web1/");
        let lost = before.lost_in(&host.bucket.snapshot());
        assert_eq!(lost.into_iter().filter(files).collect::<Vec<_>>(), Vec::<String>::new());
    }
    let _ = door.run_command(&["undelete", &door.one_batch()]).expect_code(0);
    host.assert_all_restore();
}

fn what_waited_and_was_seen_is_purged_from_a_bucket_and_the_rest_stays_whole(s3: &S3) {
    let host = host(s3, 0, |roles| roles.owner.access().clone());
    let door = pruned(&host);
    seen_on_six_days(&host);
    let (visible, before) = (host.visible(), host.bucket.snapshot());
    let files = &door.deleted()[0]["files"];
    let purged = host.measured("purge", || maintain_at_time("+15d", &host.server.place(), &PURGE));
    let purged = purged.expect_code(0).json();
    assert_eq!((&purged[0]["outcome"], &purged[0]["removed_files"]), (&"purged".into(), files), "{purged}");
    assert!(host.visible() == visible, "nothing that is visible is gone");
    assert_eq!(door.deleted().len(), 0);
    let lost = before.lost_in(&host.bucket.snapshot());
    let lost: Vec<_> = lost.iter().filter(|line| line.contains("/web1/")).collect();
    assert_eq!(Some(lost.len() as u64), files.as_u64(), "{lost:?}");
    host.restic.check();
    host.assert_restores(&host.restic, 4);
}

fn a_purge_of_a_bucket_reads_no_faster_than_it_may(s3: &S3) {
    let host = host(s3, 0, |roles| roles.owner.access().clone());
    let before = host.visible();
    let _door = pruned(&host);
    let kept = host.visible();
    let mut bytes = 0;
    for (key, content) in before.iter().filter(|(key, _)| key.contains("/data/") && !kept.contains_key(*key))
    {
        bytes += content.len() as u64;
        host.bucket.put(key, content).unwrap();
    }
    seen_on_six_days(&host);
    // As much as passes in a second does so at once.
    let beyond = bytes.checked_sub(RATE).unwrap();
    assert!(beyond >= RATE, "too little to tell the pace by: {bytes} bytes");
    let began = Instant::now();
    let paced = [&PURGE[..], &["--bytes-per-second", "256KiB"]].concat();
    let purged = maintain_at_time("+15d", &host.server.place(), &paced).expect_code(0).json();
    assert_eq!(purged[0]["outcome"], "purged", "{purged}");
    assert!(began.elapsed() >= Duration::from_millis(beyond * 1000 / RATE), "{:?}", began.elapsed());
}

/// A113: A thief of maintenance's key of the store purges what is past its delay, to be rid of it before anybody looks.
fn a_purge_with_maintenances_own_key_is_left_to_the_store(s3: &S3) {
    let host = host_with_five_backups(s3);
    let door = pruned(&host);
    seen_on_six_days(&host);
    let (visible, before) = (host.visible(), host.bucket.snapshot());
    for _ in 0..2 {
        let left = maintain_at_time("+15d", &host.server.place(), &PURGE).expect_code(0).json();
        let reason = left[0]["reason"].as_str().unwrap();
        assert!(reason.contains("wait for the bucket's lifecycle rule"), "{left}");
        assert_eq!((&left[0]["outcome"], &left[0]["removed_files"]), (&"kept".into(), &0.into()), "{left}");
    }
    assert!(host.visible() == visible, "nothing that is visible is gone");
    assert_eq!(before.lost_in(&host.bucket.snapshot()), Vec::<String>::new());
    // As long as the store keeps it, it comes back.
    let _ = door.run_command(&["undelete", &door.one_batch()]).expect_code(0);
    host.assert_all_restore();
}

fn what_object_lock_keeps_is_named_and_the_rest_of_the_batch_is_purged(s3: &S3) {
    let owner = |roles: &Roles| roles.owner.access().clone();
    let host = host_in(s3, Kind::Locked, 0, owner, |_| {}, |server| server);
    let before = host.visible();
    let door = pruned(&host);
    let (kept, bucket) = (host.visible(), host.bucket.snapshot());
    let pack = before.keys().find(|key| key.contains("/data/") && !kept.contains_key(*key)).unwrap();
    let version = bucket.versions(pack).first().unwrap();
    let until = SystemTime::now() + Duration::from_hours(24 * 400);
    let retention = ObjectLockRetention::builder()
        .mode(ObjectLockRetentionMode::Governance)
        .retain_until_date(DateTime::from(until))
        .build();
    let locked = host.bucket.ask(|client| {
        let put = client.put_object_retention().bucket(host.bucket.name()).key(pack);
        put.version_id(&version.id).retention(retention).send()
    });
    drop(locked.unwrap());
    seen_on_six_days(&host);
    let files = door.deleted()[0]["files"].as_u64().unwrap();

    let purged = maintain_at_time("+15d", &host.server.place(), &PURGE).expect_code(0).json();
    let day = DateTime::from(until).to_string();
    let (date, _) = day.split_once('T').unwrap();
    let reason = purged[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("{}: Object Lock keeps it until {date}", name_of(pack))), "{purged}");
    assert!(reason.contains("maintenance.purge_delay_days"), "{purged}");
    assert_eq!((&purged[0]["outcome"], &purged[0]["removed_files"]), (&"purged".into(), &(files - 1).into()));
    assert_eq!(door.deleted()[0]["files"], 1);
    assert!(host.visible() == kept, "nothing that is visible is gone");
    host.restic.check();
}
