//! From outcomes to responses: the only place that names a status.
//!
//! Invariant: what a client reads is a fixed, short cause. Inner errors go to the log, never to the client.
//!
//! Which status makes restic do what (`internal/backend/rest/rest.go`): only 200 and 206 are success; 401, 403, 404 and
//! 416 are final from restic 0.17 on, 507 from 0.18.1 on; everything else is retried for up to 15 minutes, and by restic
//! 0.14 ten times. So a quota, which stays used up until the admin acts, is a 403, as for rustic, too. restic prints the
//! reason phrase and nothing else, so the cause stands there.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode, Version};
use pawl_policy::Denial;
use pawl_store::body::{BodyError, Cut};
use pawl_store::deletions::DeletionError;
use pawl_store::{CreateError, StoreError, now_ms};

use super::range::Wanted;
use super::route::RouteError;
use crate::credentials::AuthenticationError;

/// The body of every response.
pub(super) type Body = UnsyncBoxBody<Bytes, StoreError>;

const NOT_FOUND: &str = "no such file or repository";

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no credential")]
    NoCredential,
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    #[error("no such path")]
    Route(RouteError),
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error("range lies behind the end of the file")]
    Range {
        /// The file's size in bytes.
        size: u64,
    },
    #[error(transparent)]
    Deletion(#[from] DeletionError),
    #[error("too many requests of this credential at once; the server allows limits.requests_per_host")]
    TooManyRequests,
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoCredential => StatusCode::UNAUTHORIZED,
            Self::Authentication(error) => match error {
                AuthenticationError::Denied => StatusCode::UNAUTHORIZED,
                AuthenticationError::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
                AuthenticationError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Route(error) => match error {
                RouteError::NotFound => StatusCode::NOT_FOUND,
                RouteError::TooLong => StatusCode::URI_TOO_LONG,
                RouteError::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
                RouteError::Query => StatusCode::BAD_REQUEST,
            },
            Self::Denied(Denial::Hidden | Denial::NoRepository) => StatusCode::NOT_FOUND,
            Self::Denied(Denial::Room) => StatusCode::INSUFFICIENT_STORAGE,
            // A refusal for good would end a backup that only has to wait before it begins.
            Self::Denied(Denial::LocksSuspended { renewal: false, .. } | Denial::RoomPromised) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Denied(_) | Self::Deletion(DeletionError::NotHere) => StatusCode::FORBIDDEN,
            Self::Store(error)
            | Self::Create(CreateError::Store(error))
            | Self::Deletion(DeletionError::Store(error)) => match error {
                StoreError::NotFound => StatusCode::NOT_FOUND,
                StoreError::Full => StatusCode::INSUFFICIENT_STORAGE,
                StoreError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Create(CreateError::Body(error)) => match error {
                BodyError::Cut(_) | BodyError::Mismatch => StatusCode::BAD_REQUEST,
                BodyError::LengthRequired(_) => StatusCode::LENGTH_REQUIRED,
                BodyError::TooLong(_) | BodyError::TooShort(_) | BodyError::NotAKey(_) => {
                    StatusCode::FORBIDDEN
                }
            },
            Self::Create(CreateError::Differs) => StatusCode::FORBIDDEN,
            Self::Create(CreateError::Damaged) | Self::TooManyRequests => StatusCode::SERVICE_UNAVAILABLE,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// What the client is told. Nothing of a store's or the system's own words.
    fn cause(&self) -> Cow<'static, str> {
        match self {
            Self::Authentication(AuthenticationError::Unavailable(_)) => "cannot look up credentials".into(),
            Self::Denied(Denial::Hidden) => NOT_FOUND.into(), // not to be told from a file that is not there
            Self::Route(error) => match error {
                RouteError::NotFound => "no such path".into(),
                RouteError::TooLong => "path is too long".into(),
                RouteError::Method(_) => "method does not go with this path".into(),
                RouteError::Query => "expected ?create=true".into(),
            },
            Self::Store(error)
            | Self::Create(CreateError::Store(error))
            | Self::Deletion(DeletionError::Store(error)) => match error {
                StoreError::NotFound => NOT_FOUND.into(),
                StoreError::Full => "no space left on the server".into(),
                StoreError::Unavailable(_) => "store is unavailable, see the server's log".into(),
            },
            Self::Create(CreateError::Body(BodyError::Cut(cut))) => match cut {
                Cut::Broken(_) => "body ended early".into(),
                Cut::Stalled => "body stalled".into(),
            },
            Self::Create(CreateError::Differs) => "append-only: config exists and differs".into(),
            Self::Create(CreateError::Damaged) => {
                "stored copy is damaged, good copy kept: tell the admin".into()
            }
            Self::NoCredential
            | Self::Authentication(_)
            | Self::Denied(_)
            | Self::Create(_)
            | Self::Range { .. }
            | Self::TooManyRequests
            | Self::Deletion(DeletionError::NotHere) => self.to_string().into(),
        }
    }

    fn add_headers(&self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        match self {
            Self::NoCredential | Self::Authentication(AuthenticationError::Denied) => {
                let challenge = HeaderValue::from_static("Basic realm=\"pawl\", charset=\"UTF-8\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::Authentication(AuthenticationError::Throttled(wait)) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(*wait)));
            }
            Self::Denied(Denial::LocksSuspended { until_ms, .. }) => {
                let wait = Duration::from_millis(until_ms.saturating_sub(now_ms()));
                headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
            }
            Self::Route(RouteError::Method(allowed)) => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Range { size } => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
                    headers.insert(CONTENT_RANGE, value);
                }
            }
            _ => {}
        }
    }
}

