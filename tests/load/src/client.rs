//! A connection to a server, over which requests are sent one after the other.
//!
//! Invariant: an answer that has not the status it should have is an error, with what it says.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use base64::Engine as _;
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use crate::content::File;
use crate::{Failure, Outcome};

/// As Go's client has them, which restic uses.
const H2_STREAM_WINDOW_BYTES: u32 = 4 << 20;
const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 30;
/// Bytes of a body handed over at a time.
const PIECE_BYTES: usize = 256 << 10;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS: one connection for all that goes on at a time, as restic has it.
    H2,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP/1.1",
            Self::Https => "HTTP/1.1, TLS",
            Self::H2 => "HTTP/2, TLS",
        })
    }
}

/// How servers are reached.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    protocol: Protocol,
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    pub(crate) fn new(protocol: Protocol, ca: Option<&Path>) -> Outcome<Self> {
        if protocol == Protocol::Http {
            return Ok(Self { protocol, tls: None });
        }
        let mut roots = RootCertStore::empty();
        let ca = ca.ok_or("TLS needs --ca")?;
        roots
            .add(CertificateDer::from_pem_file(ca).map_err(|error| format!("{}: {error}", ca.display()))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let alpn: &[u8] = if protocol == Protocol::H2 { b"h2" } else { b"http/1.1" };
        config.resumption = Resumption::disabled(); // one server's tickets would be shown to the next
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Self { protocol, tls: Some(Arc::new(config)) })
    }

    /// This many senders: each with a connection of its own, or over HTTP/2 all with one.
    pub(crate) async fn senders(&self, target: &Target, count: u64) -> Outcome<Vec<Sender>> {
        let mut senders = vec![self.connect(target).await?];
        for _ in 1..count {
            let next = match senders.first().and_then(Sender::another) {
                Some(sender) => sender,
                None => self.connect(target).await?,
            };
            senders.push(next);
        }
        Ok(senders)
    }

    async fn connect(&self, target: &Target) -> Outcome<Sender> {
        let authority = target.base.authority().ok_or("the URL names no server")?;
        let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return http1(target, stream).await };
        let name = ServerName::try_from(authority.host().to_owned())?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        match (self.protocol, agreed) {
            (Protocol::H2, true) => http2(target, stream).await,
            (Protocol::H2, false) => Err("the server speaks no HTTP/2".into()),
            (Protocol::Http | Protocol::Https, _) => http1(target, stream).await,
        }
    }
}

async fn http1<T>(target: &Target, stream: T) -> Outcome<Sender>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection); // what ends it, ends the request that is under way
    Ok(Sender { target: target.clone(), requests: Requests::Http1(requests) })
}

async fn http2<T>(target: &Target, stream: T) -> Outcome<Sender>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(Sender { target: target.clone(), requests: Requests::Http2(requests) })
}

/// A repository on a server.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    base: Uri,
    headers: HeaderMap,
}

impl Target {
    pub(crate) fn new(url: &str, user: &str, password: &str) -> Outcome<Self> {
        let base: Uri = url.strip_suffix('/').unwrap_or(url).parse()?;
        let mut headers = HeaderMap::new();
        let host = base.authority().ok_or("the URL names no server")?.as_str();
        headers.insert(HOST, HeaderValue::from_str(host)?);
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Basic {basic}"))?);
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.x.restic.rest.v2"));
        Ok(Self { base, headers })
    }
}

/// Sends one request at a time.
#[derive(Debug)]
pub(crate) struct Sender {
    target: Target,
    requests: Requests,
}

#[derive(Debug)]
enum Requests {
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
}

/// How a body came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) bytes: u64,
    /// Braces that open, of which a listing has one for each file.
    pub(crate) entries: u64,
    /// When the first of them was there.
    pub(crate) first: Option<Instant>,
}

impl Sender {
    fn another(&self) -> Option<Self> {
        match &self.requests {
            Requests::Http1(_) => None,
            Requests::Http2(requests) => {
                Some(Self { target: self.target.clone(), requests: Requests::Http2(requests.clone()) })
            }
        }
    }

    /// Stores a file.
    pub(crate) async fn put(&mut self, file: &File, gate: Option<Gate>) -> Outcome {
        let path = format!("/data/{}", file.id);
        let answer = self.ask(Method::POST, &path, None, Payload::of(file, gate)).await?;
        expect(answer, StatusCode::OK).await?.collect().await?;
        Ok(())
    }

    /// Makes the repository.
    pub(crate) async fn create(&mut self) -> Outcome {
        let answer = self.ask(Method::POST, "/?create=true", None, Payload::default()).await?;
        expect(answer, StatusCode::OK).await?.collect().await?;
        Ok(())
    }

