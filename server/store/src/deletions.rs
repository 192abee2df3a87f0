//! What becomes of a permitted deletion.
//!
//! Invariant: the frontend has [`NoDeletions`], which does nothing and never can; only a frontend that was built with
//! a [`MaintenanceStore`] carries deletions out, and it does so by hiding.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use pawl_config::hint;
use pawl_policy::{BatchId, Delete, LOCK_EXPIRES_AFTER_MS, Permitted, PrincipalName, RepositoryName};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::StoreError;
use crate::maintenance::{Hid, MaintenanceStore, Reason};

/// After so long without a deletion or a lock of its principal a batch is complete. restic renews its lock every 5
/// minutes.
const GAP_MAX: Duration = Duration::from_mins(10);
/// And in any case after so long, so that a batch cannot be kept open for ever.
const BATCH_TIME_MAX: Duration = Duration::from_hours(24);
/// A run that was killed leaves its lock, which expires.
const LOCK_TIME_MAX: Duration = Duration::from_millis(LOCK_EXPIRES_AFTER_MS);

/// Why a deletion was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// This frontend deletes nothing.
    #[error("not at this server")]
    NotHere,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a file that somebody asked to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The file is hidden, or there was none.
    Hidden,
    /// The file stays visible: restic's prune may not remove it yet.
    Kept,
}

/// Carries deletions out, or does not.
pub trait Deletions: Send + Sync + 'static {
    /// Carries one out, so that it can be undone; done as well if there is no such file.
    fn delete(
        &self,
        permit: &Permitted<Delete>,
    ) -> impl Future<Output = Result<Deleted, DeletionError>> + Send;

    /// Notes that a principal was refused a snapshot that is too young.
    fn note_kept(
        &self,
        principal: &PrincipalName,
        repository: &RepositoryName,
    ) -> impl Future<Output = ()> + Send;

    /// Whether that was so under the lock that it still holds.
    fn has_kept(
        &self,
        principal: &PrincipalName,
        repository: &RepositoryName,
    ) -> impl Future<Output = bool> + Send;

    /// Notes that a principal has no lock there any more: what it does next is another run.
    fn note_unlocked(
        &self,
        principal: &PrincipalName,
        repository: &RepositoryName,
    ) -> impl Future<Output = ()> + Send;

    /// Notes that a principal has just locked a repository, as restic does every few minutes while it works there.
    fn note_lock(
        &self,
        principal: &PrincipalName,
        repository: &RepositoryName,
    ) -> impl Future<Output = ()> + Send;
}

/// The frontend deletes nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoDeletions;

impl Deletions for NoDeletions {
    async fn delete(&self, _: &Permitted<Delete>) -> Result<Deleted, DeletionError> {
        Err(DeletionError::NotHere)
    }

    async fn note_kept(&self, _: &PrincipalName, _: &RepositoryName) {}

    async fn has_kept(&self, _: &PrincipalName, _: &RepositoryName) -> bool {
        false
    }

    async fn note_unlocked(&self, _: &PrincipalName, _: &RepositoryName) {}

    async fn note_lock(&self, _: &PrincipalName, _: &RepositoryName) {}
}

/// The maintenance server hides into batches: what one principal deletes in one repository while it goes on working there.
#[derive(Debug)]
pub struct Hiding<M> {
    store: M,
    open: Mutex<HashMap<Run, Open>>,
    /// Runs that were refused a young snapshot, and when they last showed that they are alive. restic 0.18
    /// goes on after that, and prunes what only that snapshot needs.
    kept: Mutex<HashMap<Run, Instant>>,
}

/// Who works where.
type Run = (PrincipalName, RepositoryName);

/// A batch into which more can go.
#[derive(Debug)]
struct Open {
    batch: BatchId,
    began: Instant,
    last: Instant,
}

impl Open {
    fn is_over(&self) -> bool {
        self.last.elapsed() >= GAP_MAX || self.began.elapsed() >= BATCH_TIME_MAX
    }
}

impl<M: MaintenanceStore> Hiding<M> {
    /// Hides in this store.
    #[must_use]
    pub fn new(store: M) -> Self {
        Self { store, open: Mutex::default(), kept: Mutex::default() }
    }

    /// The batch that is open, or a new one; `full` is one that cannot take the file.
    async fn batch(
        &self,
        permit: &Permitted<Delete>,
        full: Option<&BatchId>,
    ) -> Result<BatchId, DeletionError> {
        let (principal, repository) = (permit.principal(), &permit.action().repository);
        let mut open = self.open.lock().await;
        open.retain(|_, open| !open.is_over());
        let of = (principal.clone(), repository.clone());
        if let Some(open) = open.get_mut(&of).filter(|open| Some(&open.batch) != full) {
            open.last = Instant::now();
            return Ok(open.batch.clone());
        }
        let batch = self.store.begin_batch(repository, principal, Reason::Deleted).await?.id;
        let undo = hint::pawl(format!("maintain undelete {batch}"));
        tracing::info!(%batch, %principal, %repository, "deletions begin; `{undo}` undoes them");
        let now = Instant::now();
        open.insert(of, Open { batch: batch.clone(), began: now, last: now });
        Ok(batch)
    }
}

