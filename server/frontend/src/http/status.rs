//! The status listener: metrics and health, for the admin's monitoring and nobody else.
//!
//! Invariant: it asks for no credential, so it says nothing that is secret and does nothing for whoever asks; how many
//! connections it holds, for how long, and how often it troubles keeper and disk are bounded.

mod health;
mod recent;
mod snapshots;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use pawl_config::Level;
use pawl_keeper::audit::Head;
use pawl_store::{AppendStore, Observed};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::listen::{PAUSE, tcp};
use super::respond::{self, Body};
use super::route::{self, Page};
use super::service::Frontend;
use crate::socket::{Bound, SocketError};
use health::Health;
use recent::Recent;
use snapshots::Snapshots;

/// Connections at a time; more wait. A monitoring system has one or two.
const CONNECTIONS_MAX: usize = 16;
/// A connection carries one request, whose answer waits at most 5 seconds for the keeper.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// Buffer of a connection, which also bounds a request's head.
const BUFFER_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// What does not change while the server runs.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Whether files wait for their name without one (`O_TMPFILE`).
    pub unnamed_files: bool,
    /// Whether the kernel can prove that no writer of a stored file is left.
    pub leases: bool,
    /// What stands between code that runs in the server and what is stored.
    pub level: Level,
}

/// The page `/healthz`.
#[derive(Serialize)]
struct Healthy {
    /// The last record of the audit log, to be kept elsewhere; nothing if the keeper does not answer.
    audit: Option<Head>,
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    staging: &'static str,
    leases: bool,
    confinement: Level,
    connections: i64,
}

/// The page `/readyz`.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
}

struct Status<S> {
    door: Arc<Frontend<S>>,
    about: About,
    started: Instant,
    health: Health<S>,
    audit_head: Recent<Option<Head>>,
    usage: Recent<()>,
    snapshots: Arc<Snapshots<S>>,
}

/// Answers about the frontend until the returned future is dropped.
pub fn serve<S: AppendStore + Observed + Clone>(
    bound: Bound,
    door: Arc<Frontend<S>>,
    about: About,
) -> Result<impl Future<Output = ()>, SocketError> {
    let listener = tcp(bound)?;
    door.metrics.confined(about.level);
    let status = Arc::new(Status {
        about,
        started: Instant::now(),
        health: Health::new(door.store.clone(), Arc::clone(&door.metrics)),
        audit_head: Recent::new(),
        usage: Recent::new(),
        snapshots: Arc::new(Snapshots::new(Arc::clone(&door))),
        door,
    });
    Ok(accept(listener, status))
}

async fn accept<S: AppendStore + Observed + Clone>(listener: TcpListener, status: Arc<Status<S>>) {
    status.snapshots.catch_up();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let status = Arc::clone(&status);
                tokio::spawn(async move {
                    connection(status, stream).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the status listener");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection<S: AppendStore + Observed + Clone>(status: Arc<Status<S>>, stream: TcpStream) {
    let header = status.door.limits.header;
    let service = service_fn(move |request| {
        let status = Arc::clone(&status);
        async move { Ok::<_, Infallible>(status.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection to the status listener ended"),
        Err(_) => tracing::debug!("connection to the status listener took too long"),
    }
}

impl<S: AppendStore + Observed + Clone> Status<S> {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        match route::page(request.method(), request.uri()) {
            Ok(Page::Metrics) => self.metrics().await,
            Ok(Page::Health) => self.health().await,
            Ok(Page::Readiness) => self.readiness().await,
            Err(error) => respond::refusal(&respond::Refusal::Route(error)),
        }
    }

    async fn metrics(&self) -> Response<Body> {
        self.snapshots.catch_up();
        let _ = self.health.verdict().await; // brings the metrics of disk and keeper up to date
        let _ = self.usage.find(|| count_usage(Arc::clone(&self.door)), |_| ()).await; // or the last ones stand
        respond::page(METRICS, self.door.metrics.text())
    }

    async fn health(&self) -> Response<Body> {
        let audit = self.door.audit.clone();
        let audit = self.audit_head.find(|| async move { audit.head().await }, |_| ()).await;
        json(&Healthy {
            audit: audit.flatten(),
            status: "ok",
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.started.elapsed().as_secs(),
            staging: if self.about.unnamed_files { "unnamed" } else { "named" },
            leases: self.about.leases,
            confinement: self.about.level,
            connections: self.door.metrics.connections(),
        })
    }

    async fn readiness(&self) -> Response<Body> {
        match self.health.verdict().await {
            Ok(()) => json(&Readiness { status: "ready", cause: None }),
            Err(unready) => {
                respond::unready(json(&Readiness { status: "not ready", cause: Some(unready.cause()) }))
            }
        }
    }
}

/// Brings the metrics of repositories and quotas up to date. If that fails, the last ones stand.
async fn count_usage<S: Observed>(door: Arc<Frontend<S>>) {
    let (repositories, quotas) = (door.credentials.repositories(), door.credentials.quotas());
    if let (Ok(repositories), Ok(quotas)) = (repositories, quotas)
        && let Ok(usages) = door.store.usages(repositories.into_iter().collect()).await
    {
        door.metrics.note_usages(&usages, &quotas);
    }
}

fn json(page: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(page).unwrap_or_default(); // no map keys, nothing that could fail
    respond::page(JSON, text + "\n")
}
