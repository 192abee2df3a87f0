//! One connection: HTTP/1.1, or HTTP/2 where TLS agreed on it.
//!
//! Invariant: every wait for the client has a limit, and so has the memory that one connection can take.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::deadline::{Clock, Patience, Watched};
use super::deletions::Deletions;
use super::service::Door;
use crate::credentials::Fingerprint;
use crate::peer::Peer;
use crate::store::AppendStore;

/// Buffer for reading of HTTP/1.1, which also bounds a request's head, in bytes.
const H1_BUFFER_BYTES_MAX: usize = 64 << 10;
const H1_HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// What an upload may send ahead, in bytes. At 20 ms to the server 512 KiB allow 25 MiB/s for one upload, and five
/// in parallel, restic's default, 125 MiB/s: all of a gigabit.
const H2_STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// Room for eight such uploads.
const H2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Larger frames than the usual 16 KiB cost less to take apart.
const H2_FRAME_BYTES_MAX: u32 = 64 << 10;
const H2_STREAMS_MAX: u32 = 64;
const H2_SEND_BUFFER_BYTES_MAX: usize = 256 << 10;
const H2_HEAD_BYTES_MAX: u32 = 16 << 10;
/// A peer that does not answer pings is gone.
const H2_PING_EVERY: Duration = Duration::from_mins(1);
const H2_PING_ANSWER: Duration = Duration::from_secs(20);

/// How many times the stall limit a client may take for the next piece of a response: the socket's own buffer, which
/// a slow line takes long to empty, lies between.
const RESPONSE_STALLS: u32 = 5;

/// TLS's name of HTTP/2 (RFC 7301).
pub(super) const ALPN_H2: &[u8] = b"h2";
/// TLS's name of HTTP/1.1.
pub(super) const ALPN_H1: &[u8] = b"http/1.1";

/// A connection just accepted.
pub(super) struct Accepted<T> {
    pub(super) stream: T,
    pub(super) peer: Peer,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) watcher: Watcher,
}

/// Serves the connection until it ends, errs, or keeps the server waiting for too long.
pub(super) async fn serve<S, D, T>(door: Arc<Door<S, D>>, accepted: Accepted<T>)
where
    S: AppendStore,
    D: Deletions,
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let Accepted { stream, peer, tls, watcher } = accepted;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(door.limits.stall));
    let stream = Box::pin(stream);
    match tls {
        None => serve_http1(door, stream, peer, None, watcher).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(door.limits.header, acceptor.accept(stream)).await;
            match handshake {
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ALPN_H2) => {
                    let certificate = certificate_of(&stream);
                    serve_http2(door, stream, peer, certificate, watcher).await;
                }
                Ok(Ok(stream)) => {
                    let certificate = certificate_of(&stream);
                    serve_http1(door, stream, peer, certificate, watcher).await;
                }
                Ok(Err(error)) if is_about_a_certificate(&error) => {
                    tracing::warn!(%peer, %error, "a host's certificate was refused");
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
            }
        }
    }
}

/// Whether the peer's certificate ended the handshake: its admin, who sees a broken line, has to be told why.
fn is_about_a_certificate(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

/// What stands for the certificate that the peer brought, if it did. Whether it is one that the door knows is asked
/// again for every request.
fn certificate_of<T>(stream: &TlsStream<T>) -> Option<Fingerprint> {
    let (_, session) = stream.get_ref();
    session.peer_certificates()?.first().map(|certificate| Fingerprint::of(certificate))
}

async fn serve_http1<S, D, T>(
    door: Arc<Door<S, D>>,
    stream: T,
    peer: Peer,
    certificate: Option<Fingerprint>,
    watcher: Watcher,
) where
    S: AppendStore,
    D: Deletions,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let clock = Clock::start();
    let io = TokioIo::new(Watched { io: stream, clock: clock.clone() });
    let service = service_fn({
        let (door, clock) = (Arc::clone(&door), clock.clone());
        move |request| Arc::clone(&door).handle(peer, certificate, clock.begin(), request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None) // `Clock` knows an idle connection from a slow head
        .max_buf_size(H1_BUFFER_BYTES_MAX)
        .max_header_size(H1_HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service);
    drive(connection, &door, &clock, peer, watcher).await;
}

async fn serve_http2<S, D, T>(
    door: Arc<Door<S, D>>,
    stream: T,
    peer: Peer,
    certificate: Option<Fingerprint>,
    watcher: Watcher,
) where
    S: AppendStore,
    D: Deletions,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let clock = Clock::start();
    let service = service_fn({
        let (door, clock) = (Arc::clone(&door), clock.clone());
        move |request| Arc::clone(&door).handle(peer, certificate, clock.begin(), request)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES_MAX)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(H2_HEAD_BYTES_MAX)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_ANSWER)
        .serve_connection(TokioIo::new(stream), service);
    drive(connection, &door, &clock, peer, watcher).await;
}

async fn drive<S, D, C>(connection: C, door: &Door<S, D>, clock: &Clock, peer: Peer, watcher: Watcher)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let patience = Patience {
        header: door.limits.header,
        idle: door.limits.idle,
        response: door.limits.stall * RESPONSE_STALLS,
    };
    tokio::select! {
        ended = watcher.watch(connection) => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended");
            }
        }
        () = clock.expired(patience) => {
            tracing::debug!(%peer, "connection waited for too long");
        }
    }
}
