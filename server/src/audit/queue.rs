//! Decisions on their way to the keeper.
//!
//! Invariant: nobody waits for the audit log, memory is bounded, and what found no room is counted in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::{Decision, Head};
use crate::keeper::{KeeperClient, KeeperError};

/// Decisions that wait at a time: a second's worth of small requests on a busy machine.
const WAITING_MAX: usize = 4096;

/// Takes decisions to the keeper, in their order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    sender: mpsc::Sender<Item>,
    lost: Arc<AtomicU64>,
    keeper: KeeperClient,
}

#[derive(Debug)]
enum Item {
    Decision(Decision),
    Flush(oneshot::Sender<()>),
}

impl Queue {
    /// Starts to take decisions to this keeper. Needs a runtime.
    #[must_use]
    pub fn start(keeper: KeeperClient) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        tokio::spawn(carry(receiver, keeper.clone(), Arc::clone(&lost)));
        Self { sender, lost, keeper }
    }

    /// Queues a decision.
    pub fn note(&self, decision: Decision) {
        if self.sender.try_send(Item::Decision(decision)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Where the log ends; nothing if the keeper cannot tell.
    pub async fn head(&self) -> Option<Head> {
        self.keeper.audit_head().await.ok()
    }

    /// Returns when everything queued before has reached the keeper, or the keeper is gone.
    pub async fn flush(&self) {
        let (flushed, until_flushed) = oneshot::channel();
        if self.sender.send(Item::Flush(flushed)).await.is_ok() {
            let _ = until_flushed.await; // an error means that the keeper is gone
        }
    }
}

async fn carry(mut receiver: mpsc::Receiver<Item>, keeper: KeeperClient, lost: Arc<AtomicU64>) {
    while let Some(item) = receiver.recv().await {
        match item {
            Item::Flush(flushed) => {
                let _ = flushed.send(()); // whoever asked may have given up
            }
            Item::Decision(decision) => {
                match keeper.note(decision).await {
                    Ok(()) => {}
                    Err(KeeperError::Gone) => return,
                    Err(error) => {
                        tracing::error!(%error, "a decision did not reach the audit log");
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                let lines = lost.swap(0, Ordering::Relaxed);
                if lines > 0 {
                    tracing::error!(lines, "decisions came too fast for the audit log");
                    let _ = keeper.note(missing(lines)).await; // the next one will tell whether the keeper is gone
                }
            }
        }
    }
}

fn missing(lines: u64) -> Decision {
    Decision {
        principal: None,
        peer: String::new(),
        action: "audit".to_owned(),
        repository: None,
        file: None,
        outcome: format!("{lines} decisions found no room and are missing here"),
        status: 0,
        bytes_in: 0,
        bytes_out: 0,
    }
}
