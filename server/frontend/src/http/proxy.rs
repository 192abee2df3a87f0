//! Who is really asking, where a proxy stands in front.
//!
//! Invariant: a header counts only if the machine that connected is a configured proxy, and of what it holds only what
//! proxies wrote: the rightmost address that is not a proxy's. What clients wrote stands further left.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use pawl_config::Proxies;

use crate::peer::Peer;

/// The client behind the proxy, without an address if the proxy does not say one; the peer itself if that is no proxy.
pub(super) fn client(proxies: &Proxies, peer: Peer, headers: &HeaderMap) -> Peer {
    let (Some(header), Peer::Network(proxy)) = (proxies.header(), peer) else { return peer };
    if !proxies.include(proxy.ip()) {
        return peer;
    }
    let hidden = Peer::Forwarded { address: None, proxy };
    for list in headers.get_all(header).iter().rev() {
        for written in list.as_bytes().rsplit(|byte| *byte == b',') {
            match address(written) {
                Some(address) if proxies.include(address) => {}
                Some(address) => return Peer::Forwarded { address: Some(address), proxy },
                None => return hidden, // not what a proxy writes, so that nothing further left can be believed
            }
        }
    }
    hidden
}

/// Whether the peer is one of them.
pub(super) fn include(proxies: &Proxies, peer: Peer) -> bool {
    matches!(peer, Peer::Network(address) if proxies.include(address.ip()))
}

/// An address, or one with a port.
fn address(written: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(written).ok()?.trim();
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn asking(peer: &str, lists: &[&str]) -> Option<String> {
        let networks = vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let proxies = Proxies::new(networks, HeaderName::from_static("x-forwarded-for"));
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(list.as_bytes()).unwrap());
        }
        client(&proxies, Peer::Network(peer.parse().unwrap()), &headers)
            .ip()
            .map(|address| address.to_string())
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
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["198.51.100.1", "\u{ff}, 192.0.2.7"], "192.0.2.7"),
        ] {
            assert_eq!(asking("127.0.0.1:5", lists).as_deref(), Some(client), "{lists:?}");
        }
    }

    #[test]
    fn a_client_that_no_proxy_names_has_no_address() {
        for lists in [&["192.0.2.7, junk"][..], &["198.51.100.1", "\u{ff}"], &["10.1.2.3"], &[], &[""]] {
            assert_eq!(asking("127.0.0.1:5", lists), None, "{lists:?}");
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
        assert_eq!(client(&Proxies::default(), peer, &header), peer);
    }
}