impl<M: MaintenanceStore> Deletions for Hiding<M> {
    async fn delete(&self, permit: &Permitted<Delete>) -> Result<Deleted, DeletionError> {
        let batch = self.batch(permit, None).await?;
        if self.store.hide(permit, &batch).await? != Hid::Taken {
            return Ok(Deleted::Hidden);
        }
        // Deleted, stored again and deleted again, all within minutes.
        let another = self.batch(permit, Some(&batch)).await?;
        match self.store.hide(permit, &another).await? {
            Hid::Now | Hid::Absent => Ok(Deleted::Hidden),
            Hid::Taken => {
                Err(StoreError::Unavailable(format!("batch {another} has the file already")).into())
            }
        }
    }

    async fn note_kept(&self, principal: &PrincipalName, repository: &RepositoryName) {
        self.kept.lock().await.insert((principal.clone(), repository.clone()), Instant::now());
    }

    async fn has_kept(&self, principal: &PrincipalName, repository: &RepositoryName) -> bool {
        let mut kept = self.kept.lock().await;
        kept.retain(|_, last| last.elapsed() < LOCK_TIME_MAX);
        kept.contains_key(&(principal.clone(), repository.clone()))
    }

    async fn note_unlocked(&self, principal: &PrincipalName, repository: &RepositoryName) {
        self.kept.lock().await.remove(&(principal.clone(), repository.clone()));
    }

    async fn note_lock(&self, principal: &PrincipalName, repository: &RepositoryName) {
        if let Some(last) = self.kept.lock().await.get_mut(&(principal.clone(), repository.clone())) {
            *last = Instant::now();
        }
        let mut open = self.open.lock().await;
        if let Some(open) = open.get_mut(&(principal.clone(), repository.clone()))
            && !open.is_over()
        {
            open.last = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use pawl_keeper::testing::{keeper, maintenance_keeper};
    use pawl_policy::{FileType, Handle};

    use crate::conformance::maintenance::deletion;
    use crate::conformance::{Fixture, Outcome, content, id_of};
    use crate::local::{LocalMaintenance, LocalStore};

    use super::*;

    struct Here {
        hosts: Fixture<LocalStore, tempfile::TempDir>,
        hiding: Hiding<LocalMaintenance>,
        stored: u8,
    }

    impl Here {
        async fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let store = LocalStore::open(place.path(), keeper(place.path(), false)).unwrap();
            let maintenance = LocalMaintenance::open(place.path(), maintenance_keeper(place.path())).unwrap();
            let hosts = Fixture { store, place };
            hosts.initialised().await;
            Self { hosts, hiding: Hiding::new(maintenance), stored: 0 }
        }

        /// Stores another file and deletes it.
        async fn delete_one(&mut self) {
            self.stored += 1;
            self.delete(self.stored).await;
        }

        async fn delete(&self, seed: u8) {
            let bytes = content(seed, 100);
            assert_eq!(self.hosts.create(FileType::Data, &bytes).await, Outcome::Stored);
            let permit = deletion(Handle::File(FileType::Data, id_of(&bytes)));
            self.hiding.delete(&permit).await.unwrap();
            self.hiding.delete(&permit).await.unwrap();
        }

        async fn batches(&self) -> usize {
            self.hiding.store.batches().await.unwrap().len()
        }

        async fn lock(&self) {
            let permit = deletion(Handle::Config);
            self.hiding.note_lock(permit.principal(), &permit.action().repository).await;
        }
    }

    async fn wait(minutes: u64) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(minutes)).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn a_batch_lasts_while_its_principal_deletes_or_locks_and_a_day_at_most() {
        let mut here = Here::new().await;
        here.delete_one().await;
        wait(9).await;
        here.delete_one().await;
        assert_eq!(here.batches().await, 1);
        for _ in 0..12 {
            wait(5).await;
            here.lock().await;
        }
        here.delete_one().await;
        assert_eq!(here.batches().await, 1);
        wait(11).await;
        here.lock().await; // too late
        here.delete_one().await;
        assert_eq!(here.batches().await, 2);
        for _ in 0..24 * 12 {
            wait(5).await;
            here.lock().await;
        }
        here.delete_one().await;
        assert_eq!(here.batches().await, 3);
    }

    #[tokio::test]
    async fn a_file_that_was_deleted_stored_and_deleted_again_goes_into_another_batch() {
        let here = Here::new().await;
        here.delete(1).await;
        here.delete(1).await;
        assert_eq!(here.batches().await, 2);
    }

    #[tokio::test]
    async fn that_a_snapshot_was_kept_is_forgotten_with_the_lock_or_when_that_expires() {
        let here = Here::new().await;
        let permit = deletion(Handle::Config);
        let (admin, web1) = (permit.principal(), &permit.action().repository);
        let other: PrincipalName = "other".parse().unwrap();
        here.hiding.note_kept(admin, web1).await;
        assert!(here.hiding.has_kept(admin, web1).await);
        assert!(!here.hiding.has_kept(&other, web1).await);
        here.hiding.note_unlocked(admin, web1).await;
        assert!(!here.hiding.has_kept(admin, web1).await);
        here.hiding.note_kept(admin, web1).await;
        for _ in 0..20 {
            wait(5).await;
            here.lock().await;
        }
        assert!(here.hiding.has_kept(admin, web1).await);
        wait(60).await;
        assert!(!here.hiding.has_kept(admin, web1).await);
    }

    #[tokio::test]
    async fn the_door_to_hosts_deletes_nothing() {
        let here = Here::new().await;
        let refused = NoDeletions.delete(&deletion(Handle::Config)).await;
        assert!(matches!(refused, Err(DeletionError::NotHere)));
        assert_eq!(here.batches().await, 0);
    }
}
