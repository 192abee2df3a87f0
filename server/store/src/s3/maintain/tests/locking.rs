//! The lock of maintenance, taken by several machines.
//!
//! Invariant: at no moment two hold it, whatever one of them missed.

use std::time::Duration;

use futures_util::future::join_all;

use super::*;
use crate::s3::maintain::lease_timing::LeaseTiming;

/// A life in seconds: S3 tells whole ones. Some, as a store on a busy machine takes its time.
const QUICK: LeaseTiming = LeaseTiming {
    beat_every: Duration::from_millis(500),
    silent_max: Duration::from_secs(20),
    expired: Duration::from_secs(30),
    turn_expired: Duration::from_secs(40),
};

/// For what must not expire while it is looked at.
const SLOW: LeaseTiming = LeaseTiming {
    beat_every: Duration::from_mins(1),
    silent_max: Duration::from_mins(30),
    expired: Duration::from_hours(1),
    turn_expired: Duration::from_hours(1),
};

async fn past_expiry() {
    tokio::time::sleep(QUICK.expired + Duration::from_secs(1)).await;
}

fn refusal(taken: Result<MaintenanceLock, StoreError>) -> String {
    taken.map(drop).unwrap_err().to_string()
}

/// Each test on both servers.
macro_rules! on_each {
    ($($name:ident)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_moto() {
                super::$name(both(moto()).await.maintenance).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs Ceph RGW: scripts/test --full"]
            async fn on_ceph_rgw() {
                super::$name(both(rgw()).await.maintenance).await;
            }
        })*
    };
}

on_each! {
    of_two_machines_at_once_one_gets_the_lock
    a_holder_that_shows_that_it_lives_keeps_it
    an_expired_lock_is_taken_over_and_its_holder_notices
    of_two_that_take_over_at_once_one_gets_the_lock
    a_run_of_the_same_machine_takes_over_at_once
    a_lock_that_changed_hands_is_not_removed_for_the_one_before
    of_many_machines_at_once_one_gets_the_lock
    whoever_is_not_alone_steps_back
    a_turn_that_was_cut_off_is_not_waited_for_for_ever
}

async fn of_two_machines_at_once_one_gets_the_lock(this: S3Maintenance) {
    for _ in 0..5 {
        let (one, other) = tokio::join!(this.lock("one"), this.lock("other"));
        let (winner, loser) = if one.is_ok() { (one, other) } else { (other, one) };
        assert!(refusal(loser).contains("other maintenance is at work"));
        winner.unwrap().give_back().await;
    }
}

async fn a_holder_that_shows_that_it_lives_keeps_it(this: S3Maintenance) {
    let held = this.lock_with("one", QUICK).await.unwrap();
    let ended = tokio::time::timeout(QUICK.expired + QUICK.silent_max, held.keep()).await;
    assert!(ended.is_err(), "it was held all the time: {ended:?}");
    assert!(refusal(this.lock_with("other", QUICK).await).contains("other maintenance is at work"));
    held.give_back().await;
    this.lock_with("other", QUICK).await.unwrap();
}

async fn an_expired_lock_is_taken_over_and_its_holder_notices(this: S3Maintenance) {
    let stalled = this.lock_with("one", QUICK).await.unwrap();
    assert!(refusal(this.lock_with("other", QUICK).await).contains("other maintenance is at work"));
    past_expiry().await;
    let held = this.lock_with("other", QUICK).await.unwrap();
    let noticed = tokio::time::timeout(Duration::from_mins(1), stalled.keep()).await.unwrap();
    assert!(noticed.to_string().contains("has taken the lock"), "{noticed}");
    stalled.give_back().await;
    assert!(refusal(this.lock_with("third", QUICK).await).contains("machine other"));
    held.give_back().await;
    this.lock_with("third", QUICK).await.unwrap();
}

async fn of_two_that_take_over_at_once_one_gets_the_lock(this: S3Maintenance) {
    let _stalled = this.lock_with("stalled", QUICK).await.unwrap();
    past_expiry().await;
    let (one, other) = tokio::join!(this.lock_with("one", QUICK), this.lock_with("other", QUICK));
    assert!(one.is_err() || other.is_err(), "both hold it");
    assert!(one.is_ok() || other.is_ok(), "nobody got it: {one:?} {other:?}");
}

async fn a_run_of_the_same_machine_takes_over_at_once(this: S3Maintenance) {
    let killed = this.lock("one").await.unwrap();
    let held = this.lock("one").await.unwrap();
    killed.give_back().await;
    assert!(refusal(this.lock("other").await).contains("machine one"));
    held.give_back().await;
}

async fn a_lock_that_changed_hands_is_not_removed_for_the_one_before(this: S3Maintenance) {
    let judged = this.lock("one").await.unwrap();
    let etag = this.lock_holder().await.unwrap().unwrap().etag;
    judged.give_back().await;
    let _held = this.lock("two").await.unwrap();
    let _ = this.end_lock(etag).await;
    assert!(refusal(this.lock("three").await).contains("machine two"));
}

async fn of_many_machines_at_once_one_gets_the_lock(this: S3Maintenance) {
    let machines = ["one", "two", "three"];
    let (held, refused): (Vec<_>, Vec<_>) =
        join_all(machines.map(|machine| this.lock(machine))).await.into_iter().partition(Result::is_ok);
    assert_eq!(held.len(), 1, "{refused:?}");
    for lock in refused {
        assert!(refusal(lock).contains("other maintenance is at work"));
    }
}

/// Whatever the store lets win: of two that look for each other, none comes so far as to try.
async fn whoever_is_not_alone_steps_back(this: S3Maintenance) {
    let turn = this.turn("one", SLOW).await.unwrap();
    assert!(refusal(this.lock_with("other", SLOW).await).contains("other maintenance is at work"));
    assert!(this.lock_holder().await.unwrap().is_none(), "it was not even tried");
    turn.end(&this).await;
    this.lock_with("other", QUICK).await.unwrap().give_back().await;

    let _cut_off = this.turn("one", QUICK).await.unwrap();
    this.lock_with("one", QUICK).await.unwrap(); // a machine does not wait for itself
}

async fn a_turn_that_was_cut_off_is_not_waited_for_for_ever(this: S3Maintenance) {
    let _cut_off = this.turn("one", QUICK).await.unwrap();
    tokio::time::sleep(QUICK.turn_expired + Duration::from_secs(2)).await;
    this.lock_with("other", QUICK).await.unwrap();
}
