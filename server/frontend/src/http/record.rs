//! One line in the log for each request, and its part in the metrics: who, what, and how it ended.
//!
//! Invariant: the line is written when the response's last byte was handed over or given up, exactly once, and
//! holds no secret. Text from the network that did not parse appears escaped and shortened.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pawl_keeper::audit::Decision;
use pawl_keeper::audit_queue::{Idle, Queue};
use pawl_policy::{Action, FileType, Handle, PrincipalName};
use pawl_store::{StoreError, now_ms};
use tokio::time::Instant;

use super::deadline::Responding;
use super::gate::Entered;
use super::metrics::{Finished, Metrics};
use super::respond::{Body, Refusal};
use crate::peer::Peer;

/// Longest text from the network in a line, in characters.
const SHOWN_MAX: usize = 160;

/// What is known of a request.
#[derive(Debug)]
pub(super) struct Record {
    /// Number of the request in this process.
    request: u64,
    peer: Peer,
    started: Instant,
    principal: Asker,
    action: Option<Action>,
    /// Method and path, for requests that are no action.
    asked: String,
    outcome: String,
    status: u16,
    received_bytes: u64,
    sent_bytes: u64,
    metrics: Arc<Metrics>,
    audit: Queue,
    /// What was sent is stored now, and was not before.
    has_stored: bool,
}

/// Who asked.
#[derive(Debug)]
enum Asker {
    Nobody,
    Proved(PrincipalName),
    Claimed(PrincipalName),
}

impl Record {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        audit: Queue,
        request: u64,
        peer: Peer,
        method: &str,
        path: &str,
    ) -> Self {
        Self {
            metrics,
            audit,
            request,
            peer,
            started: Instant::now(),
            principal: Asker::Nobody,
            action: None,
            asked: format!("{} {}", shown(method), shown(path)),
            outcome: String::new(),
            status: 0,
            received_bytes: 0,
            sent_bytes: 0,
            has_stored: false,
        }
    }

    pub(super) fn note_principal(&mut self, name: &PrincipalName) {
        self.principal = Asker::Proved(name.clone());
    }

    /// A known name that nobody proved. Unknown ones are not noted: people type passwords where names belong.
    pub(super) fn note_claimed(&mut self, name: &PrincipalName) {
        self.principal = Asker::Claimed(name.clone());
    }

    pub(super) fn note_action(&mut self, action: &Action) {
        self.action = Some(action.clone());
    }

    pub(super) const fn note_received(&mut self, bytes: u64) {
        self.received_bytes = bytes;
    }

    pub(super) fn note_outcome(&mut self, status: u16, outcome: impl Into<String>) {
        self.status = status;
        self.outcome = outcome.into();
    }

    pub(super) fn note_refusal(&mut self, refusal: &Refusal) {
        self.note_outcome(refusal.status().as_u16(), refusal.to_string());
        self.metrics.note_refusal(refusal, self.action.as_ref());
    }

    /// What was sent is stored now, and was not before.
    pub(super) fn note_stored(&mut self) {
        self.has_stored = true;
        if let Some(Action::Create(create)) = &self.action {
            self.metrics.note_stored(&create.repository, &create.handle, now_ms());
        }
    }

    /// The principal as it stands in the log.
    fn asker(&self) -> Option<String> {
        match &self.principal {
            Asker::Nobody => None,
            Asker::Proved(name) => Some(name.to_string()),
            Asker::Claimed(name) => Some(format!("?{name}")),
        }
    }

    fn count(&self) {
        self.metrics.note_ended(&Finished {
            action: self.action.as_ref(),
            status: self.status,
            principal: match &self.principal {
                Asker::Proved(name) => Some(name),
                Asker::Claimed(_) | Asker::Nobody => None,
            },
            received_bytes: self.received_bytes,
            sent_bytes: self.sent_bytes,
        });
    }

    /// Which kind of decision it is, of which a principal can cause any number; none if it has a line in any case.
    const fn idle(&self) -> Option<Idle> {
        match (&self.action, self.status) {
            (Some(Action::List(_) | Action::Stat(_) | Action::Read(_)), ..=399 | 404 | 416) => {
                Some(Idle::Read)
            }
            (Some(Action::Delete(_)), 400..) => Some(Idle::RefusedDeletion),
            (_, 400..) => Some(Idle::Refusal),
            (Some(Action::Create(create)), _) if self.has_stored => match create.handle {
                Handle::File(FileType::Locks, _) => Some(Idle::Lock),
                _ => None,
            },
            (Some(Action::Delete(delete)), _) => match delete.handle {
                Handle::File(FileType::Locks, _) => Some(Idle::Lock),
                _ => None,
            },
            _ => Some(Idle::Repeat),
        }
    }

    /// Writes the line, and the same into the audit log.
    fn write(&self) {
        let action = self.action.as_ref().map_or_else(|| self.asked.clone(), ToString::to_string);
        let principal = self.asker();
        let file = self.action.as_ref().and_then(Action::handle).map(ToString::to_string);
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    action = action.as_str(),
                    outcome = self.outcome,
                    principal = principal.as_deref(),
                    repository = self.action.as_ref().map(|action| action.repository().as_str()),
                    file = file.as_deref(),
                    status = self.status,
                    bytes_in = self.received_bytes,
                    bytes_out = self.sent_bytes,
                    ms,
                    peer = %self.peer,
                    request = self.request,
                )
            };
        }
        match self.status {
            500.. => line!(tracing::Level::ERROR),
            404 => line!(tracing::Level::INFO), // restic asks whether a config is there before it makes one
            400.. => line!(tracing::Level::WARN),
            _ => line!(tracing::Level::INFO),
        }
        let decision = Decision {
            principal,
            peer: self.peer.to_string(),
            repository: self.action.as_ref().map(|action| action.repository().to_string()),
            action,
            file,
            outcome: shown(&self.outcome),
            status: self.status,
            bytes_in: self.received_bytes,
            bytes_out: self.sent_bytes,
        };
        match (&self.principal, self.idle()) {
            (Asker::Proved(name), Some(kind)) => self.audit.note_idle(name, kind, decision),
            (Asker::Proved(_), None) => self.audit.note(decision),
            (Asker::Nobody | Asker::Claimed(_), _) => self.audit.note_stranger(decision),
        }
    }
}

