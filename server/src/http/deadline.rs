//! How long a connection may keep the server waiting between requests.
//!
//! Invariant: a connection is always in one of three phases, and in all but `Busy` it has a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request's head has begun to arrive. So does every connection begin.
    Head(Instant),
    /// Nothing is asked.
    Idle(Instant),
    /// This many requests are being answered.
    Busy(u32),
}

/// The phase of one connection.
#[derive(Debug, Clone)]
pub(super) struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    /// Somebody known has used the connection.
    trusted: AtomicBool,
}

/// A request that is being answered. Dropping it makes the connection idle again.
#[derive(Debug)]
pub(super) struct Busy(Clock);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Arc::new(Shared {
            phase: watch::Sender::new(Phase::Head(Instant::now())),
            trusted: AtomicBool::new(false),
        }))
    }

    /// A request's head is complete.
    pub(super) fn begin(&self) -> Busy {
        self.0.phase.send_modify(|phase| {
            *phase = match *phase {
                Phase::Busy(requests) => Phase::Busy(requests.saturating_add(1)),
                Phase::Head(_) | Phase::Idle(_) => Phase::Busy(1),
            };
        });
        Busy(self.clone())
    }

    fn bytes_arrived(&self) {
        self.0.phase.send_if_modified(|phase| match *phase {
            Phase::Idle(_) => {
                *phase = Phase::Head(Instant::now());
                true
            }
            Phase::Head(_) | Phase::Busy(_) => false,
        });
    }

    /// Returns when the connection has kept the server waiting for too long. One that nobody known has used may
    /// not stay idle for longer than a head may take.
    pub(super) async fn expired(&self, header: Duration, idle: Duration) {
        let mut changes = self.0.phase.subscribe();
        loop {
            let deadline = match *changes.borrow_and_update() {
                Phase::Head(since) => Some(since + header),
                Phase::Idle(since) if self.0.trusted.load(Ordering::Relaxed) => Some(since + idle),
                Phase::Idle(since) => Some(since + header),
                Phase::Busy(_) => None,
            };
            let elapsed = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = elapsed => return,
                gone = changes.changed() => if gone.is_err() { return },
            }
        }
    }
}

impl Busy {
    /// The connection is used by somebody known.
    pub(super) fn trust(&self) {
        self.0.0.trusted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.phase.send_modify(|phase| {
            *phase = match *phase {
                Phase::Busy(requests) if requests > 1 => Phase::Busy(requests - 1),
                Phase::Busy(_) | Phase::Head(_) | Phase::Idle(_) => Phase::Idle(Instant::now()),
            };
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

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_mins(3);

    /// Seconds until the connection expires, by tokio's paused clock.
    async fn seconds_until_expired(clock: &Clock) -> u64 {
        let started = Instant::now();
        clock.expired(HEADER, IDLE).await;
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_sends_nothing_expires_like_a_slow_head() {
        assert_eq!(seconds_until_expired(&Clock::start()).await, HEADER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_longer_until_a_head_begins() {
        let clock = Clock::start();
        drop(clock.begin());
        assert_eq!(seconds_until_expired(&clock).await, HEADER.as_secs()); // nobody known has used it
        clock.begin().trust();
        assert_eq!(seconds_until_expired(&clock).await, IDLE.as_secs());
        drop(clock.begin());
        let expiring = tokio::spawn({
            let clock = clock.clone();
            async move { seconds_until_expired(&clock).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        clock.bytes_arrived();
        clock.bytes_arrived(); // a drip does not help
        assert_eq!(expiring.await.unwrap(), 5 + HEADER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_does_not_expire() {
        let clock = Clock::start();
        let (first, second) = (clock.begin(), clock.begin());
        drop(first);
        let expired = tokio::time::timeout(Duration::from_secs(100_000), clock.expired(HEADER, IDLE)).await;
        assert!(expired.is_err());
        second.trust();
        drop(second);
        assert_eq!(seconds_until_expired(&clock).await, IDLE.as_secs());
    }
}
