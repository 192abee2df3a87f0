//! What becomes of a permitted deletion.
//!
//! Invariant: the door to hosts has [`NoDeletions`], which does nothing and never can; only a door that was built with
//! a [`MaintenanceStore`] carries deletions out, and it does so by hiding.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use pawl_policy::{BatchId, Delete, Permitted, PrincipalName, RepositoryName};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::store::StoreError;
use crate::store::maintenance::{Hid, MaintenanceStore, Reason};

/// After so long without a deletion or a lock of its principal a batch is complete. restic renews its lock every 5
/// minutes.
const GAP_MAX: Duration = Duration::from_mins(10);
/// And in any case after so long, so that a batch cannot be kept open for ever.
const BATCH_TIME_MAX: Duration = Duration::from_hours(24);

/// Why a deletion was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// This door deletes nothing.
    #[error("not at this door")]
    NotHere,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Carries deletions out, or does not.
pub trait Deletions: Send + Sync + 'static {
    /// Carries one out, so that it can be undone; done as well if there is no such file.
    fn delete(&self, permit: &Permitted<Delete>) -> impl Future<Output = Result<(), DeletionError>> + Send;

    /// Notes that a principal has just locked a repository, as restic does every few minutes while it works there.
    fn note_lock(
        &self,
        principal: &PrincipalName,
        repository: &RepositoryName,
    ) -> impl Future<Output = ()> + Send;
}

/// The door to hosts deletes nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoDeletions;

impl Deletions for NoDeletions {
    async fn delete(&self, _: &Permitted<Delete>) -> Result<(), DeletionError> {
        Err(DeletionError::NotHere)
    }

    async fn note_lock(&self, _: &PrincipalName, _: &RepositoryName) {}
}

/// The maintenance door hides into batches: what one principal deletes in one repository while it goes on working there.
#[derive(Debug)]
pub struct Hiding<M> {
    store: M,
    open: Mutex<HashMap<(PrincipalName, RepositoryName), Open>>,
}

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
        Self { store, open: Mutex::default() }
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
        tracing::info!(%batch, %principal, %repository, "deletions begin; `pawl maintain undelete {batch}` undoes them");
        let now = Instant::now();
        open.insert(of, Open { batch: batch.clone(), began: now, last: now });
        Ok(batch)
    }
}

impl<M: MaintenanceStore> Deletions for Hiding<M> {
    async fn delete(&self, permit: &Permitted<Delete>) -> Result<(), DeletionError> {
        let batch = self.batch(permit, None).await?;
        if self.store.hide(permit, &batch).await? != Hid::Taken {
            return Ok(());
        }
        // Deleted, stored again and deleted again, all within minutes.
        let another = self.batch(permit, Some(&batch)).await?;
        match self.store.hide(permit, &another).await? {
            Hid::Now | Hid::Absent => Ok(()),
            Hid::Taken => {
                Err(StoreError::Unavailable(format!("batch {another} has the file already")).into())
            }
        }
    }

    async fn note_lock(&self, principal: &PrincipalName, repository: &RepositoryName) {
        let mut open = self.open.lock().await;
        if let Some(open) = open.get_mut(&(principal.clone(), repository.clone()))
            && !open.is_over()
        {
            open.last = Instant::now();
        }
    }
}
