//! Ids as they stand in what restic writes.
//!
//! Invariant: 64 digits without an escape are an id, and nothing else is.

use std::fmt;

use pawl_policy::FileId;
use serde::{Deserialize, Deserializer};

/// An id as restic writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 32]);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut id = [0; 32];
        let text = <&str>::deserialize(deserializer)?; // as it stands: restic undoes no escapes here
        hex::decode_to_slice(text.as_bytes(), &mut id).map_err(serde::de::Error::custom)?;
        Ok(Self(id))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&FileId::from_sha256(self.0), f)
    }
}
