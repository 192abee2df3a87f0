//! How long a connection may keep the server waiting.
//!
//! Invariant: unless the server works on the request of somebody who has authenticated, whose own waits have limits,
//! there is a deadline. Without a credential it counts from the beginning of the connection, whatever the client does.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pawl_policy::PrincipalName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::arrivals::{Arrival, Idle, Listed, Roster};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Phase {
    /// Requests that are being worked on.
    working: u32,
    /// Responses of which the client has not taken all.
    responding: u32,
    /// Of both, those of somebody who has authenticated.
    authenticated_requests: u32,
    /// A request's head has begun to arrive. So does every connection begin.
    in_head: bool,
    /// The last credential that came was right.
    authenticated: bool,
    /// Since when no request has authenticated: the connection's beginning, or a credential that was refused.
    unauthenticated_since: Instant,
    /// Answers to requests that did not authenticate.
    strange_answers: u32,
    /// When the phase began, or a response last moved.
    since: Instant,
    /// It is to end as soon as nothing is asked on it.
    ending: bool,
}

/// How long a connection without a credential may last beyond a head's time, for the answer to a request whose head came
/// last: a client of HTTP/1.1 that still sends its body would not see the answer otherwise.
pub(super) const REFUSAL: Duration = Duration::from_secs(5);

/// Answers that a connection gives to strangers. Over HTTP/1.1 it ends with the first; over HTTP/2, where the end is
/// not part of an answer, some may be under way at once.
const STRANGE_ANSWERS_MAX: u32 = 16;

/// How long each phase may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// For a request's head, and for a connection on which nobody has authenticated.
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
    /// The connection is to end now.
    over: Notify,
    counted: Mutex<Counted>,
}

/// Whom the connection counts for: its address until somebody authenticates, then the first host that does.
#[derive(Debug)]
struct Counted {
    arrival: Option<Arrival>,
    host: Option<Listed<PrincipalName>>,
}

/// A request that is being worked on.
#[derive(Debug)]
pub(super) struct Working {
    clock: Clock,
    /// Its credential was right.
    authenticated: bool,
}

/// A response on its way.
#[derive(Debug)]
pub(super) struct Responding {
    clock: Clock,
    /// It answers somebody who has authenticated.
    authenticated: bool,
}

impl Phase {
    const fn is_idle(&self) -> bool {
        self.working == 0 && self.responding == 0
    }

    /// Strangers got all the answers that they get, or others need the place.
    const fn is_over(&self) -> bool {
        let is_refused = !self.authenticated && self.strange_answers >= STRANGE_ANSWERS_MAX;
        self.is_idle() && (self.ending || is_refused)
    }

    /// When the client has kept the server waiting for too long; none while the server works for somebody known.
    fn deadline(&self, patience: Timeouts) -> Option<Instant> {
        if !self.authenticated && self.authenticated_requests == 0 {
            let refusal = if self.is_idle() { Duration::ZERO } else { REFUSAL };
            return Some(self.unauthenticated_since + patience.header + refusal);
        }
        let lasts = match self {
            Self { working: 1.., .. } => return None,
            Self { responding: 1.., .. } => patience.response,
            Self { in_head: false, authenticated: true, .. } => patience.idle,
            _ => patience.header,
        };
        Some(self.since + lasts)
    }
}

impl Shared {
    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Phase)) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut phase);
        if phase.is_over() {
            self.over.notify_one();
        }
    }
}

impl Idle for Shared {
    fn idle_since(&self) -> Option<Instant> {
        let phase = self.phase();
        phase.is_idle().then_some(phase.since)
    }

