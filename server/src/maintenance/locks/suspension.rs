//! A suspension of locks, from its beginning to its end.
//!
//! Invariant: it is never said to last longer than a door heeds it, and is renewed well before its end, so that it holds
//! for as long as somebody in this process wants it. Whoever drops it ends it, and if the process is killed it ends by
//! itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pawl_policy::{FileId, LOCKS_SUSPENDED_MAX_MS, RepositoryName};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::sight::Sight;
use crate::maintenance::session::Session;
use crate::store::either::EitherMaintenance;
use crate::store::locks::LockStore;
use crate::store::{StoreError, now_ms};

/// By so much the clock of a door may be behind, for it to heed what is written here.
const CLOCKS_DIFFER_MS: u64 = 5 * 60 * 1000;
/// How far ahead it ends.
const LASTS_MS: u64 = LOCKS_SUSPENDED_MAX_MS - CLOCKS_DIFFER_MS;
/// It is renewed when less is left, which leaves time for a store that fails for a while.
const RENEWED_BELOW_MS: u64 = 20 * 60 * 1000;
const LOOKED_AFTER_EVERY: Duration = Duration::from_mins(1);

/// New locks of hosts are refused.
#[derive(Debug)]
pub(super) struct Suspension {
    mark: Mark,
    /// Dropped, it says the same.
    enough: oneshot::Sender<()>,
    kept: JoinHandle<()>,
}

/// The mark that says so.
#[derive(Debug, Clone)]
struct Mark {
    store: EitherMaintenance,
    sight: Sight,
    repository: RepositoryName,
    until_ms: Arc<AtomicU64>,
}

impl Suspension {
    /// Begins one that lasts until it is lifted or dropped.
    pub(super) async fn begin(session: &Session, repository: &RepositoryName) -> Result<Self, StoreError> {
        let (store, sight) = (session.store.clone(), session.sight.clone());
        let mark = Mark { store, sight, repository: repository.clone(), until_ms: Arc::default() };
        let (enough, wanted) = oneshot::channel();
        if let Err(error) = mark.renew().await {
            mark.remove().await; // it may have begun all the same
            return Err(error);
        }
        tracing::warn!(%repository, "locks do not go away; new ones of hosts are suspended");
        let kept = tokio::spawn(mark.clone().keep(wanted));
        Ok(Self { mark, enough, kept })
    }

    /// From now on, and as long as the suspension holds, our restic sees no lock but its own.
    pub(super) fn see_only_own(&self) {
        let Mark { sight, repository, until_ms, .. } = &self.mark;
        sight.only_own(repository, until_ms.load(Ordering::Relaxed));
    }

    /// Ends it. Returns locks that our restic was not shown.
    pub(super) async fn lift(self) -> BTreeSet<FileId> {
        let Self { mark, enough, kept } = self;
        mark.sight.see_all(&mark.repository);
        drop(enough);
        if let Err(error) = kept.await {
            tracing::error!(%error, "a suspension of locks was not looked after to its end");
            mark.remove().await;
        }
        mark.sight.ignored(&mark.repository)
    }
}

impl Mark {
    /// Renews it as long as it is wanted, and then removes it.
    async fn keep(self, mut wanted: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut wanted => break,
                () = sleep(LOOKED_AFTER_EVERY) => {}
            }
            let left_ms = self.until_ms.load(Ordering::Relaxed).saturating_sub(now_ms());
            if left_ms >= RENEWED_BELOW_MS {
                continue;
            }
            if left_ms == 0 {
                // Hosts may have locks again, which count for our restic from now on.
                tracing::warn!(repository = %self.repository, "the suspension of locks was over before it was to be");
                self.sight.see_all(&self.repository);
                let _ = (&mut wanted).await;
                break;
            }
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, repository = %self.repository, "the suspension of locks cannot be renewed yet");
            }
        }
        self.sight.see_all(&self.repository);
        self.remove().await;
    }

    async fn renew(&self) -> Result<(), StoreError> {
        let until_ms = now_ms().saturating_add(LASTS_MS);
        self.store.suspend_locks(&self.repository, until_ms).await?;
        self.until_ms.store(until_ms, Ordering::Relaxed);
        self.sight.prolong(&self.repository, until_ms);
        Ok(())
    }

    async fn remove(&self) {
        if let Err(error) = self.store.resume_locks(&self.repository).await {
            tracing::warn!(%error, repository = %self.repository, "locks may stay suspended for up to 40 minutes");
        }
    }
}
