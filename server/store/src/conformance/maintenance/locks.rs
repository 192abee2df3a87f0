//! Locks as maintenance sees them, and their suspension.

use std::collections::BTreeSet;

use pawl_policy::{FileType, Handle};

use super::Both;
use crate::AppendStore;
use crate::conformance::{content, id_of, repository};
use crate::locks::LockStore;

impl<S: AppendStore, M: LockStore, P> Both<S, M, P> {
    async fn suspended_until(&self, handle: Handle) -> Option<u64> {
        let survey = self.hosts.store.survey(&repository(), &handle).await.unwrap();
        survey.locks_suspended_until_ms
    }
}

pub(crate) async fn every_lock_is_found_with_its_facts<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: LockStore,
{
    assert_eq!(f.maintenance.locks(&repository()).await.unwrap(), vec![]);
    f.hosts.initialised().await;
    let mut expected = BTreeSet::new();
    for seed in [1, 2] {
        let lock = content(seed, 100);
        f.hosts.create(FileType::Locks, &lock).await;
        expected.insert(id_of(&lock));
    }
    let locks = f.maintenance.locks(&repository()).await.unwrap();
    assert_eq!(locks.iter().map(|lock| lock.id).collect::<BTreeSet<_>>(), expected);
    for lock in locks {
        let facts =
            f.hosts.store.facts(&repository(), &Handle::File(FileType::Locks, lock.id)).await.unwrap();
        assert_eq!(facts, Some(lock.facts));
        assert!(!lock.of_maintenance);
    }
    f.hosts.remove_lock(id_of(&content(1, 100))).await;
    assert_eq!(f.maintenance.locks(&repository()).await.unwrap().len(), 1);
}

pub(crate) async fn a_suspension_of_locks_is_seen_until_it_is_ended<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: LockStore,
{
    f.hosts.initialised().await;
    let lock = Handle::File(FileType::Locks, id_of(b"a lock"));
    let data = Handle::File(FileType::Data, id_of(b"data"));
    let other = "web1/other".parse().unwrap();
    assert_eq!(f.suspended_until(lock).await, None);
    f.maintenance.resume_locks(&repository()).await.unwrap();
    f.maintenance.suspend_locks(&other, 5000).await.unwrap();
    assert_eq!(f.suspended_until(lock).await, None);
    for until_ms in [1000, 3000, 2000, 2000] {
        f.maintenance.suspend_locks(&repository(), until_ms).await.unwrap();
        assert_eq!(f.suspended_until(lock).await, Some(until_ms));
        assert_eq!(f.suspended_until(data).await, None);
    }
    f.maintenance.resume_locks(&other).await.unwrap();
    assert_eq!(f.suspended_until(lock).await, Some(2000));
    for _ in 0..2 {
        f.maintenance.resume_locks(&repository()).await.unwrap();
        assert_eq!(f.suspended_until(lock).await, None);
    }
    f.maintenance.suspend_locks(&repository(), 4000).await.unwrap();
    assert_eq!(f.suspended_until(lock).await, Some(4000));
}
