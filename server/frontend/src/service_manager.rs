//! What systemd, or whoever started the server, is told of its state (`sd_notify`).
//!
//! Invariant: without a service manager nothing of this has an effect, and what cannot be told changes nothing else.
//! The watchdog hears only of a server whose two processes both answer.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use pawl_keeper::KeeperClient;

/// The service manager, if there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    /// Connected once: a confined server makes no more sockets.
    socket: Option<Arc<UnixDatagram>>,
    patience: Option<Duration>,
}

impl ServiceManager {
    /// Finds out who started the server.
    #[must_use]
    pub fn find() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        match connect(&name) {
            Ok(socket) => Self { socket: Some(Arc::new(socket)), patience: sd_notify::watchdog_enabled() },
            Err(error) => {
                tracing::warn!(%error, socket = ?name, "cannot reach the service manager");
                Self::default()
            }
        }
    }

    /// Hosts are served.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Certificates and hosts are about to be read again; [`Self::ready`] ends that.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            // systemd gives up on a reload that does not say when it began.
            Err(error) => tracing::warn!(%error, "cannot read the clock; the service manager is not told"),
        }
    }

    /// The server ends, after what has begun.
    pub fn stopping(&self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// Tells the watchdog, if there is one, twice in its time that the server is well: that this task runs, and that
    /// the keeper answers. Ends with the keeper.
    pub async fn keep_watchdog(self, keeper: KeeperClient) {
        let Some(patience) = self.patience.filter(|patience| !patience.is_zero()) else {
            return;
        };
        let mut turns = tokio::time::interval(patience / 2);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if keeper.ping().await.is_err() {
                return;
            }
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    fn tell(&self, state: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let lines: Vec<_> = state.iter().map(ToString::to_string).collect();
        // Sending waits for a service manager that is slow to listen; requests must not.
        if let Err(error) = tokio::task::block_in_place(|| socket.send(lines.join("\n").as_bytes())) {
            tracing::warn!(%error, "cannot tell the service manager how the server is");
        }
    }
}

fn connect(name: &std::ffi::OsStr) -> std::io::Result<UnixDatagram> {
    let address = match name.as_encoded_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
