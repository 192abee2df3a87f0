//! Maintenance of a bucket against real S3 servers, and after somebody was at it with a key of the store.

use pawl_policy::{FileType, Handle, RepositoryName};
use pawl_tests::bucket::Kind;
use pawl_tests::moto::Moto;
use pawl_tests::rgw::Rgw;
use pawl_tests::s3::S3;

use super::*;
use crate::keeper::testing::maintenance_keeper;
use crate::store::conformance::maintenance::{Both, deletion, judged_ripe, maintenance_suite};
use crate::store::conformance::{Outcome, content, id_of, key, upload};
use crate::store::s3::tests::{Place as Server, fixture};

mod locking;
mod rights;
mod tampering;

/// A bucket as hosts and as maintenance see it.
async fn both(server: S3) -> Both<S3Store, S3Maintenance, Server> {
    let hosts = fixture(server).await;
    let keeper = maintenance_keeper(hosts.place.state());
    let maintenance = S3Maintenance::new(hosts.store.clone(), Some(keeper)).unwrap();
    Both { hosts, maintenance }
}

fn moto() -> S3 {
    S3::Moto(Moto::start())
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
async fn a_bucket_without_versions_is_refused() {
    let server = moto();
    let bucket = server.bucket("plain", Kind::Plain);
    let state = tempfile::tempdir().unwrap();
    let mut settings = crate::store::s3::tests::settings(&bucket, state.path());
    settings.accept.push(crate::store::s3::settings::Weakness::Unversioned);
    let store = S3Store::open_for_reading(settings, state.path(), None).await.unwrap();
    assert!(matches!(S3Maintenance::new(store, None), Err(OpenError::NoVersions)));
}
