//! JSON of restic's, as Go reads it.
//!
//! Invariant: what is accepted here, Go's `encoding/json` accepts: no key that it would take for another, no array where it
//! expects an object, nothing nested deeper than it goes, no time that is none. What restic does not read is not judged.
//! Source: what `encoding/json`, `time` and `strconv` of Go do.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::DateTime;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// All keys that restic reads anywhere, in their order.
const KNOWN: &[&str] = &[
    "N",
    "atime",
    "backup_end",
    "backup_start",
    "blobs",
    "content",
    "created",
    "ctime",
    "data",
    "data_added",
    "data_added_packed",
    "data_blobs",
    "device",
    "device_id",
    "dirs_changed",
    "dirs_new",
    "dirs_unmodified",
    "encrypt",
    "error",
    "excludes",
    "exclusive",
    "extended_attributes",
    "files_changed",
    "files_new",
    "files_unmodified",
    "generic_attributes",
    "gid",
    "group",
    "hostname",
    "id",
    "inode",
    "k",
    "kdf",
    "length",
    "links",
    "linktarget",
    "linktarget_raw",
    "mac",
    "mode",
    "mtime",
    "name",
    "nodes",
    "offset",
    "original",
    "p",
    "packs",
    "parent",
    "paths",
    "pid",
    "program_version",
    "r",
    "salt",
    "size",
    "subtree",
    "summary",
    "supersedes",
    "tags",
    "time",
    "total_bytes_processed",
    "total_files_processed",
    "tree",
    "tree_blobs",
    "type",
    "uid",
    "uncompressed_length",
    "user",
    "username",
    "value",
];

/// An object of which restic reads some keys.
#[derive(Debug)]
pub(crate) struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Objects => map.next_value::<Option<Vec<Object>>>().map(drop)?,
                Key::One => map.next_value::<Option<Object>>().map(drop)?,
                Key::Anything => map.next_value::<Anything>().map(drop)?,
            }
        }
        Ok(Object)
    }
}

/// What stands behind a key.
enum Key {
    Objects,
    One,
    Anything,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        match key {
            "nodes" | "packs" | "blobs" | "extended_attributes" => return Ok(Key::Objects),
            "summary" | "mac" => return Ok(Key::One),
            _ => {}
        }
        // Where no key fits exactly, Go heeds no case, and knows letters of which that is not seen.
        let is_taken_for = |known: &&str| known.chars().map(folded).eq(key.chars().map(folded));
        if KNOWN.binary_search(&key).is_err() && KNOWN.iter().any(is_taken_for) {
            return Err(E::custom(format_args!("its key '{}' is none of restic's", key.escape_debug())));
        }
        Ok(Key::Anything)
    }
}

/// The letter that Go takes it for.
const fn folded(letter: char) -> char {
    match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

/// Any JSON, nested as deep as serde goes, which is less than Go does. (What serde ignores may be nested without end.)
struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnythingVisitor)
    }
}

struct AnythingVisitor;

impl<'de> Visitor<'de> for AnythingVisitor {
    type Value = Anything;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Anything, A::Error> {
        while map.next_entry::<IgnoredAny, Anything>()?.is_some() {}
        Ok(Anything)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Anything, A::Error> {
        while seq.next_element::<Anything>()?.is_some() {}
        Ok(Anything)
    }

    fn visit_str<E>(self, _: &str) -> Result<Anything, E> {
        Ok(Anything)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Anything, E> {
        Ok(Anything)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Anything, E> {
        Ok(Anything)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Anything, E> {
        Ok(Anything)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Anything, E> {
        Ok(Anything)
    }

    fn visit_unit<E>(self) -> Result<Anything, E> {
        Ok(Anything)
    }
}

/// Bytes as Go writes them: Base64, with padding.
#[derive(Debug)]
pub(crate) struct Bytes;

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text.as_bytes()).map(|_| Self).map_err(D::Error::custom)
    }
}

/// A moment. Files have times of all ages, so that the year may be any of four digits. Go does not undo escapes here,
/// which is why the text is borrowed as it stands.
#[derive(Debug)]
pub(crate) struct Time;

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        if is_time(text) {
            return Ok(Self);
        }
        Err(D::Error::custom(format_args!("'{}' is no time", text.escape_debug())))
    }
}

