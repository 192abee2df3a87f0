//! Maintenance of a local directory, beside hosts that store in it.

use pawl_keeper::testing::{keeper, maintenance_keeper};

use super::*;
use crate::conformance::Fixture;
use crate::conformance::maintenance::{Both, maintenance_suite};
use crate::local::LocalStore;

/// A directory as hosts and as maintenance see it.
pub(super) fn both() -> Both<LocalStore, LocalMaintenance, tempfile::TempDir> {
    let data = tempfile::tempdir().unwrap();
    let store = LocalStore::open(data.path(), keeper(data.path(), false)).unwrap();
    let maintenance = LocalMaintenance::open(data.path(), maintenance_keeper(data.path())).unwrap();
    Both { hosts: Fixture { store, place: data }, maintenance }
}

maintenance_suite!(local, both());

#[tokio::test]
async fn a_store_for_reading_does_nothing() {
    let f = both();
    f.hosts.initialised().await;
    let reader = LocalMaintenance::open_for_reading(f.hosts.place.path()).unwrap();
    let (web1, admin) = ("web1".parse().unwrap(), "admin".parse().unwrap());
    assert!(reader.begin_batch(&web1, &admin, Reason::Deleted).await.is_err());
    assert_eq!(reader.repositories().await.unwrap(), vec![web1]);
}

#[tokio::test]
async fn the_frontend_of_hosts_cannot_write_into_the_audit_log_of_maintenance() {
    let data = tempfile::tempdir().unwrap();
    let not_of_maintenance = keeper(data.path(), false);
    let store = LocalMaintenance::open(data.path(), not_of_maintenance).unwrap();
    let (web1, handle) = ("web1".parse().unwrap(), Handle::Config);
    assert!(store.auditor.tell_of_file(Act::Hide, &web1, &handle, None).await.is_err());
}
