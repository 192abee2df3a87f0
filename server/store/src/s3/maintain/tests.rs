//! Maintenance of a bucket against real S3 servers, and after somebody was at it with a key of the store.

use pawl_keeper::testing::maintenance_keeper;
use pawl_policy::{FileType, Handle, RepositoryName};
use pawl_tests::bucket::Kind;
use pawl_tests::faults::{Fault, Which};
use pawl_tests::moto::Moto;
use pawl_tests::rgw::Rgw;
use pawl_tests::s3::S3;

use super::*;
use crate::conformance::maintenance::{Both, deletion, maintenance_suite, permit_for};
use crate::conformance::{Fixture, Outcome, content, id_of, key, upload};
use crate::s3::tests::{Place as Server, behind_a_line, fixture};

mod locking;
mod lost;
mod rights;
mod tampering;

/// A bucket as hosts and as maintenance see it.
async fn both(server: S3) -> Both<S3Store, S3Maintenance, Server> {
    with_maintenance(fixture(server).await)
}

fn with_maintenance(hosts: Fixture<S3Store, Server>) -> Both<S3Store, S3Maintenance, Server> {
    let keeper = maintenance_keeper(hosts.place.state());
    let maintenance = S3Maintenance::new(hosts.store.clone(), Some(keeper)).unwrap();
    Both { hosts, maintenance }
}

fn moto() -> S3 {
    S3::Moto(Moto::shared())
}

fn rgw() -> S3 {
    S3::Rgw(Rgw::running())
}

maintenance_suite!(on_moto, both(moto()).await);
maintenance_suite!(
    #[ignore = "needs Ceph RGW: scripts/test --full"]
    on_ceph_rgw,
    both(rgw()).await
);

#[tokio::test(flavor = "multi_thread")]
async fn a_store_for_reading_does_nothing() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let reader = S3Maintenance::new(f.hosts.store.clone(), None).unwrap();
    let (web1, admin) = ("web1".parse().unwrap(), "admin".parse().unwrap());
    assert!(reader.begin_batch(&web1, &admin, Reason::Deleted).await.is_err());
    assert_eq!(reader.repositories().await.unwrap(), vec![web1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_whose_reply_is_lost_is_there_all_the_same() {
    let f = with_maintenance(behind_a_line().await);
    f.hosts.initialised().await;
    let handle = f.stored(FileType::Data, &content(1, 1000)).await;
    f.hosts.fail(Which::first("PUT", "/.pawl/deleted/"), Fault::LoseAnswer);
    let batch = f.begin(Reason::Deleted).await;
    f.hosts.fail(Which::first("PUT", "/.pawl/deleted/"), Fault::LoseAnswer);
    assert_eq!(f.hide(handle, &batch).await, Hid::Now);
    f.hosts.fail(Which::first("PUT", "/.pawl/maintenance/lock"), Fault::LoseAnswer);
    f.maintenance.lock("one").await.unwrap().give_back().await;
    assert_eq!(f.hosts.place.line().faults(), 3);
    assert_eq!(f.hidden(&batch).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_versions_is_refused() {
    let server = moto();
    let bucket = server.bucket("plain", Kind::Plain);
    let state = tempfile::tempdir().unwrap();
    let mut settings = crate::s3::tests::settings(&bucket, state.path());
    settings.accept.push(pawl_config::s3::Weakness::Unversioned);
    let store = S3Store::open_for_reading(settings, None).await.unwrap();
    assert!(matches!(S3Maintenance::new(store, None), Err(OpenError::NoVersions)));
}
