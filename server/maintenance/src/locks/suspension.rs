//! A suspension of locks, from its beginning to its end.
//!
//! Invariant: it is never said to last longer than a server heeds it, and is renewed well before its end, so that it holds
//! for as long as somebody in this process wants it. Whoever drops it ends it, and if the process is killed it ends by
//! itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pawl_policy::{FileId, LOCKS_SUSPENDED_MAX_MS, RepositoryName};
use pawl_store::either::EitherMaintenance;
use pawl_store::locks::LockStore;
use pawl_store::{StoreError, now_ms};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::lock_filter::LockFilter;

/// By so much the clock of a server may be behind, for it to heed what is written here.
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
    sight: LockFilter,
    repository: RepositoryName,
    until_ms: Arc<AtomicU64>,
}

impl Suspension {
    /// Begins one that lasts until it is lifted or dropped.
    pub(super) async fn begin(
        store: EitherMaintenance,
        sight: LockFilter,
        repository: &RepositoryName,
    ) -> Result<Self, StoreError> {
        Self::with(Mark { store, sight, repository: repository.clone(), until_ms: Arc::default() }).await
    }

    async fn with(mark: Mark) -> Result<Self, StoreError> {
        let (enough, wanted) = oneshot::channel();
        if let Err(error) = mark.renew().await {
            mark.remove().await; // it may have begun all the same
            return Err(error);
        }
        tracing::warn!(repository = %mark.repository, "locks do not go away; new ones of hosts are suspended");
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

#[cfg(test)]
mod tests {
    use pawl_keeper::testing::maintenance_keeper;
    use pawl_store::local::LocalMaintenance;

    use super::*;

    struct Here {
        place: tempfile::TempDir,
        mark: Mark,
    }

    impl Here {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let keeper = maintenance_keeper(place.path());
            let store = EitherMaintenance::Local(LocalMaintenance::open(place.path(), keeper).unwrap());
            let (sight, repository) = (LockFilter::default(), "web1".parse().unwrap());
            Self { place, mark: Mark { store, sight, repository, until_ms: Arc::default() } }
        }

        /// How far ahead the suspension ends that hosts' servers see; `None` if there is none.
        fn left_ms(&self) -> Option<u64> {
            let mut marks = std::fs::read_dir(self.place.path().join(".pawl/suspended/web1/locks")).unwrap();
            let name = marks.next()?.unwrap().file_name().into_string().unwrap();
            assert!(marks.next().is_none(), "there is more than one");
            Some(name.parse::<u64>().unwrap().saturating_sub(now_ms()))
        }

        async fn until(&self, is_so: impl Fn(&Self) -> bool) {
            for _ in 0..20_000 {
                if is_so(self) {
                    return;
                }
                tokio::task::yield_now().await;
                std::thread::sleep(Duration::from_millis(5));
            }
            unreachable!("waited in vain");
        }
    }

    async fn a_minute_passes() {
        tokio::time::pause();
        tokio::time::advance(LOOKED_AFTER_EVERY + Duration::from_secs(1)).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn it_ends_when_it_is_lifted_and_when_it_is_dropped() {
        let here = Here::new();
        let suspension = Suspension::with(here.mark.clone()).await.unwrap();
        assert!(here.left_ms().is_some_and(|left| left > RENEWED_BELOW_MS && left <= LASTS_MS));
        suspension.lift().await;
        assert_eq!(here.left_ms(), None);
        drop(Suspension::with(here.mark.clone()).await.unwrap());
        here.until(|here| here.left_ms().is_none()).await;
    }

    #[tokio::test]
    async fn it_is_renewed_before_it_ends_and_not_once_it_was_over() {
        let here = Here::new();
        let suspension = Suspension::with(here.mark.clone()).await.unwrap();
        suspension.see_only_own();
        let other = FileId::from_sha256([1; 32]);
        let ends_in = async |ms: u64| {
            here.mark.until_ms.store(now_ms() + ms, Ordering::Relaxed);
            here.mark.store.suspend_locks(&here.mark.repository, now_ms() + ms).await.unwrap();
            tokio::task::yield_now().await;
            a_minute_passes().await;
        };
        ends_in(RENEWED_BELOW_MS - 1000).await;
        here.until(|here| here.mark.until_ms.load(Ordering::Relaxed) > now_ms() + RENEWED_BELOW_MS).await;
        assert!(here.left_ms().is_some_and(|left| left > RENEWED_BELOW_MS));
        assert!(!here.mark.sight.shows(&here.mark.repository, other));
        ends_in(0).await;
        here.until(|here| here.mark.sight.shows(&here.mark.repository, other)).await;
        assert_eq!(here.left_ms(), Some(0));
        assert_eq!(suspension.lift().await, [other].into());
        assert_eq!(here.left_ms(), None);
    }
}
