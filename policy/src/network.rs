//! Networks from which a grant may be used.
//!
//! Invariant: an address of IPv4 is the same address when it arrives mapped into IPv6.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// A range of addresses, such as `192.0.2.0/24` or `2001:db8::/48`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// The addresses of IPv4 that are mapped into IPv6 share so many bits: `::ffff:0:0/96` (RFC 4291, 2.5.5.2).
const MAPPED_PREFIX: u32 = 96;

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidNetwork {
    /// It does not begin with an address, or the prefix is no number.
    Syntax,
    /// The prefix is longer than an address of this kind.
    Prefix,
    /// Bits of the address behind the prefix are set, so that it is not clear what was meant.
    HostBits,
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "expected an address or a network such as 192.0.2.0/24 or 2001:db8::/48",
            Self::Prefix => "the prefix is longer than the address: at most 32 for IPv4, 128 for IPv6",
            Self::HostBits => "bits behind the prefix are set: write the network's first address",
        })
    }
}

impl core::error::Error for InvalidNetwork {}

impl Network {
    /// Whether the address lies in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, length) = bits(address.to_canonical());
        let (own, own_length) = bits_of(self);
        length == own_length && first_bits(bits, self.prefix) == first_bits(own, self.prefix)
    }
}

fn bits_of(network: &Network) -> (u128, u32) {
    bits(network.address)
}

/// The address's bits, flush left, and their number.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

const fn first_bits(bits: u128, prefix: u32) -> u128 {
    match 128_u32.checked_sub(prefix) {
        None | Some(0) => bits,
        Some(128) => 0,
        Some(rest) => bits >> rest << rest,
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                (address, Some(prefix.parse::<u32>().map_err(|_| InvalidNetwork::Syntax)?))
            }
            Some(_) => return Err(InvalidNetwork::Syntax),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork::Syntax)?;
        let (bits, length) = bits(address);
        let prefix = prefix.unwrap_or(length);
        if prefix > length {
            return Err(InvalidNetwork::Prefix);
        }
        if first_bits(bits, prefix) != bits {
            return Err(InvalidNetwork::HostBits);
        }
        // Bits of the mapping behind the prefix would have been found above.
        match (address.to_canonical(), prefix.checked_sub(MAPPED_PREFIX)) {
            (canonical @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => {
                Ok(Self { address: canonical, prefix })
            }
            _ => Ok(Self { address, prefix }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
