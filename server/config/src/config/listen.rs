//! Where to listen, as it is written.
//!
//! Invariant: the path of a Unix socket can stand in a URL as it is.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address of this machine, with a port.
    Tcp(SocketAddr),
    /// A Unix socket, for processes of this machine.
    Unix(PathBuf),
}

/// What is written is no place to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Neither an address nor a path.
    #[error("expected an address and port such as 127.0.0.1:8000, or unix:/run/pawl/pawl.sock; found '{0}'")]
    Neither(String),
    /// A path that cannot stand in a URL.
    #[error(
        "expected after 'unix:' an absolute path of letters, digits and the characters / . _ - ; found '{0}'"
    )]
    Path(String),
}

impl Listen {
    /// The address, if it is one.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The address, if machines other than this one can reach it.
    #[must_use]
    pub fn exposed(&self) -> Option<SocketAddr> {
        self.address().filter(|address| !address.ip().is_loopback())
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let Some(path) = text.strip_prefix("unix:") else {
            return text.parse().map(Self::Tcp).map_err(|_| ListenError::Neither(text.to_owned()));
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        if !path.starts_with('/') || path.ends_with('/') || !path.chars().all(plain) {
            return Err(ListenError::Path(path.to_owned()));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads one string or a list of them.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Listen>>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<Listen>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address such as \"127.0.0.1:8000\", or a list of these")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<Listen>, E> {
            text.parse().map(|one| vec![one]).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Listen>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }

    from.deserialize_any(OneOrMore).map(Some)
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_printed_the_same() {
        for text in ["127.0.0.1:8000", "[::1]:8000", "unix:/run/pawl/pawl.sock", "unix:/srv/a-b_c/0"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_path_that_a_url_cannot_hold_is_refused() {
        for path in ["", "pawl.sock", "/run/", "/run/a:b", "/run/a b", "/run/%41", "/run/a?b", "/run/\u{e4}"]
        {
            assert!(matches!(format!("unix:{path}").parse::<Listen>(), Err(ListenError::Path(_))), "{path}");
        }
        assert!(matches!("nowhere".parse::<Listen>(), Err(ListenError::Neither(_))));
    }
}
