//! Whether backups can be taken at this moment.
//!
//! Invariant: at most one check is under way, and its verdict stands for a second: however often it is asked for, the
//! store and its keeper are troubled once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::http::metrics::Metrics;
use crate::store::{Observed, Space, StoreError};

/// How long the store may take to answer. A keeper that works answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a verdict stands.
const STANDS: Duration = Duration::from_secs(1);
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
    #[error("nothing can be stored: {0}")]
    Failed(String),
}

impl Unready {
    /// What whoever asks is told. Nothing of the system's own words.
    pub(super) const fn cause(&self) -> &'static str {
        match self {
            Self::Silent => "the keeper does not answer",
            Self::Full => "no space left",
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

pub(super) struct Health<S> {
    store: S,
    metrics: Arc<Metrics>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    verdict: Option<(Instant, Verdict)>,
    /// A check that took too long and may still end.
    under_way: Option<JoinHandle<Verdict>>,
}

impl<S: Observed + Clone> Health<S> {
    pub(super) fn new(store: S, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, known: Mutex::default() }
    }

    /// The verdict of a moment ago, or a new one. Those who ask meanwhile wait for the same.
    pub(super) async fn verdict(&self) -> Verdict {
        let mut known = self.known.lock().await;
        if let Some((at, verdict)) = &known.verdict
            && at.elapsed() < STANDS
        {
            return verdict.clone();
        }
        let verdict = self.ask(&mut known.under_way).await;
        let was_ready = known.verdict.as_ref().is_none_or(|(_, verdict)| verdict.is_ok());
        match &verdict {
            Err(unready) if was_ready => tracing::error!(cause = %unready, "backups cannot be taken"),
            Ok(()) if !was_ready => tracing::info!("backups can be taken again"),
            Ok(()) | Err(_) => {}
        }
        self.metrics.note_ready(verdict.is_ok());
        known.verdict = Some((Instant::now(), verdict.clone()));
        verdict
    }

    async fn ask(&self, under_way: &mut Option<JoinHandle<Verdict>>) -> Verdict {
        // One that has ended meanwhile tells of the past.
        let earlier = under_way.take().filter(|check| !check.is_finished());
        let mut check =
            earlier.unwrap_or_else(|| tokio::spawn(check(self.store.clone(), Arc::clone(&self.metrics))));
        match timeout(PATIENCE, &mut check).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => Err(Unready::Failed(error.to_string())),
            Err(_) => {
                *under_way = Some(check);
                Err(Unready::Silent)
            }
        }
    }
}

async fn check(store: impl Observed, metrics: Arc<Metrics>) -> Verdict {
    let space = store.space().await?;
    if let Some(space) = space {
        metrics.note_space(space);
    }
    store.probe().await?;
    if space.is_some_and(is_full) { Err(Unready::Full) } else { Ok(()) }
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
            Ok(Some(Space { free_bytes: 1 << 40, room_bytes: 1 << 40, size_bytes: 1 << 40 }))
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
    async fn asking_often_troubles_the_store_once_a_second() {
        let store = Counting::new();
        let health = store.health();
        for second in 1..=3 {
            for _ in 0..100 {
                assert!(health.verdict().await.is_ok());
            }
            assert_eq!(store.probes(), second);
            advance(STANDS).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_not_asked_again_until_it_does() {
        let store = Counting::new();
        let health = store.health();
        store.awake.send_replace(false);
        for _ in 0..10 {
            let started = Instant::now();
            assert!(matches!(health.verdict().await, Err(Unready::Silent)));
            assert_eq!(started.elapsed(), PATIENCE);
            advance(STANDS).await;
        }
        assert_eq!(store.probes(), 1);
        store.awake.send_replace(true);
        assert!(health.verdict().await.is_ok());
        assert_eq!(store.probes(), 1, "the answer to the first was still waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_long_ago_counts_for_nothing() {
        let store = Counting::new();
        let health = store.health();
        store.awake.send_replace(false);
        assert!(health.verdict().await.is_err());
        store.awake.send_replace(true);
        tokio::time::sleep(Duration::from_hours(1)).await;
        store.awake.send_replace(false);
        assert!(health.verdict().await.is_err());
        assert_eq!(store.probes(), 2);
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
            let space = Space { free_bytes: size_bytes, room_bytes, size_bytes };
            assert_eq!(is_full(space), full, "{room_bytes} of {size_bytes}");
        }
    }
}
