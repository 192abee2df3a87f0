//! Counts events by address: failed logins, new connections.
//!
//! Invariant: memory is bounded, whatever the number of addresses that try.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::peer::Origin;

/// Addresses remembered. While more are busy, each counts as having had too many events.
const ADDRESSES_MAX: usize = 10_000;
/// Forgetting looks at all of them.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

type Limiter = RateLimiter<Origin, HashMapStateStore<Origin>, DefaultClock>;

/// A limit on events by address.
#[derive(Debug)]
pub(crate) struct Throttle {
    limiter: Limiter,
    clock: DefaultClock,
    swept: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn per_minute(events: NonZeroU32) -> Self {
        Self::new(Quota::per_minute(events))
    }

    pub(crate) fn per_second_with_burst(events: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::new(Quota::per_second(events).allow_burst(burst))
    }

    fn new(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Counts one event, unless there were too many; then says how long to wait.
    pub(crate) fn count(&self, from: Origin) -> Result<(), Duration> {
        if self.limiter.len() > ADDRESSES_MAX && !self.sweep() {
            return Err(SWEEP_EVERY);
        }
        self.limiter.check_key(&from).map_err(|wait| wait.wait_time_from(self.clock.now()))
    }

    /// Forgets addresses that have been quiet; false if there is no room even so, or none was made just now.
    fn sweep(&self) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.elapsed() < SWEEP_EVERY {
            return false;
        }
        *swept = Instant::now();
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.limiter.len() <= ADDRESSES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_use_up_what_another_has() {
        let throttle = Throttle::per_minute(NonZeroU32::new(2).unwrap());
        let (first, second) = (Origin::of("192.0.2.1".parse().unwrap()), Origin::User(1000));
        assert_eq!((throttle.count(first), throttle.count(first)), (Ok(()), Ok(())));
        assert!(throttle.count(first).unwrap_err() > Duration::ZERO);
        assert_eq!(throttle.count(second), Ok(()));
    }
}
