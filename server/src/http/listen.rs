//! Accepting connections, and stopping.
//!
//! Invariant: the number of connections is bounded, all sockets together, and stopping lets requests finish for a
//! bounded time.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::connection::{self, Accepted};
use super::deletions::Deletions;
use super::gate::Gate;
use super::service::Door;
use super::tls::Certificates;
use crate::peer::Peer;
use crate::socket::{Bound, Socket, SocketError, SocketFile};
use crate::store::AppendStore;
use crate::throttle::Throttle;

/// After accepting failed, usually for want of descriptors.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` returns, then lets requests finish for a while. Returns whether all did. Certificates are for
/// TCP: what passes through a Unix socket does not leave the machine.
pub async fn serve<S: AppendStore, D: Deletions>(
    bound: Vec<Bound>,
    door: Arc<Door<S, D>>,
    certificates: Option<Arc<Certificates>>,
    stop: impl Future<Output = ()>,
) -> Result<bool, SocketError> {
    let mut listeners = Listeners::open(bound)?;
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(usize::try_from(door.limits.connections).unwrap_or(usize::MAX)));
    let origins = Gate::default();
    let arrivals = Throttle::per_minute(door.limits.new_connections_per_minute);
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = &mut stop => break,
        };
        let accepted = tokio::select! {
            accepted = listeners.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let entered = origins.enter(peer.origin());
                if arrivals.count(peer.origin()).is_err() {
                    tracing::debug!(%peer, "new connections come too fast from this address; closed");
                    continue;
                }
                if entered.before() >= door.limits.connections_per_address {
                    tracing::debug!(%peer, "too many connections from this address; closed");
                    continue;
                }
                let (door, watcher) = (Arc::clone(&door), graceful.watcher());
                let held = (place, entered, door.metrics.connection());
                match stream {
                    Stream::Tcp(stream) => {
                        let _ = stream.set_nodelay(true); // an optimisation only
                        let tls = certificates.as_ref().map(|certificates| certificates.acceptor());
                        spawn(door, Accepted { stream, peer, tls, watcher }, held);
                    }
                    Stream::Unix(stream) => spawn(door, Accepted { stream, peer, tls: None, watcher }, held),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
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

/// Serves the connection beside others, and then drops what was held for it.
fn spawn<S, D, T>(door: Arc<Door<S, D>>, accepted: Accepted<T>, held: impl Send + 'static)
where
    S: AppendStore,
    D: Deletions,
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    tokio::spawn(async move {
        connection::serve(door, accepted).await;
        drop(held);
    });
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
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
