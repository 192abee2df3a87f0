//! Whether backups can be taken at this moment.
//!
//! Invariant: at most one check is under way, and its verdict stands for a second: however often it is asked for, the
//! store and its keeper are troubled once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::http::service::Door;
use crate::store::{AppendStore, Observed, Space, StoreError};

/// How long the store may take to answer. A keeper that works answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a verdict stands.
const STANDS: Duration = Duration::from_secs(1);
/// Less room than this is as good as none: four of restic's usual packs, on their way at once.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// A disk on which that would be much needs a hundredth of itself.
const FREE_PART_MIN: u64 = 100;

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
    door: Arc<Door<S>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    verdict: Option<(Instant, Verdict)>,
    /// A check that took too long and may still end.
    under_way: Option<JoinHandle<Verdict>>,
}

impl<S: AppendStore + Observed> Health<S> {
    pub(super) fn new(door: Arc<Door<S>>) -> Self {
        Self { door, known: Mutex::default() }
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
        self.door.metrics.note_ready(verdict.is_ok());
        known.verdict = Some((Instant::now(), verdict.clone()));
        verdict
    }

    async fn ask(&self, under_way: &mut Option<JoinHandle<Verdict>>) -> Verdict {
        // One that has ended meanwhile tells of the past.
        let earlier = under_way.take().filter(|check| !check.is_finished());
        let mut check = earlier.unwrap_or_else(|| tokio::spawn(check(Arc::clone(&self.door))));
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

async fn check<S: AppendStore + Observed>(door: Arc<Door<S>>) -> Verdict {
    let space = door.store.space().await?;
    door.metrics.note_space(space);
    door.store.probe().await?;
    if is_full(space) { Err(Unready::Full) } else { Ok(()) }
}

fn is_full(space: Space) -> bool {
    space.free_bytes < FREE_BYTES_MIN.min(space.size_bytes / FREE_PART_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_before_its_last_byte_and_a_large_one_not_for_a_hundredth() {
        for (free_bytes, size_bytes, full) in [
            (0, 1 << 40, true),
            (FREE_BYTES_MIN - 1, 1 << 40, true),
            (FREE_BYTES_MIN, 1 << 40, false),
            (24 << 20, 24 << 20, false),
            (1 << 20, 24 << 20, false),
            (100 << 10, 24 << 20, true),
        ] {
            assert_eq!(is_full(Space { free_bytes, size_bytes }), full, "{free_bytes} of {size_bytes}");
        }
    }
}
