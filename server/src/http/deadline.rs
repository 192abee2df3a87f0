//! How long a connection may keep the server waiting.
//!
//! Invariant: unless a request is being worked on, whose own waits have limits, there is a deadline.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Phase {
    /// Requests that are being worked on.
    working: u32,
    /// Responses of which the client has not taken all.
    responding: u32,
    /// A request's head has begun to arrive. So does every connection begin.
    in_head: bool,
    /// Somebody known has used the connection.
    trusted: bool,
    /// Answers to anybody else.
    strange_answers: u32,
    /// When the phase began, or a response last moved.
    since: Instant,
}

/// Answers that a connection gives to strangers. Over HTTP/1.1 it ends with the first; over HTTP/2, where the end is
/// not part of an answer, some may be under way at once.
const STRANGE_ANSWERS_MAX: u32 = 16;

/// How long each phase may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a request's head, and for a connection that nobody known has used.
    pub(super) header: Duration,
    /// For a connection without a request.
    pub(super) idle: Duration,
    /// For a client that takes nothing of any response.
    pub(super) response: Duration,
}

/// The phase of one connection.
///
/// It changes several times with each request, so that nobody is woken by that. Who waits for the deadline looks again
/// often enough not to miss one.
#[derive(Debug, Clone)]
pub(super) struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: Mutex<Phase>,
    /// Strangers got all the answers that they get.
    over: Notify,
}

/// A request that is being worked on.
#[derive(Debug)]
pub(super) struct Working(Clock);

/// A response on its way.
#[derive(Debug)]
pub(super) struct Responding(Clock);

impl Phase {
    /// Strangers got all the answers that they get.
    const fn is_over(&self) -> bool {
        self.working == 0
            && self.responding == 0
            && !self.trusted
            && self.strange_answers >= STRANGE_ANSWERS_MAX
    }

    /// When the client has kept the server waiting for too long; none while the server works.
    fn deadline(&self, patience: Patience) -> Option<Instant> {
        let lasts = match self {
            Self { working: 1.., .. } => return None,
            Self { responding: 1.., .. } => patience.response,
            Self { in_head: false, trusted: true, .. } => patience.idle,
            _ => patience.header,
        };
        Some(self.since + lasts)
    }
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = Instant::now();
        let phase =
            Phase { working: 0, responding: 0, in_head: true, trusted: false, strange_answers: 0, since };
        Self(Arc::new(Shared { phase: Mutex::new(phase), over: Notify::new() }))
    }

    fn phase(&self) -> Phase {
        *self.0.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Phase)) {
        let mut phase = self.0.phase.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut phase);
        if phase.is_over() {
            self.0.over.notify_one();
        }
    }

    /// A request's head is complete.
    pub(super) fn begin(&self) -> Working {
        self.change(|phase| {
            phase.working = phase.working.saturating_add(1);
            phase.in_head = false;
        });
        Working(self.clone())
    }

    fn bytes_arrived(&self) {
        self.change(|phase| {
            if phase.working == 0 && phase.responding == 0 && !phase.in_head {
                phase.in_head = true;
                phase.since = Instant::now();
            }
        });
    }

    /// Returns when the connection has kept the server waiting for too long.
    pub(super) async fn expired(&self, patience: Patience) {
        // No deadline that is set meanwhile can be sooner than the next look.
        let between_looks = patience.header.min(patience.idle).min(patience.response);
        loop {
            let (phase, now) = (self.phase(), Instant::now());
            let deadline = phase.deadline(patience);
            if phase.is_over() || deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let next_look = now + between_looks;
            let next_look = deadline.map_or(next_look, |deadline| deadline.min(next_look));
            let _ = timeout_at(next_look, self.0.over.notified()).await; // either is a reason to look
        }
    }
}

impl Working {
    /// The connection is used by somebody known.
    pub(super) fn trust(&self) {
        self.0.change(|phase| phase.trusted = true);
    }

    /// The work is done; now the client has to take the response.
    pub(super) fn respond(self) -> Responding {
        self.0.change(|phase| {
            phase.responding = phase.responding.saturating_add(1);
            phase.strange_answers = phase.strange_answers.saturating_add(u32::from(!phase.trusted));
            phase.since = Instant::now();
        });
        Responding(self.0.clone())
    }
}

impl Responding {
    /// The client has taken something and wants more.
    pub(super) fn moved(&self) {
        self.0.change(|phase| phase.since = Instant::now());
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.change(|phase| {
            phase.working = phase.working.saturating_sub(1);
            phase.since = Instant::now();
        });
    }
}

impl Drop for Responding {
    fn drop(&mut self) {
        self.0.change(|phase| {
            phase.responding = phase.responding.saturating_sub(1);
            phase.since = Instant::now();
        });
    }
}

/// A connection of HTTP/1.1 that tells the clock when a head begins to arrive. HTTP/2 has pings, which are none.
#[derive(Debug)]
pub(super) struct Watched<T> {
    pub(super) io: T,
    pub(super) clock: Clock,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.clock.bytes_arrived();
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        header: Duration::from_secs(10),
        idle: Duration::from_mins(3),
        response: Duration::from_mins(5),
    };

    /// How long it takes until the connection expires, by tokio's paused clock.
    async fn until_expired(clock: &Clock) -> Duration {
        let started = Instant::now();
        clock.expired(PATIENCE).await;
        started.elapsed()
    }

    /// One request of somebody known, from head to end.
    fn one_request(clock: &Clock) {
        let working = clock.begin();
        working.trust();
        drop(working.respond());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_sends_nothing_expires_like_a_slow_head() {
        assert_eq!(until_expired(&Clock::start()).await, PATIENCE.header);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_stays_idle_for_long_only_if_somebody_known_used_it() {
        let clock = Clock::start();
        drop(clock.begin().respond());
        assert_eq!(until_expired(&clock).await, PATIENCE.header);
        one_request(&clock);
        assert_eq!(until_expired(&clock).await, PATIENCE.idle);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_get_some_answers_and_then_the_connection_ends() {
        let clock = Clock::start();
        for _ in 0..STRANGE_ANSWERS_MAX - 1 {
            drop(clock.begin().respond());
        }
        assert_eq!(until_expired(&clock).await, PATIENCE.header);
        drop(clock.begin().respond());
        assert_eq!(until_expired(&clock).await, Duration::ZERO);
        one_request(&clock);
        assert_eq!(until_expired(&clock).await, PATIENCE.idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_expires() {
        let clock = Clock::start();
        one_request(&clock);
        let expiring = tokio::spawn({
            let clock = clock.clone();
            async move { until_expired(&clock).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        clock.bytes_arrived();
        clock.bytes_arrived();
        assert_eq!(expiring.await.unwrap(), Duration::from_secs(5) + PATIENCE.header);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_worked_on_does_not_expire_and_a_response_that_stands_still_does() {
        let clock = Clock::start();
        let (first, second) = (clock.begin(), clock.begin());
        let response = first.respond();
        let expired = tokio::time::timeout(Duration::from_hours(24), clock.expired(PATIENCE)).await;
        assert!(expired.is_err());
        drop(second);
        assert_eq!(until_expired(&clock).await, PATIENCE.response);
        response.moved();
        assert_eq!(until_expired(&clock).await, PATIENCE.response);
    }
}
