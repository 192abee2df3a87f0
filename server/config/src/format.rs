//! Versions of what outlives a process. `docs/architecture/formats.md` describes each format.
//!
//! Invariant: what a newer version wrote is refused with a word that says so, and is not overwritten.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// The version of a format, of which this program knows all up to this one. Where none is written it is the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version<const NEWEST: u32>;

impl<const NEWEST: u32> Serialize for Version<NEWEST> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        NEWEST.serialize(to)
    }
}

impl<'de, const NEWEST: u32> Deserialize<'de> for Version<NEWEST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let found = u32::deserialize(from)?;
        if (1..=NEWEST).contains(&found) {
            return Ok(Self);
        }
        Err(D::Error::custom(format!(
            "it has version {found} of its format, and this Pawl knows up to {NEWEST}; use the Pawl that wrote it, or a newer"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct State {
        #[serde(default)]
        version: Version<2>,
    }

    #[test]
    fn a_known_version_is_read_and_a_newer_one_is_refused() {
        for text in ["{}", r#"{"version":1}"#, r#"{"version":2}"#] {
            let state: State = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&state).unwrap(), r#"{"version":2}"#);
        }
        for text in [r#"{"version":3}"#, r#"{"version":0}"#] {
            let error = serde_json::from_str::<State>(text).unwrap_err().to_string();
            assert!(error.contains("knows up to 2"), "{error}");
        }
    }
}
