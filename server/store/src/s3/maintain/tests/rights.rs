//! Maintenance with the credential that `pawl policy s3` describes, and with no more rights than that.

use pawl_keeper::testing::maintenance_keeper;
use pawl_policy::{FileType, Handle};
use pawl_tests::bucket::Kind;
use pawl_tests::roles::Roles;
use pawl_tests::s3::S3;

use super::{content, deletion, id_of, moto, permit_for, rgw};
use crate::Created;
use crate::conformance::repository;
use crate::maintenance::{Hid, MaintenanceStore, Purged, Reason};
use crate::s3::S3Store;
use crate::s3::maintain::S3Maintenance;
use crate::s3::tests::settings;
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_without_the_right_is_left_to_the_store_on_moto() {
    is_left_to_the_store(moto()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Ceph RGW: scripts/test --full"]
async fn a_purge_without_the_right_is_left_to_the_store_on_ceph_rgw() {
    is_left_to_the_store(rgw()).await;
}

async fn is_left_to_the_store(server: S3) {
    let roles = Roles::new(&server, "some/prefix", Kind::Versioned);
    let state = tempfile::tempdir().unwrap();
    let settings = settings(&roles.owner.with(&roles.maintenance), state.path());
    let keeper = maintenance_keeper(state.path());
    let store = S3Store::open_for_maintenance(settings, keeper.clone(), None).await.unwrap();
    let maintenance = S3Maintenance::new(store, Some(keeper)).unwrap();
    let bytes = content(1, 100);
    let (id, web1) = (id_of(&bytes), repository());
    let handle = Handle::File(FileType::Data, id);
    let key = format!("some/prefix/{web1}/data/{}/{id}", &id.to_string()[..2]);
    let _ = roles.owner.put(&format!("some/prefix/{web1}/config"), b"config").unwrap();
    let _ = roles.owner.put(&key, &bytes).unwrap();

    let admin = "admin".parse().unwrap();
    let batch = maintenance.begin_batch(&web1, &admin, Reason::Deleted).await.unwrap().id;
    assert_eq!(maintenance.hide(&deletion(handle), &batch).await.unwrap(), Hid::Now);
    let before = roles.owner.snapshot();
    for _ in 0..2 {
        let purged = maintenance.purge(&permit_for(&batch), &handle).await.unwrap();
        assert_eq!(purged, Purged::LeftToTheStore);
    }
    assert!(maintenance.end_batch(&batch).await.is_err(), "the file is still pending");
    assert_eq!(before.lost_in(&roles.owner.snapshot()), [""; 0]);
    assert_eq!(maintenance.bring_back(&batch, &handle).await.unwrap(), Created::Stored);
    assert_eq!(roles.owner.get(&key).unwrap(), bytes);
}