/// The answer to plain HTTP where TLS is spoken, as it goes over the line: restic prints the first.
pub(super) fn tls_only() -> String {
    const CAUSE: &str = "this port speaks TLS: the URL must begin with https://";
    let head = "Connection: close\r\nContent-Type: text/plain; charset=utf-8";
    format!("HTTP/1.1 400 {CAUSE}\r\n{head}\r\nContent-Length: {}\r\n\r\n{CAUSE}\n", CAUSE.len() + 1)
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(1)
}

/// The answer to a request that is not carried out.
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let cause = refusal.cause();
    let mut response =
        Response::new(Full::from(format!("{cause}\n")).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = refusal.status();
    if let Ok(phrase) = ReasonPhrase::try_from(cause.as_bytes()) {
        response.extensions_mut().insert(phrase); // HTTP/1.1 only; HTTP/2 has no phrases
    }
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    refusal.add_headers(&mut response);
    response
}

/// Nobody known asked: over HTTP/1.1 the connection ends with this answer, over HTTP/2 the answer has no body, which
/// would wait for the client to make room for it.
pub(super) fn to_a_stranger(response: &mut Response<Body>, version: Version) {
    if version == Version::HTTP_2 {
        *response.body_mut() = empty();
    } else {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The same answer to a request that wants no body.
pub(super) fn without_body(response: &mut Response<Body>) {
    *response.body_mut() = empty();
}

/// 200: a page of the status listener.
pub(super) fn page(content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 503: the page, which says why backups cannot be taken.
pub(super) fn unready(mut page: Response<Body>) -> Response<Body> {
    *page.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    page
}

/// The length of the body, where it was announced.
pub(super) fn announced_bytes(response: &Response<Body>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// 200 without content.
pub(super) fn done() -> Response<Body> {
    Response::new(empty())
}

/// 200 to `HEAD`: only the size.
pub(super) fn size(bytes: u64) -> Response<Body> {
    let mut response = done();
    describe_file(&mut response, bytes);
    response
}

/// 200 or 206: a file, or the part of it that was asked for.
pub(super) fn file(wanted: Wanted, size: u64, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    match wanted {
        Wanted::Part(span) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            describe_file(&mut response, span.len);
            let last = span.start.saturating_add(span.len).saturating_sub(1);
            if let Ok(value) = HeaderValue::try_from(format!("bytes {}-{last}/{size}", span.start)) {
                response.headers_mut().insert(CONTENT_RANGE, value);
            }
        }
        Wanted::Whole | Wanted::Unsatisfiable => describe_file(&mut response, size),
    }
    response
}

/// 200: a listing, as it is made.
pub(super) fn listing(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn describe_file(response: &mut Response<Body>, bytes: u64) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
