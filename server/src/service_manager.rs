//! What systemd, or whoever started the server, is told of its state (`sd_notify`).
//!
//! Invariant: without a service manager nothing of this has an effect, and what cannot be told changes nothing else.
//! The watchdog hears only of a server whose two processes both answer.

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::keeper::KeeperClient;

/// Hosts are served.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Certificates and hosts are about to be read again; [`ready`] ends that.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        // systemd gives up on a reload that does not say when it began.
        Err(error) => tracing::warn!(%error, "cannot read the clock; the service manager is not told"),
    }
}

/// The server ends, after what has begun.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Tells the watchdog, if there is one, twice in its time that the server is well: that this task runs, and that the
/// keeper answers. Ends with the keeper.
pub async fn keep_watchdog(keeper: KeeperClient) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else {
        return;
    };
    let mut turns = tokio::time::interval(patience / 2);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if keeper.ping().await.is_err() {
            return;
        }
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Sending waits for a service manager that is slow to listen; requests must not.
    if let Err(error) = tokio::task::block_in_place(|| sd_notify::notify(state)) {
        tracing::warn!(%error, "cannot tell the service manager how the server is");
    }
}
