//! Decisions on their way to the keeper.
//!
//! Invariant: nobody waits for the audit log, memory is bounded, and what found no room is counted in the log.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use pawl_policy::PrincipalName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::audit::{Budget, COUNTED_EVERY, Decision, Head};
use crate::{KeeperClient, KeeperError, NOTE_BYTES_MAX};

/// Decisions that wait at a time: a second's worth of small requests on a busy machine.
const WAITING_MAX: usize = 4096;

/// How long decisions are gathered after others were told.
const GATHER: Duration = Duration::from_millis(10);

/// Refusals of strangers that are told each second, and at once.
const STRANGERS_PER_SECOND: NonZeroU32 = NonZeroU32::new(2).unwrap();
const STRANGERS_BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// A kind of decision of which a principal can cause any number, for it leaves nothing that a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Idle {
    /// Something was listed, looked at or read.
    Read,
    /// What was asked had been done before: the file, the repository was there, the lock was not.
    Repeat,
    /// Something was refused, or failed.
    Refusal,
    /// A deletion was refused. It has a budget of its own, so that other refusals never drive it out.
    RefusedDeletion,
    /// A lock was stored or removed. Locks are outside of quotas.
    Lock,
}

impl Idle {
    const fn word(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Repeat => "repeats",
            Self::Refusal => "refusals",
            Self::RefusedDeletion => "refused deletions",
            Self::Lock => "locks",
        }
    }
}

/// Takes decisions to the keeper, in their order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    sender: mpsc::Sender<Item>,
    lost: Arc<AtomicU64>,
    strangers: Arc<Strangers>,
    idle: Arc<Budget<(PrincipalName, Idle)>>,
    keeper: KeeperClient,
}

/// Refusals of those who proved nothing.
#[derive(Debug)]
struct Strangers {
    told: DefaultDirectRateLimiter,
    unreported: AtomicU64,
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
        let idle = Arc::new(Budget::default());
        tokio::spawn(carry(receiver, keeper.clone(), Arc::clone(&lost), Arc::clone(&idle)));
        let quota = Quota::per_second(STRANGERS_PER_SECOND).allow_burst(STRANGERS_BURST);
        let strangers =
            Arc::new(Strangers { told: RateLimiter::direct(quota), unreported: AtomicU64::new(0) });
        Self { sender, lost, strangers, idle, keeper }
    }

    /// Queues a decision.
    pub fn note(&self, decision: Decision) {
        if self.sender.try_send(Item::Decision(decision)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Queues the refusal of somebody who proved nothing. These are told by the dozen, and beyond that counted: nobody
    /// may fill the disk with them, or drive others' decisions out.
    pub fn note_stranger(&self, mut decision: Decision) {
        if self.strangers.told.check().is_err() {
            self.strangers.unreported.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let unreported = self.strangers.unreported.swap(0, Ordering::Relaxed);
        if unreported > 0 {
            decision.outcome =
                format!("{} (and {unreported} more refusals of strangers before)", decision.outcome);
        }
        self.note(decision);
    }

    /// Queues a decision of which a principal can cause any number. Of these some have a line, and the rest are counted:
    /// nobody may fill the disk with them.
    pub fn note_idle(&self, principal: &PrincipalName, kind: Idle, decision: Decision) {
        if self.idle.check(&(principal.clone(), kind)) {
            self.note(decision);
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

async fn carry(
    mut receiver: mpsc::Receiver<Item>,
    keeper: KeeperClient,
    lost: Arc<AtomicU64>,
    idle: Arc<Budget<(PrincipalName, Idle)>>,
) {
    let (mut items, mut next_count) = (Vec::new(), Instant::now() + COUNTED_EVERY);
    // Without items either all who could send some are gone, or it is time to count.
    while timeout_at(next_count, receiver.recv_many(&mut items, WAITING_MAX)).await != Ok(0) {
        let (mut decisions, mut askers) = (Vec::new(), Vec::new());
        for item in items.drain(..) {
            match item {
                Item::Decision(decision) => decisions.push(decision),
                Item::Flush(flushed) => askers.push(flushed),
            }
        }
        if !askers.is_empty() || next_count <= Instant::now() {
            let counted = idle.counted().into_iter();
            decisions.extend(counted.map(|((name, kind), count)| counted_only(name.as_str(), kind, count)));
            next_count = Instant::now() + COUNTED_EVERY;
        }
        for together in messages(decisions) {
            let lines = together.len() as u64;
            match keeper.note(together).await {
                Ok(()) => {}
                Err(KeeperError::Gone) => return,
                Err(error) => {
                    tracing::error!(%error, lines, "decisions did not reach the audit log");
                    lost.fetch_add(lines, Ordering::Relaxed);
                }
            }
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::error!(lines, "decisions came too fast for the audit log");
            let _ = keeper.note(vec![missing(lines)]).await; // the next one will tell whether the keeper is gone
        }
        for flushed in askers {
            let _ = flushed.send(()); // whoever asked may have given up
        }
        // What comes meanwhile goes together: a message for each request would cost as much as the request.
        tokio::time::sleep(GATHER).await;
    }
}

/// The decisions in their order, as many together as fit into a message. One that fits into none is alone.
fn messages(decisions: Vec<Decision>) -> Vec<Vec<Decision>> {
    let mut messages: Vec<Vec<Decision>> = Vec::new();
    let mut room = 0;
    for decision in decisions {
        let bytes = decision.bytes();
        match messages.last_mut() {
            Some(together) if bytes <= room => {
                room -= bytes;
                together.push(decision);
            }
            _ => {
                room = NOTE_BYTES_MAX.saturating_sub(bytes);
                messages.push(vec![decision]);
            }
        }
    }
    messages
}

fn missing(lines: u64) -> Decision {
    about("audit", format!("{lines} decisions found no room and are missing here"))
}

/// A line for all that had none.
#[must_use]
pub fn counted_only(principal: &str, kind: Idle, count: u64) -> Decision {
    let outcome = format!("{count} more came too fast for a line each");
    Decision { principal: Some(principal.to_owned()), ..about(kind.word(), outcome) }
}

/// What stands for several decisions: it has no peer, and no status.
fn about(action: &str, outcome: String) -> Decision {
    Decision {
        principal: None,
        peer: String::new(),
        action: action.to_owned(),
        repository: None,
        file: None,
        outcome,
        status: 0,
        bytes_in: 0,
        bytes_out: 0,
    }
}
