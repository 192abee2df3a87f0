//! The keys of what restic writes as JSON.
//!
//! Invariant: two keys that Go takes for one are never both accepted. Go heeds no case where no key fits exactly, and knows
//! letters of which that is not seen; restic writes lower-case letters alone.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What stands below this key is the host's operating system's, and restic hands it on as it is.
const FREE: &str = "generic_attributes";

/// Any JSON whose keys are all as restic writes them.
#[derive(Debug)]
pub(super) struct OrdinaryKeys;

impl<'de> Deserialize<'de> for OrdinaryKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = OrdinaryKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrdinaryKeys, A::Error> {
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Free => map.next_value::<IgnoredAny>().map(drop)?,
                Key::Ordinary => map.next_value::<OrdinaryKeys>().map(drop)?,
            }
        }
        Ok(OrdinaryKeys)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OrdinaryKeys, A::Error> {
        while seq.next_element::<OrdinaryKeys>()?.is_some() {}
        Ok(OrdinaryKeys)
    }

    fn visit_str<E>(self, _: &str) -> Result<OrdinaryKeys, E> {
        Ok(OrdinaryKeys)
    }

    fn visit_bool<E>(self, _: bool) -> Result<OrdinaryKeys, E> {
        Ok(OrdinaryKeys)
    }

    fn visit_i64<E>(self, _: i64) -> Result<OrdinaryKeys, E> {
        Ok(OrdinaryKeys)
    }

    fn visit_u64<E>(self, _: u64) -> Result<OrdinaryKeys, E> {
        Ok(OrdinaryKeys)
    }

    fn visit_f64<E>(self, _: f64) -> Result<OrdinaryKeys, E> {
        Ok(OrdinaryKeys)
    }

    fn visit_unit<E>(self) -> Result<OrdinaryKeys, E> {
        Ok(OrdinaryKeys)
    }
}

enum Key {
    Ordinary,
    Free,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Name)
    }
}

struct Name;

impl Visitor<'_> for Name {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        if key.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
            return Err(E::custom(format_args!("its key '{}' is none of restic's", key.escape_debug())));
        }
        Ok(if key == FREE { Key::Free } else { Key::Ordinary })
    }
}
