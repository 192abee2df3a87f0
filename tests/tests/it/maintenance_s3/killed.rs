//! `kill -9` in the middle of a restoration and of a purge. Run again, it completes.

use std::time::Duration;

use pawl_tests::faults::{Fault, Which};
use pawl_tests::maintenance::{maintain_at_time, start_at_time};
use pawl_tests::on_each_s3;
use pawl_tests::program::Run;
use pawl_tests::s3::S3;
use pawl_tests::wait;

use super::host::{Host, PRUNE, VERSION, host, host_with_five_backups};
use super::thief::{add_junk, attack};

on_each_s3! {
    a_restoration_in_a_bucket_that_is_killed_is_completed_by_the_next,
    a_purge_of_a_bucket_that_is_killed_is_completed_by_the_next,
}

/// Requests of Pawl's that change something in the bucket.
fn changes(host: &Host) -> usize {
    let changes = ["PUT ", "DELETE "];
    host.line.seen().iter().filter(|line| changes.iter().any(|method| line.starts_with(method))).count()
}

/// Kills it once it has changed so much. Says whether it was still at work.
fn kill_after(host: &Host, mut run: Run, more: usize) -> bool {
    let before = changes(host);
    wait::until("something was changed", || {
        (changes(host) >= before + more || run.has_ended()).then_some(())
    });
    let was_at_work = !run.has_ended();
    run.kill();
    // What it had asked of the store must not change what the test looks at.
    host.line.wait_until_quiet();
    was_at_work
}

/// Drill 5, restoration.
fn a_restoration_in_a_bucket_that_is_killed_is_completed_by_the_next(s3: &S3) {
    let host = host_with_five_backups(s3);
    add_junk(&host, 60);
    let before = host.visible();
    for (number, key) in before.keys().filter(|key| !key.ends_with("/config")).enumerate() {
        attack(&host, number, key);
    }
    let mut cut = 0;
    for more in [3, 20, 50, 90] {
        let run = host.start_maintaining(&["restore", "web1"]);
        cut += usize::from(kill_after(&host, run, more));
        host.assert_nothing_lost(&before);
        // Nothing is half: what is visible is as it was, or as the thief left it.
        for (key, content) in host.visible() {
            assert!(content == before[&key] || content == b"overwritten by a thief", "{key}");
        }
    }
    assert!(cut >= 2, "only {cut} runs were cut");
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    assert!(host.visible() == before, "every file is as it was");
    let _ = host.maintain(&["verify", "--all"]).expect_code(0);
    host.assert_all_restore();
}

/// Drill 5, purge, with a credential that may remove versions.
fn a_purge_of_a_bucket_that_is_killed_is_completed_by_the_next(s3: &S3) {
    let host = host(s3, 0, |roles| roles.owner.access().clone());
    let mut door = host.door();
    door.restic(VERSION, "web1").succeed(PRUNE);
    door.stop();
    let purge = ["purge", "--assume-clock-synced"];
    let place = host.server.place();
    for day in 1..=6 {
        let _ = maintain_at_time(&format!("+{day}d"), &place, &purge).expect_code(0);
    }
    let (visible, versions) = (host.visible(), host.bucket.snapshot());
    // Slow enough that it is still at work then.
    host.line.add(Which::all("DELETE", ""), Fault::Delay(Duration::from_millis(200)));
    assert!(kill_after(&host, start_at_time("+15d", &place, &purge), 12));
    host.line.heal();
    let lost = versions.lost_in(&host.bucket.snapshot()).len();
    let _ = host.measured("purge", || maintain_at_time("+15d", &place, &purge)).expect_code(0);
    assert!(versions.lost_in(&host.bucket.snapshot()).len() > lost);
    assert_eq!(door.deleted().len(), 0);
    assert!(host.visible() == visible, "nothing that is visible is gone");
    host.restic.check();
    host.assert_restores(&host.restic, 4);
}
