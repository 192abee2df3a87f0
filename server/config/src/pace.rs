//! How fast one host may go.
//!
//! Invariant: whoever is too fast waits; nothing is refused, since restic would only try again.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// Bytes are counted in units of this many, so that rates beyond 4 GiB a second can be said.
const UNIT_BYTES: u64 = 1 << 10;
/// What may pass at once however low the rate is: one chunk and the buffers around it.
const BURST_UNITS_MIN: u32 = 256;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock>;

/// The limits of one host. Cheap to clone; all clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pace(Option<Arc<Limits>>);

#[derive(Debug)]
struct Limits {
    clock: DefaultClock,
    requests: Option<Limiter>,
    bytes: Option<(Limiter, NonZeroU32)>,
}

impl Pace {
    /// At most so many requests and bytes a second, bodies of requests and responses together.
    #[must_use]
    pub fn new(requests_per_second: Option<NonZeroU32>, bytes_per_second: Option<u64>) -> Self {
        if requests_per_second.is_none() && bytes_per_second.is_none() {
            return Self(None);
        }
        let bytes = bytes_per_second.map(|bytes| {
            let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
            let rate = NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN);
            let burst = NonZeroU32::new(units.max(BURST_UNITS_MIN)).unwrap_or(NonZeroU32::MIN);
            (RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)), burst)
        });
        let requests = requests_per_second.map(|rate| RateLimiter::direct(Quota::per_second(rate)));
        Self(Some(Arc::new(Limits { clock: DefaultClock::default(), requests, bytes })))
    }

    /// Waits until one more request may be worked on.
    pub async fn request(&self) {
        let Some(limits) = &self.0 else { return };
        let Some(requests) = &limits.requests else { return };
        while let Err(wait) = requests.check() {
            tokio::time::sleep(wait.wait_time_from(limits.clock.now())).await;
        }
    }

    /// Waits until this many more bytes may pass.
    pub async fn bytes(&self, bytes: usize) {
        let Some(limits) = &self.0 else { return };
        let Some((limiter, burst)) = &limits.bytes else { return };
        let mut units = u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(UNIT_BYTES);
        while units > 0 {
            let some = u32::try_from(units).unwrap_or(u32::MAX).min(burst.get());
            let Some(cells) = NonZeroU32::new(some) else { return };
            loop {
                match limiter.check_n(cells) {
                    Ok(Ok(())) => break,
                    Ok(Err(wait)) => tokio::time::sleep(wait.wait_time_from(limits.clock.now())).await,
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await, // never: cells are within the burst
                }
            }
            units -= u64::from(some);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn without_limits_nobody_waits() {
        let pace = Pace::new(None, None);
        for _ in 0..1000 {
            pace.request().await;
            pace.bytes(1 << 30).await;
        }
    }

    #[tokio::test]
    async fn beyond_the_burst_bytes_take_their_time() {
        let pace = Pace::new(None, Some(1 << 20));
        let started = Instant::now();
        pace.bytes(1 << 20).await; // the burst
        pace.bytes(1 << 18).await;
        assert!(started.elapsed() >= Duration::from_millis(200)); // a lower bound: slowness cannot break it
    }

    #[tokio::test]
    async fn clones_share_what_may_pass() {
        let pace = Pace::new(NonZeroU32::new(10), None);
        let started = Instant::now();
        for _ in 0..12 {
            pace.clone().request().await;
        }
        assert!(started.elapsed() >= Duration::from_millis(150));
    }
}
