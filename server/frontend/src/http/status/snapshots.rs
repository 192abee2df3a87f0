//! When each repository last received a snapshot, from the time before this server was started.
//!
//! Invariant: a repository's directory is read once, in the background, one repository after the other; what is stored
//! from then on is noted when it is stored. It is read again when the clock was set back.

use std::collections::HashSet;
use std::sync::Arc;

use pawl_policy::{FileType, RepositoryName};
use pawl_store::{AppendStore, Observed, now_ms};
use tokio::sync::Mutex;

use crate::http::service::Frontend;

pub(super) struct Snapshots<S> {
    door: Arc<Frontend<S>>,
    /// Repositories that were looked at.
    seen: Mutex<HashSet<RepositoryName>>,
}

impl<S: AppendStore + Observed> Snapshots<S> {
    pub(super) fn new(door: Arc<Frontend<S>>) -> Self {
        Self { door, seen: Mutex::default() }
    }

    /// Begins to look at repositories that somebody has a grant for since the last time, and forgets those that nobody
    /// has one for any more.
    pub(super) fn catch_up(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(mut seen) = this.seen.try_lock() {
                this.look(&mut seen).await;
            } // else it is being done
        });
    }

    async fn look(&self, seen: &mut HashSet<RepositoryName>) {
        let Ok(granted) = self.door.credentials.repositories() else {
            return; // the log says why, whenever somebody logs in
        };
        seen.retain(|repository| {
            let stays = granted.contains(repository);
            if !stays {
                self.door.metrics.forget_snapshots(repository);
            }
            stays
        });
        for repository in granted {
            if self.door.metrics.is_ahead(&repository, now_ms()) {
                self.door.metrics.forget_snapshots(&repository);
                seen.remove(&repository);
            }
            if seen.contains(&repository) {
                continue;
            }
            match self.door.store.last_received(&repository, FileType::Snapshots).await {
                Ok(received_ms) => {
                    self.door.metrics.note_snapshot(&repository, received_ms.unwrap_or(0));
                    seen.insert(repository);
                }
                Err(error) => {
                    tracing::warn!(%repository, %error, "cannot tell when the last snapshot was received");
                }
            }
        }
    }
}
