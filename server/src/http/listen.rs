//! Accepting connections, and stopping.
//!
//! Invariant: the number of connections is bounded, and stopping lets requests finish for a bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::connection::{self, Accepted};
use super::gate::Gate;
use super::service::Door;
use super::tls::Certificates;
use crate::store::AppendStore;
use crate::throttle::{Throttle, network};

/// After accepting failed, usually for want of descriptors.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
}

/// A bound socket, not yet listened to.
#[derive(Debug)]
pub struct Bound {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// Binds the address; a port of 0 becomes a free one.
pub fn bind(address: SocketAddr) -> Result<Bound, ServeError> {
    let failed = |cause| ServeError::Listen { address, cause };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// The address, with the port that is really used.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to listen. Needs a runtime.
    pub(super) fn into_listener(self) -> Result<TcpListener, ServeError> {
        let address = self.address;
        TcpListener::from_std(self.listener).map_err(|cause| ServeError::Listen { address, cause })
    }

    /// Serves until `stop` returns, then lets requests finish for a while. Returns whether all did.
    pub async fn serve<S: AppendStore>(
        self,
        door: Arc<Door<S>>,
        certificates: Option<Arc<Certificates>>,
        stop: impl Future<Output = ()>,
    ) -> Result<bool, ServeError> {
        let listener = self.into_listener()?;
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(usize::try_from(door.limits.connections).unwrap_or(usize::MAX)));
        let addresses = Gate::default();
        let arrivals = Throttle::per_minute(door.limits.new_connections_per_minute);
        let mut stop = std::pin::pin!(stop);
        loop {
            let place = tokio::select! {
                place = Arc::clone(&places).acquire_owned() => place,
                () = &mut stop => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let entered = addresses.enter(network(peer.ip()));
                    if arrivals.count(peer.ip()).is_err() {
                        tracing::debug!(%peer, "new connections come too fast from this address; closed");
                        continue;
                    }
                    if entered.before() >= door.limits.connections_per_address {
                        tracing::debug!(%peer, "too many connections from this address; closed");
                        continue;
                    }
                    let accepted = Accepted {
                        stream,
                        peer,
                        tls: certificates.as_ref().map(|certificates| certificates.acceptor()),
                        watcher: graceful.watcher(),
                    };
                    let (door, present) = (Arc::clone(&door), door.metrics.connection());
                    tokio::spawn(async move {
                        connection::serve(door, accepted).await;
                        drop((place, entered, present));
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        drop(listener);
        let patience = door.limits.stop;
        Ok(tokio::time::timeout(patience, graceful.shutdown()).await.is_ok())
    }
}
