//! Counts failed logins by address.
//!
//! Invariant: memory is bounded, whatever the number of addresses that try.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Addresses remembered before those that have been quiet are forgotten.
const ADDRESSES_MAX: usize = 10_000;

type Limiter = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>;

/// A limit on events by address.
#[derive(Debug)]
pub(super) struct Throttle {
    limiter: Limiter,
    clock: DefaultClock,
}

impl Throttle {
    pub(super) fn per_minute(events: NonZeroU32) -> Self {
        Self::new(Quota::per_minute(events))
    }

    pub(super) fn per_second_with_burst(events: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::new(Quota::per_second(events).allow_burst(burst))
    }

    fn new(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one event, unless there were too many; then says how long to wait.
    pub(super) fn count(&self, peer: IpAddr) -> Result<(), Duration> {
        if self.limiter.len() > ADDRESSES_MAX {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter
            .check_key(&network(peer))
            .map_err(|wait| wait.wait_time_from(self.clock.now()))
    }
}

/// Who has one IPv6 address usually has the whole /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_use_up_what_another_has() {
        let throttle = Throttle::per_minute(NonZeroU32::new(2).unwrap());
        let (first, second) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!((throttle.count(first), throttle.count(first)), (Ok(()), Ok(())));
        assert!(throttle.count(first).unwrap_err() > Duration::ZERO);
        assert_eq!(throttle.count(second), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_a_mapped_address_as_what_it_maps() {
        let throttle = Throttle::per_minute(NonZeroU32::MIN);
        assert!(throttle.count("2001:db8::1".parse().unwrap()).is_ok());
        assert!(throttle.count("2001:db8::ffff:1".parse().unwrap()).is_err());
        assert!(throttle.count("2001:db8:0:1::1".parse().unwrap()).is_ok());
        assert!(throttle.count("192.0.2.9".parse().unwrap()).is_ok());
        assert!(throttle.count("::ffff:192.0.2.9".parse().unwrap()).is_err());
    }
}
