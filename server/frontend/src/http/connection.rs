//! One connection: HTTP/1.1, or HTTP/2 where TLS agreed on it.
//!
//! Invariant: every wait for the client has a limit, and so has the memory that one connection can take.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use pawl_store::AppendStore;
use pawl_store::deletions::Deletions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::arrivals::Arrival;
use super::deadline::{Clock, Timeouts, Watched};
use super::respond;
use super::service::Frontend;
use super::turned_away::Cause;
use crate::credentials::Fingerprint;
use crate::peer::Peer;

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

/// What is read and forgotten of a request in plain HTTP, in bytes.
const PLAIN_HTTP_DRAIN_BYTES: usize = 64 << 10;

/// What a connection is made of.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection just accepted.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) watcher: Watcher,
    pub(super) clock: Clock,
    /// What it counts as until somebody authenticates.
    pub(super) arrival: Arrival,
}

/// Serves the connection until it ends, errs, or keeps the server waiting for too long.
pub(super) async fn serve<S: AppendStore, D: Deletions>(door: Arc<Frontend<S, D>>, accepted: Accepted) {
    let (clock, peer) = (accepted.clock.clone(), accepted.peer);
    let patience = Timeouts {
        header: door.limits.header,
        idle: door.limits.idle,
        response: door.limits.stall * RESPONSE_STALLS,
    };
    tokio::select! {
        () = begin(Arc::clone(&door), accepted) => {}
        () = clock.expired(patience) => {
            if !clock.was_asked() {
                door.turned_away.note(Cause::NoRequest, peer, "");
            }
            tracing::debug!(%peer, "connection waited for too long, or others needed its place");
        }
    }
}

async fn begin<S: AppendStore, D: Deletions>(door: Arc<Frontend<S, D>>, accepted: Accepted) {
    let Accepted { stream, peer, tls, watcher, clock, mut arrival } = accepted;
    arrival.turn(&clock.idle()).await;
    clock.count_for_address(arrival);
    let stall = door.limits.stall;
    let connected = Connected { door, clock, peer, watcher };
    match (stream, tls) {
        (Stream::Tcp(stream), Some(acceptor)) => connected.serve_tls(stream, acceptor).await,
        (Stream::Tcp(stream), None) => connected.serve_http1(limited(stream, stall), None).await,
        (Stream::Unix(stream), _) => connected.serve_http1(limited(stream, stall), None).await,
    }
}

/// A client that takes nothing for this long is gone.
fn limited<T: AsyncRead + AsyncWrite>(stream: T, stall: Duration) -> Pin<Box<TimeoutStream<T>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stall));
    Box::pin(stream)
}

/// What the requests of one connection share.
struct Connected<S, D> {
    door: Arc<Frontend<S, D>>,
    clock: Clock,
    peer: Peer,
    watcher: Watcher,
}

/// What the client's first byte says that it speaks; none if it hung up.
async fn is_plain_http(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1..) => Some(first.iter().all(u8::is_ascii_uppercase)), // a method; TLS begins with 0x16
        Ok(0) | Err(_) => None,
    }
}

/// Says what is wrong in the language that the client speaks, and reads on for a little, so that it gets there.
async fn refuse_plain_http(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(respond::tls_only().as_bytes()).await?;
    stream.shutdown().await?;
    let mut taken = stream.take(PLAIN_HTTP_DRAIN_BYTES as u64);
    tokio::io::copy(&mut taken, &mut tokio::io::sink()).await.map(drop)
}

/// Whether the peer's certificate ended the handshake: its admin, who sees a broken line, has to be told why.
fn is_about_a_certificate(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

/// What stands for the certificate that the peer brought, if it did. Whether it is one that the frontend knows is asked
/// again for every request.
fn certificate_of<T>(stream: &TlsStream<T>) -> Option<Fingerprint> {
    let (_, session) = stream.get_ref();
    session.peer_certificates()?.first().map(|certificate| Fingerprint::of(certificate))
}

impl<S: AppendStore, D: Deletions> Connected<S, D> {
    async fn serve_tls(self, stream: TcpStream, acceptor: TlsAcceptor) {
        let (peer, stall) = (self.peer, self.door.limits.stall);
        match is_plain_http(&stream).await {
            None => return,
            Some(true) => {
                self.door.turned_away.note(Cause::PlainHttp, peer, "");
                let _ = refuse_plain_http(stream).await; // whether the client takes it is the client's affair
                return;
            }
            Some(false) => {}
        }
        match acceptor.accept(limited(stream, stall)).await {
            Ok(stream) => {
                let certificate = certificate_of(&stream);
                if stream.get_ref().1.alpn_protocol() == Some(ALPN_H2) {
                    self.serve_http2(stream, certificate).await;
                } else {
                    self.serve_http1(stream, certificate).await;
                }
            }
            Err(error) if is_about_a_certificate(&error) => {
                tracing::warn!(%peer, %error, "a host's certificate was refused");
            }
            Err(error) => self.door.turned_away.note(Cause::Handshake, peer, &error.to_string()),
        }
    }

    async fn serve_http1<T>(self, stream: T, certificate: Option<Fingerprint>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (door, clock, peer) = (self.door, self.clock, self.peer);
        let frontend = Arc::clone(&door);
        let io = TokioIo::new(Watched { io: stream, clock: clock.clone() });
        let service =
            service_fn(move |request| Arc::clone(&door).handle(peer, certificate, clock.begin(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None) // `Clock` knows an idle connection from a slow head
            .max_buf_size(H1_BUFFER_BYTES_MAX)
            .max_header_size(H1_HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(io, service);
        say_end(&frontend, peer, self.watcher.watch(connection).await);
    }

    async fn serve_http2<T>(self, stream: T, certificate: Option<Fingerprint>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (door, clock, peer) = (self.door, self.clock, self.peer);
        let frontend = Arc::clone(&door);
        let service =
            service_fn(move |request| Arc::clone(&door).handle(peer, certificate, clock.begin(), request));
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
        say_end(&frontend, peer, self.watcher.watch(connection).await);
    }
}

fn say_end<S, D>(frontend: &Frontend<S, D>, peer: Peer, ended: Result<(), hyper::Error>) {
    match ended {
        Ok(()) => {}
        // hyper has answered a head that it could not read.
        Err(error) if error.is_parse() => frontend.turned_away.note(Cause::NoHttp, peer, &error.to_string()),
        Err(error) => tracing::debug!(%peer, %error, "connection ended"),
    }
}