    fn end_when_idle(&self) {
        self.change(|phase| phase.ending = true);
    }
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = Instant::now();
        let phase = Phase {
            working: 0,
            responding: 0,
            authenticated_requests: 0,
            in_head: true,
            authenticated: false,
            unauthenticated_since: since,
            strange_answers: 0,
            since,
            ending: false,
        };
        let counted = Mutex::new(Counted { arrival: None, host: None });
        Self(Arc::new(Shared { phase: Mutex::new(phase), over: Notify::new(), counted }))
    }

    /// The connection as others see it who want its place.
    pub(super) fn idle(&self) -> Arc<dyn Idle> {
        Arc::<Shared>::clone(&self.0)
    }

    /// Counts the connection for its address until somebody authenticates.
    pub(super) fn count_for_address(&self, arrival: Arrival) {
        self.counted().arrival = Some(arrival);
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection is to end now.
    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        self.phase().is_over()
    }

    /// Whether a request has ever come.
    pub(super) fn was_asked(&self) -> bool {
        let phase = self.phase();
        !phase.is_idle() || phase.authenticated || phase.strange_answers > 0
    }

    fn phase(&self) -> Phase {
        self.0.phase()
    }

    fn change(&self, change: impl FnOnce(&mut Phase)) {
        self.0.change(change);
    }

    /// A request's head is complete.
    pub(super) fn begin(&self) -> Working {
        self.change(|phase| {
            phase.working = phase.working.saturating_add(1);
            phase.in_head = false;
        });
        Working { clock: self.clone(), authenticated: false }
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
    pub(super) async fn expired(&self, patience: Timeouts) {
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
    /// The request's credential was right.
    pub(super) fn authenticated(&mut self) {
        if !std::mem::replace(&mut self.authenticated, true) {
            self.clock.change(|phase| {
                phase.authenticated = true;
                phase.authenticated_requests = phase.authenticated_requests.saturating_add(1);
            });
            if let Some(arrival) = self.clock.counted().arrival.take() {
                arrival.authenticated();
            }
        }
    }

    /// Counts the connection for the host, unless it counts for one. Beyond so many of them one ends that is idle.
    pub(super) fn count_for_host(&self, hosts: &Roster<PrincipalName>, name: &PrincipalName, max: u32) {
        let mut counted = self.clock.counted();
        if counted.host.is_some() {
            return;
        }
        let (listed, count) = hosts.enter(name, &self.clock.idle());
        counted.host = Some(listed);
        drop(counted);
        if count > usize::try_from(max).unwrap_or(usize::MAX) {
            hosts.end_one(name, &self.clock.idle());
        }
    }

    /// The request's credential was refused, or there was none. What is under way for others on the connection goes on.
    pub(super) fn refused(&self) {
        self.clock.change(|phase| {
            if std::mem::replace(&mut phase.authenticated, false) {
                phase.unauthenticated_since = Instant::now();
            }
        });
    }

    /// Counts the request again, for as long as the rest of its body is read.
    pub(super) fn read_on(&self) -> Self {
        let mut reading = self.clock.begin();
        if self.authenticated {
            reading.authenticated();
        }
        reading
    }

    /// The work is done; now the client has to take the response.
    pub(super) fn respond(mut self) -> Responding {
        // The response takes over what this counted as.
        let authenticated = std::mem::replace(&mut self.authenticated, false);
        self.clock.change(|phase| {
            phase.responding = phase.responding.saturating_add(1);
            phase.strange_answers = phase.strange_answers.saturating_add(u32::from(!authenticated));
            phase.since = Instant::now();
        });
        Responding { clock: self.clock.clone(), authenticated }
    }
}

impl Responding {
    /// The client has taken something and wants more.
    pub(super) fn moved(&self) {
        self.clock.change(|phase| phase.since = Instant::now());
    }
}

impl Phase {
    /// A request or a response is over.
    fn end(&mut self, authenticated: bool) {
        self.authenticated_requests = self.authenticated_requests.saturating_sub(u32::from(authenticated));
        self.since = Instant::now();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.clock.change(|phase| {
            phase.working = phase.working.saturating_sub(1);
            phase.end(self.authenticated);
        });
    }
}

impl Drop for Responding {
    fn drop(&mut self) {
        self.clock.change(|phase| {
            phase.responding = phase.responding.saturating_sub(1);
            phase.end(self.authenticated);
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

    const PATIENCE: Timeouts = Timeouts {
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
        let mut working = clock.begin();
        working.authenticated();
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
        let (mut first, mut second) = (clock.begin(), clock.begin());
        first.authenticated();
        second.authenticated();
        let response = first.respond();
        let expired = tokio::time::timeout(Duration::from_hours(24), clock.expired(PATIENCE)).await;
        assert!(expired.is_err());
        drop(second);
        assert_eq!(until_expired(&clock).await, PATIENCE.response);
        response.moved();
        assert_eq!(until_expired(&clock).await, PATIENCE.response);
    }

    /// Has requests without a credential begin, one after the other, and returns how long the connection lasts.
    async fn asked_again_and_again(clock: &Clock) -> Duration {
        let asking = tokio::spawn({
            let clock = clock.clone();
            async move {
                let mut requests = Vec::new();
                loop {
                    let working = clock.begin();
                    working.refused();
                    requests.push(working);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        });
        let lasted = until_expired(clock).await;
        asking.abort();
        lasted
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_credential_no_request_prolongs_a_connection() {
        let clock = Clock::start();
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(asked_again_and_again(&clock).await, Duration::from_secs(1) + REFUSAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_that_is_refused_later_ends_the_connection_as_if_there_had_been_none() {
        let clock = Clock::start();
        one_request(&clock);
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(asked_again_and_again(&clock).await, PATIENCE.header + REFUSAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_credential_does_not_cut_anothers_beside_it() {
        let clock = Clock::start();
        let mut upload = clock.begin();
        upload.authenticated();
        clock.begin().refused();
        let expired = tokio::time::timeout(Duration::from_hours(24), clock.expired(PATIENCE)).await;
        assert!(expired.is_err());
        drop(upload.respond());
        assert_eq!(until_expired(&clock).await, Duration::ZERO);
    }
}
