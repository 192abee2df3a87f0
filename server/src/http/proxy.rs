//! Who is really asking, where a proxy stands in front.
//!
//! Invariant: a header counts only if the machine that connected is a configured proxy, and of what it holds only what
//! proxies wrote: the rightmost address that is not a proxy's. What clients wrote stands further left.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::HeaderName;
use pawl_policy::Network;

use crate::peer::Peer;

/// The proxies that are believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    networks: Vec<Network>,
    header: Option<HeaderName>,
}

impl Proxies {
    /// Believes what these write into this header, a list of addresses separated by commas.
    #[must_use]
    pub const fn new(networks: Vec<Network>, header: HeaderName) -> Self {
        Self { networks, header: Some(header) }
    }

    /// The client behind the proxy; the peer itself if that is no proxy, or does not say.
    pub(super) fn client(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        let (Some(header), Peer::Network(proxy)) = (&self.header, peer) else { return peer };
        if !self.is_proxy(proxy.ip()) {
            return peer;
        }
        let lists = headers.get_all(header).iter().rev().filter_map(|list| list.to_str().ok());
        for address in lists.flat_map(|list| list.rsplit(',')) {
            match address.trim().parse::<IpAddr>() {
                Ok(address) if self.is_proxy(address) => {}
                Ok(address) => return Peer::Forwarded { address, proxy },
                Err(_) => return peer, // from here on it is not what a proxy writes
            }
        }
        peer
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn asking(peer: &str, lists: &[&str]) -> Option<String> {
        let networks = vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let proxies = Proxies::new(networks, HeaderName::from_static("x-forwarded-for"));
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append("x-forwarded-for", HeaderValue::from_str(list).unwrap());
        }
        proxies.client(Peer::Network(peer.parse().unwrap()), &headers).ip().map(|address| address.to_string())
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxys_is_the_clients() {
        for (lists, client) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
            (&["198.51.100.1, 192.0.2.7, 10.1.2.3"], "192.0.2.7"),
            (&["198.51.100.1", "192.0.2.7"], "192.0.2.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["junk, 192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, junk"], "127.0.0.1"),
            (&["10.1.2.3"], "127.0.0.1"),
            (&[], "127.0.0.1"),
            (&[""], "127.0.0.1"),
        ] {
            assert_eq!(asking("127.0.0.1:5", lists).as_deref(), Some(client), "{lists:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(asking("192.0.2.1:5", &["198.51.100.1"]).as_deref(), Some("192.0.2.1"));
        let header = HeaderMap::from_iter([(
            HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("198.51.100.1"),
        )]);
        let peer = Peer::Network("127.0.0.1:5".parse().unwrap());
        assert_eq!(Proxies::default().client(peer, &header), peer);
    }
}