    /// Reads a file whole and compares it.
    pub(crate) async fn compare(&mut self, file: &File) -> Outcome {
        let answer = self.ask(Method::GET, &format!("/data/{}", file.id), None, Payload::default()).await?;
        let body = expect(answer, StatusCode::OK).await?.collect().await?.to_bytes();
        if body == [&file.start[..], &file.end].concat() {
            Ok(())
        } else {
            Err("what was stored came back different".into())
        }
    }

    /// Reads `len` bytes from `start`, or all.
    pub(crate) async fn get(&mut self, id: &str, range: Option<(u64, u64)>) -> Outcome<Taken> {
        let header = range.map(|(start, len)| format!("bytes={start}-{}", start + len - 1));
        let answer = self.ask(Method::GET, &format!("/data/{id}"), header, Payload::default()).await?;
        let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        take(expect(answer, status).await?, |_| 0).await
    }

    /// Lists all data.
    pub(crate) async fn list(&mut self) -> Outcome<Taken> {
        let answer = self.ask(Method::GET, "/data/", None, Payload::default()).await?;
        let braces = |bytes: &Bytes| bytes.split(|byte| *byte == b'{').skip(1).count() as u64;
        take(expect(answer, StatusCode::OK).await?, braces).await
    }

    /// A file's size.
    pub(crate) async fn head(&mut self, id: &str) -> Outcome<u64> {
        let answer = self.ask(Method::HEAD, &format!("/data/{id}"), None, Payload::default()).await?;
        let length =
            answer.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        expect(answer, StatusCode::OK).await?.collect().await?;
        length.ok_or_else(|| "an answer to HEAD without a length".into())
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        range: Option<String>,
        body: Payload,
    ) -> Outcome<Response<Incoming>> {
        let path = format!("{}{path}", self.target.base.path().trim_end_matches('/'));
        let uri = match &self.requests {
            Requests::Http1(_) => path.parse::<Uri>()?,
            Requests::Http2(_) => {
                let mut parts = self.target.base.clone().into_parts();
                parts.path_and_query = Some(path.parse()?);
                Uri::from_parts(parts)?
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.target.headers.clone();
        if !request.body().is_end_stream() {
            let kind = HeaderValue::from_static("application/octet-stream");
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        if let Some(range) = range {
            request.headers_mut().insert("range", HeaderValue::from_str(&range)?);
        }
        Ok(match &mut self.requests {
            Requests::Http1(requests) => {
                requests.ready().await?;
                requests.send_request(request).await?
            }
            Requests::Http2(requests) => {
                request.headers_mut().remove(HOST); // HTTP/2 says it in the URL
                requests.ready().await?;
                requests.send_request(request).await?
            }
        })
    }
}

async fn expect(answer: Response<Incoming>, status: StatusCode) -> Outcome<Incoming> {
    let found = answer.status();
    let body = answer.into_body();
    if found == status {
        return Ok(body);
    }
    let said = body.collect().await.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Err(format!("expected {status}, found {found}: {}", said.unwrap_or_default().trim()).into())
}

async fn take(mut body: Incoming, entries_in: impl Fn(&Bytes) -> u64) -> Outcome<Taken> {
    let mut taken = Taken { bytes: 0, entries: 0, first: None };
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            taken.bytes += piece.len() as u64;
            taken.entries += entries_in(&piece);
            if taken.first.is_none() && taken.entries > 0 {
                taken.first = Some(Instant::now());
            }
        }
    }
    Ok(taken)
}

/// Holds an upload up in its middle.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Told when the first half was handed over.
    pub(crate) reached: Option<oneshot::Sender<()>>,
    /// Waits for this before the second.
    pub(crate) open: oneshot::Receiver<()>,
}

/// A request's body.
#[derive(Debug, Default)]
struct Payload {
    pieces: VecDeque<Bytes>,
    left: u64,
    /// How many bytes are left when the gate is reached.
    gate: Option<(u64, Gate)>,
}

impl Payload {
    fn of(file: &File, gate: Option<Gate>) -> Self {
        let mut start = file.start.clone();
        let mut pieces = VecDeque::new();
        while !start.is_empty() {
            pieces.push_back(start.split_to(PIECE_BYTES.min(start.len())));
        }
        pieces.push_back(file.end.clone());
        Self { pieces, left: file.len(), gate: gate.map(|gate| (file.len() / 2, gate)) }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let left = self.left;
        if let Some((at, gate)) = &mut self.gate
            && left <= *at
        {
            if let Some(reached) = gate.reached.take() {
                let _ = reached.send(()); // nobody may wait any more
            }
            if Pin::new(&mut gate.open).poll(context).is_pending() {
                return Poll::Pending;
            }
            self.gate = None;
        }
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, Bytes::len) as u64;
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
