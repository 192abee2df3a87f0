//! Who is at the other end of a connection, as far as the kernel says.
//!
//! Invariant: what limits are counted by, an [`Origin`], cannot be varied at will by whoever connects.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A machine, over the network.
    Network(SocketAddr),
    /// A machine, by the word of a proxy that is believed.
    Forwarded {
        /// The client's address; nothing if the proxy did not say one.
        address: Option<IpAddr>,
        /// The proxy that connected.
        proxy: SocketAddr,
    },
    /// A process of this machine, over a Unix socket. Its user is known for sure, its number is for the log.
    Local {
        /// The user it ran as when it connected.
        uid: u32,
        /// Its number, if it can be seen from here.
        pid: Option<i32>,
    },
}

/// What counts as one when something is limited by where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An address, or a network of those that one customer usually has.
    Network(IpAddr),
    /// A user of this machine.
    User(u32),
}

impl Peer {
    /// What it counts as.
    #[must_use]
    pub fn origin(self) -> Origin {
        match self {
            Self::Network(address) => Origin::of(address.ip()),
            Self::Forwarded { address, proxy } => Origin::of(address.unwrap_or(proxy.ip())),
            Self::Local { uid, .. } => Origin::User(uid),
        }
    }

    /// Its address; a process of this machine has none.
    #[must_use]
    pub const fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Network(address) => Some(address.ip()),
            Self::Forwarded { address, .. } => address,
            Self::Local { .. } => None,
        }
    }
}

impl Origin {
    /// Whoever has one address of IPv6 usually has the whole /64.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Forwarded { address: Some(address), proxy } => write!(f, "{address} via {proxy}"),
            Self::Forwarded { address: None, proxy } => write!(f, "unknown via {proxy}"),
            Self::Local { uid, pid: Some(pid) } => write!(f, "unix:uid={uid},pid={pid}"),
            Self::Local { uid, pid: None } => write!(f, "unix:uid={uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_user_count_as_one_and_the_log_tells_them_apart() {
        let (first, second) = (Peer::Local { uid: 7, pid: Some(1) }, Peer::Local { uid: 7, pid: None });
        assert_eq!(first.origin(), second.origin());
        assert_ne!(first.origin(), Peer::Local { uid: 8, pid: Some(1) }.origin());
        assert_eq!(first.to_string(), "unix:uid=7,pid=1");
        assert_eq!(second.to_string(), "unix:uid=7");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_a_mapped_address_as_what_it_maps() {
        let origin = |address: &str| Origin::of(address.parse().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("192.0.2.9"), origin("::ffff:192.0.2.9"));
    }
}
