//! Proxies that are believed when they name the client.
//!
//! Invariant: who is not in a configured network is no proxy.

use std::net::IpAddr;

use http::HeaderName;
use pawl_policy::Network;

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

    /// The header that they write; none where there are no proxies.
    #[must_use]
    pub const fn header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }

    /// Whether a machine with this address is one of them.
    #[must_use]
    pub fn include(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}
