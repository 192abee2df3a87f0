//! Networks: what parses, and what lies in them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pawl_policy::{InvalidNetwork, Network};
use proptest::prelude::*;

#[test]
fn an_address_lies_in_its_network_only() {
    for (network, inside, outside) in [
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
        ("192.0.2.0/24", "::ffff:192.0.2.9", "::ffff:192.0.3.9"),
        ("::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"),
        ("::ffff:0:0/96", "203.0.113.5", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ("0.0.0.0/0", "203.0.113.5", "2001:db8::1"),
        ("::/0", "2001:db8::1", "203.0.113.5"),
    ] {
        let network: Network = network.parse().unwrap();
        assert!(network.contains(inside.parse().unwrap()), "{inside} in {network}");
        assert!(!network.contains(outside.parse().unwrap()), "{outside} in {network}");
    }
}

#[test]
fn what_is_no_network_says_why() {
    for (text, expected) in [
        ("", InvalidNetwork::Syntax),
        ("192.0.2", InvalidNetwork::Syntax),
        ("192.0.2.0/", InvalidNetwork::Syntax),
        ("192.0.2.0/+8", InvalidNetwork::Syntax),
        ("192.0.2.0/24/24", InvalidNetwork::Syntax),
        ("office", InvalidNetwork::Syntax),
        ("192.0.2.0/33", InvalidNetwork::Prefix),
        ("2001:db8::/129", InvalidNetwork::Prefix),
        ("192.0.2.1/24", InvalidNetwork::HostBits),
        ("2001:db8::1/64", InvalidNetwork::HostBits),
        ("::ffff:0:0/90", InvalidNetwork::HostBits),
    ] {
        assert_eq!(text.parse::<Network>(), Err(expected), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn containment_is_what_masks_say(a in any::<u32>(), b in any::<u32>(), prefix in 0_u32..=32) {
        let mask = if prefix == 0 { 0 } else { u32::MAX << (32 - prefix) };
        let network: Network = format!("{}/{prefix}", Ipv4Addr::from(a & mask)).parse().unwrap();
        prop_assert_eq!(network.contains(IpAddr::V4(Ipv4Addr::from(b))), a & mask == b & mask);
    }

    #[test]
    fn the_same_holds_for_ipv6(a in any::<u128>(), b in any::<u128>(), prefix in 0_u32..=128) {
        let mask = if prefix == 0 { 0 } else { u128::MAX << (128 - prefix) };
        let network: Network = format!("{}/{prefix}", Ipv6Addr::from(a & mask)).parse().unwrap();
        let address = Ipv6Addr::from(b);
        prop_assume!(address.to_ipv4_mapped().is_none());
        prop_assert_eq!(network.contains(IpAddr::V6(address)), a & mask == b & mask);
    }
}
