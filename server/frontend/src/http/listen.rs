//! Accepting connections, and stopping.
//!
//! Invariant: the number of connections is bounded, all sockets together, and stopping lets requests finish for a
//! bounded time.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use pawl_store::AppendStore;
use pawl_store::deletions::Deletions;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::arrivals::Arrivals;
use super::connection::{self, Accepted, Stream};
use super::deadline::Clock;
use super::service::Frontend;
use super::tls::Certificates;
use super::turned_away::Cause;
use crate::peer::Peer;
use crate::socket::{Bound, Socket, SocketError, SocketFile};

/// After accepting failed, usually for want of descriptors.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// Connections at a time where nobody has looked how many there is room for.
const CONNECTIONS: NonZeroU32 = NonZeroU32::new(64).unwrap();
/// How long all places are taken until some are made free.
const CROWDED: Duration = Duration::from_secs(1);

/// Serves until `stop` returns, then lets requests finish for a while. Returns whether all did. Certificates are for
/// TCP: what passes through a Unix socket does not leave the machine.
pub async fn serve<S: AppendStore, D: Deletions>(
    bound: Vec<Bound>,
    door: Arc<Frontend<S, D>>,
    certificates: Option<Arc<Certificates>>,
    stop: impl Future<Output = ()>,
) -> Result<bool, SocketError> {
    let mut listeners = Listeners::open(bound)?;
    let graceful = GracefulShutdown::new();
    let most = door.limits.connections.unwrap_or(CONNECTIONS).get();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let places = Arc::new(Semaphore::new(most));
    let limits = &door.limits;
    let arrivals = Arrivals::new(limits.connections_per_address, most, limits.new_connections_per_minute);
    let logging = tokio::spawn({
        let door = Arc::clone(&door);
        async move { door.turned_away.log_each_minute().await }
    });
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = tokio::select! {
            place = a_place(&places, &arrivals) => place,
            () = &mut stop => break,
        };
        let accepted = tokio::select! {
            accepted = listeners.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let is_proxy = door.is_proxy(peer);
                let clock = Clock::start();
                let Some(arrival) = arrivals.arrive(peer.origin(), &clock.idle(), is_proxy) else {
                    door.turned_away.note(Cause::TooMany, peer, "");
                    continue;
                };
                let tls = match &stream {
                    Stream::Tcp(stream) => {
                        let _ = stream.set_nodelay(true); // an optimisation only
                        certificates.as_ref().map(|certificates| certificates.acceptor())
                    }
                    Stream::Unix(_) => None,
                };
                let watcher = graceful.watcher();
                let accepted = Accepted { stream, peer, tls, watcher, clock, arrival };
                let held = (place, door.metrics.connection());
                let door = Arc::clone(&door);
                tokio::spawn(async move {
                    connection::serve(door, accepted).await;
                    drop(held);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    logging.abort();
    drop(listeners);
    let patience = door.limits.stop;
    Ok(tokio::time::timeout(patience, graceful.shutdown()).await.is_ok())
}

/// Listens on one socket, which must be one of TCP. Needs a runtime.
pub(super) fn tcp(bound: Bound) -> Result<TcpListener, SocketError> {
    let place = bound.place().clone();
    let listener = match bound.socket {
        Socket::Tcp(listener) => TcpListener::from_std(listener),
        Socket::Unix(_) => Err(std::io::Error::other("expected a socket of TCP")),
    };
    listener.map_err(|cause| SocketError { place, cause })
}

/// Waits for the place of one more connection. While there is none, those make way on which nobody authenticates.
async fn a_place(places: &Arc<Semaphore>, arrivals: &Arrivals) -> Result<OwnedSemaphorePermit, AcquireError> {
    loop {
        match tokio::time::timeout(CROWDED, Arc::clone(places).acquire_owned()).await {
            Ok(place) => return place,
            Err(_) => arrivals.make_room(),
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// All sockets, accepted from in turn.
struct Listeners {
    /// Removed before the sockets are closed.
    _files: Vec<SocketFile>,
    sockets: Vec<Listener>,
    /// Where to look first, so that a busy socket does not hold up the others.
    first: usize,
}

impl Listeners {
    fn open(bound: Vec<Bound>) -> Result<Self, SocketError> {
        let (mut files, mut sockets) = (Vec::new(), Vec::new());
        for bound in bound {
            let place = bound.place().clone();
            let socket = match bound.socket {
                Socket::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
                Socket::Unix(listener) => UnixListener::from_std(listener).map(Listener::Unix),
            };
            sockets.push(socket.map_err(|cause| SocketError { place, cause })?);
            files.extend(bound.file);
        }
        Ok(Self { _files: files, sockets, first: 0 })
    }

    async fn accept(&mut self) -> std::io::Result<(Stream, Peer)> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<(Stream, Peer)>> {
        let (before, from_first) = self.sockets.split_at(self.first.min(self.sockets.len()));
        for (at, socket) in from_first.iter().chain(before).enumerate() {
            if let Poll::Ready(accepted) = socket.poll_accept(context) {
                self.first = (self.first + at + 1) % self.sockets.len();
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

impl Listener {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<std::io::Result<(Stream, Peer)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(context).map(|accepted| {
                accepted.map(|(stream, address)| (Stream::Tcp(stream), Peer::Network(address)))
            }),
            Self::Unix(listener) => listener.poll_accept(context).map(|accepted| {
                let (stream, _) = accepted?;
                let user = stream.peer_cred()?;
                Ok((Stream::Unix(stream), Peer::Local { uid: user.uid(), pid: user.pid() }))
            }),
        }
    }
}