/// Text from the network: escaped, and cut if it is long.
fn shown(text: &str) -> String {
    let escaped: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN_MAX).is_some() { escaped + "…" } else { escaped }
}

/// A response's body that writes the line when it ends, and tells the connection's clock when it moves.
#[derive(Debug)]
pub(super) struct Recorded {
    body: Body,
    record: Record,
    /// Bytes that were announced; after these nobody asks whether there are more.
    announced_bytes: Option<u64>,
    ended: bool,
    responding: Responding,
    _place: Option<Arc<Entered<PrincipalName>>>,
}

impl Recorded {
    pub(super) const fn new(
        body: Body,
        announced_bytes: Option<u64>,
        record: Record,
        responding: Responding,
        place: Option<Arc<Entered<PrincipalName>>>,
    ) -> Self {
        Self { body, record, announced_bytes, ended: false, responding, _place: place }
    }

    fn is_complete(&self) -> bool {
        self.ended || self.body.is_end_stream() || self.announced_bytes == Some(self.record.sent_bytes)
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        self.responding.moved();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.record.sent_bytes = self.record.sent_bytes.saturating_add(bytes);
            }
            Poll::Ready(Some(Err(error))) => {
                let outcome = format!("cut: {error}");
                self.record.note_outcome(500, outcome);
                self.ended = true;
            }
            Poll::Ready(None) => self.ended = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.is_complete() {
            self.record.outcome.push_str(", client went away");
        }
        self.record.write();
        self.record.count();
    }
}