/// Whether this is a time of RFC 3339, as `2026-11-20T01:02:03.123456789+01:00`.
fn is_time(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let shaped = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, like)| match like {
                b'0' => byte.is_ascii_digit(),
                _ => byte == like,
            })
    };
    let Some((moment, rest)) = text.split_at_checked("0000-00-00T00:00:00".len()) else { return false };
    // A leap second is none for Go.
    let is_moment = shaped(moment, "0000-00-00T00:00:00")
        && !moment.ends_with("60")
        && moment.parse::<DateTime>().is_ok();
    let zone = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            let (fraction, zone) = rest.split_at(end);
            if !digits(fraction) {
                return false;
            }
            zone
        }
        None => rest,
    };
    let below =
        |text: Option<&str>, end: u8| text.and_then(|text| text.parse().ok()).is_some_and(|it: u8| it < end);
    let is_offset = |zone: &str| {
        (shaped(zone, "+00:00") || shaped(zone, "-00:00"))
            && below(zone.get(1..3), 24)
            && below(zone.get(4..), 60)
    };
    is_moment && (zone == "Z" || is_offset(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_go_takes_for_others_are_refused_and_nobody_elses() {
        assert!(KNOWN.is_sorted());
        let accepts = |text: &str| serde_json::from_str::<Object>(text).is_ok();
        for good in [
            r#"{"delete":{"After":"2027-01-01T00:00:00Z"},"label":"X","Future":{"UID":1}}"#,
            r#"{"generic_attributes":{"windows.A":{"Time":1}},"N":32768}"#,
            r#"{"nodes":null,"summary":null,"packs":[{"blobs":[{"id":"x"}]}]}"#,
        ] {
            assert!(accepts(good), "{good}");
        }
        let deep = format!("{{\"free\":{}{}}}", "[".repeat(10_050), "]".repeat(10_050));
        for bad in [
            r#"{"Time":1}"#,
            r#"{"n":1}"#,
            r#"{"KDF":7}"#,
            "{\"path\u{17f}\":7}",
            r#"{"\u0054ime":1}"#,
            r#"{"nodes":[{"Mtime":7}]}"#,
            r#"{"packs":[{"blobs":[["x"]]}]}"#,
            r#"{"nodes":[["f","file"]]}"#,
            r#"{"summary":[]}"#,
            r#"["2026"]"#,
            deep.as_str(),
        ] {
            assert!(!accepts(bad), "{bad}");
        }
        assert!(serde_json::from_str::<Time>(r#""2026-11-20T01:02:03Z""#).is_ok());
        assert!(serde_json::from_str::<Time>(r#""2026\u002d11-20T01:02:03Z""#).is_err());
    }

    #[test]
    fn times_of_all_ages_are_times_and_what_go_does_not_read_is_none() {
        for time in [
            "2026-11-20T01:02:03.123456789+01:00",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999-12:00",
            "2024-02-29T23:59:59+23:59",
            "1893-03-31T23:53:28-00:06",
        ] {
            assert!(is_time(time), "{time}");
        }
        for none in [
            "",
            "yesterday",
            "2026-11-20 01:02:03Z",
            "2026-11-20T01:02:03",
            "2026-11-20T01:02:03.Z",
            "2026-11-20T01:02:60Z",
            "2026-11-20T24:00:00Z",
            "2026-02-29T01:02:03Z",
            "2026-13-01T01:02:03Z",
            "2026-11-20T01:02:03+24:00",
            "2026-11-20T01:02:03+1:00",
            "2026-11-20T01:02:03+01:00[Europe/Berlin]",
            "-2026-11-20T01:02:03Z",
            "+002026-11-20T01:02:03Z",
            "2026-11-20T01:02:0é",
        ] {
            assert!(!is_time(none), "{none}");
        }
    }
}
