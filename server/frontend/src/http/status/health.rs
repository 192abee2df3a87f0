//! Whether backups can be taken at this moment.
//!
//! Invariant: a verdict is a second old at most, and a store that says nothing is not ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pawl_store::{Observed, Space, StoreError};

use super::recent::Recent;
use crate::http::metrics::Metrics;

/// Less room than this is as good as none: four of restic's usual packs, on their way at once.
const ROOM_BYTES_MIN: u64 = 64 << 20;
/// A disk on which that would be much needs a hundredth of itself.
const ROOM_PARTS: u64 = 100;

/// Why backups cannot be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Unready {
    #[error("the keeper does not answer")]
    Silent,
    #[error("no space left")]
    Full,
    #[error("no inodes left, as `df -i` shows")]
    NoInodes,
    #[error("nothing can be stored: {0}")]
    Failed(String),
}

impl Unready {
    /// What whoever asks is told. Nothing of the system's own words.
    pub(super) const fn cause(&self) -> &'static str {
        match self {
            Self::Silent => "the keeper does not answer",
            Self::Full => "no space left",
            Self::NoInodes => "no inodes left",
            Self::Failed(_) => "nothing can be stored, see the server's log",
        }
    }
}

impl From<StoreError> for Unready {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::NotFound | StoreError::Unavailable(_) => Self::Failed(error.to_string()),
        }
    }
}

type Verdict = Result<(), Unready>;

const SILENT: Verdict = Err(Unready::Silent);

pub(super) struct Health<S> {
    store: S,
    metrics: Arc<Metrics>,
    was_ready: AtomicBool,
    verdict: Recent<Verdict>,
}

impl<S: Observed + Clone> Health<S> {
    pub(super) fn new(store: S, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, was_ready: AtomicBool::new(true), verdict: Recent::new() }
    }

    /// The verdict of a moment ago, or a new one.
    pub(super) async fn verdict(&self) -> Verdict {
        let check = || check(self.store.clone(), Arc::clone(&self.metrics));
        let verdict = self.verdict.find(check, |verdict| self.note(verdict.unwrap_or(&SILENT))).await;
        verdict.unwrap_or(SILENT)
    }

    fn note(&self, verdict: &Verdict) {
        let was_ready = self.was_ready.swap(verdict.is_ok(), Ordering::Relaxed);
        match verdict {
            Err(unready) if was_ready => tracing::error!(cause = %unready, "backups cannot be taken"),
            Ok(()) if !was_ready => tracing::info!("backups can be taken again"),
            Ok(()) | Err(_) => {}
        }
        self.metrics.note_ready(verdict.is_ok());
    }
}

async fn check(store: impl Observed, metrics: Arc<Metrics>) -> Verdict {
    let space = store.space().await?;
    if let Some(space) = space {
        metrics.note_space(space);
    }
    store.probe().await?;
    match space {
        Some(space) if space.lacks_inodes => Err(Unready::NoInodes),
        Some(space) if is_full(space) => Err(Unready::Full),
        _ => Ok(()),
    }
}

fn is_full(space: Space) -> bool {
    space.room_bytes < ROOM_BYTES_MIN.min(space.size_bytes / ROOM_PARTS)
}

#[cfg(test)]
mod tests {
    use pawl_policy::{FileType, RepositoryName, Usage};
    use tokio::sync::watch;
    use tokio::time::advance;

    use super::*;
    use crate::http::status::recent::STANDS;

    /// A store that counts how often it is troubled, and answers while it is awake.
    #[derive(Clone)]
    struct Counting {
        probes: watch::Sender<u32>,
        awake: watch::Sender<bool>,
    }

    impl Counting {
        fn new() -> Self {
            Self { probes: watch::Sender::new(0), awake: watch::Sender::new(true) }
        }

        fn probes(&self) -> u32 {
            *self.probes.borrow()
        }

        fn health(&self) -> Health<Self> {
            Health::new(self.clone(), Arc::new(Metrics::new(0)))
        }
    }

    impl Observed for Counting {
        async fn space(&self) -> Result<Option<Space>, StoreError> {
            let bytes = 1 << 40;
            Ok(Some(Space { free_bytes: bytes, room_bytes: bytes, size_bytes: bytes, lacks_inodes: false }))
        }

        async fn probe(&self) -> Result<(), StoreError> {
            self.probes.send_modify(|probes| *probes += 1);
            let _ = self.awake.subscribe().wait_for(|awake| *awake).await;
            Ok(())
        }

        async fn usages(
            &self,
            _: Vec<RepositoryName>,
        ) -> Result<Vec<(RepositoryName, Option<Usage>)>, StoreError> {
            Ok(Vec::new())
        }

        async fn last_received(&self, _: &RepositoryName, _: FileType) -> Result<Option<u64>, StoreError> {
            Ok(None)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_not_ready_until_it_does() {
        let store = Counting::new();
        let health = store.health();
        assert!(health.verdict().await.is_ok());
        store.awake.send_replace(false);
        for _ in 0..10 {
            advance(STANDS).await;
            assert!(matches!(health.verdict().await, Err(Unready::Silent)));
            assert!(health.metrics.text().contains("pawl_ready 0\n"));
        }
        assert_eq!(store.probes(), 2);
        store.awake.send_replace(true);
        advance(STANDS).await;
        assert!(health.verdict().await.is_ok());
        assert!(health.metrics.text().contains("pawl_ready 1\n"));
    }

    #[test]
    fn a_disk_is_full_before_its_last_byte_and_a_large_one_not_for_a_hundredth() {
        for (room_bytes, size_bytes, full) in [
            (0, 1 << 40, true),
            (ROOM_BYTES_MIN - 1, 1 << 40, true),
            (ROOM_BYTES_MIN, 1 << 40, false),
            (24 << 20, 24 << 20, false),
            (1 << 20, 24 << 20, false),
            (100 << 10, 24 << 20, true),
        ] {
            let space = Space { free_bytes: size_bytes, room_bytes, size_bytes, lacks_inodes: false };
            assert_eq!(is_full(space), full, "{room_bytes} of {size_bytes}");
        }
    }
}
