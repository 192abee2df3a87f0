//! A suspension of locks, from its beginning to its end.
//!
//! Invariant: it is never said to last longer than a door heeds it, and is renewed well before its end, so that it holds
//! for as long as this process lives and wants it, and soon ends if it does not.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pawl_policy::{FileId, LOCKS_SUSPENDED_MAX_MS, RepositoryName};
use tokio::time::sleep;

use super::sight::Sight;
use crate::maintenance::session::Session;
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
pub(super) struct Suspension<'a> {
    session: &'a Session,
    sight: &'a Sight,
    repository: &'a RepositoryName,
    until_ms: AtomicU64,
}

impl<'a> Suspension<'a> {
    pub(super) async fn begin(
        session: &'a Session,
        sight: &'a Sight,
        repository: &'a RepositoryName,
    ) -> Result<Self, StoreError> {
        let this = Self { session, sight, repository, until_ms: AtomicU64::new(0) };
        if let Err(error) = this.renew().await {
            // It may have begun all the same.
            let _ = session.store.resume_locks(repository).await;
            return Err(error);
        }
        tracing::warn!(%repository, "locks do not go away; new ones of hosts are suspended");
        Ok(this)
    }

    async fn renew(&self) -> Result<(), StoreError> {
        let until_ms = now_ms().saturating_add(LASTS_MS);
        self.session.store.suspend_locks(self.repository, until_ms).await?;
        self.until_ms.store(until_ms, Ordering::Relaxed);
        self.sight.prolong(self.repository, until_ms);
        Ok(())
    }

    /// Renews it as long as it is needed.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            sleep(LOOKED_AFTER_EVERY).await;
            if self.until_ms.load(Ordering::Relaxed).saturating_sub(now_ms()) >= RENEWED_BELOW_MS {
                continue;
            }
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, repository = %self.repository, "the suspension of locks cannot be renewed yet");
            }
        }
    }

    /// From now on, and as long as the suspension holds, our restic sees no lock but its own.
    pub(super) fn see_only_own(&self) {
        self.sight.only_own(self.repository, self.until_ms.load(Ordering::Relaxed));
    }

    /// Ends it. Returns locks that our restic was not shown.
    pub(super) async fn lift(self) -> BTreeSet<FileId> {
        let ignored = self.sight.all_again(self.repository);
        if let Err(error) = self.session.store.resume_locks(self.repository).await {
            tracing::warn!(%error, repository = %self.repository, "locks stay suspended for up to 40 minutes");
        }
        ignored
    }
}
