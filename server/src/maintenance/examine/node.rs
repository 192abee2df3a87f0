//! A directory's entry in a snapshot, with all that restic reads of one.
//!
//! Invariant: what is accepted here, every restic from 0.14 on accepts, so that no entry stops its prune; and what restic or
//! rustic writes of an honest file is accepted, however odd its name, its times or its owner.
//! Source: restic, `internal/data/node.go`, and what Go's `encoding/json`, `strconv.Unquote` and `time` accept.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::DateTime;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::written::Id;

/// An entry. What may be missing may be null as well: Go reads both as nothing.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what is not read has to be of the right type nevertheless")]
pub(super) struct Node {
    name: Option<Name>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) subtree: Option<Id>,
    pub(super) content: Option<Vec<Id>>,
    mode: Option<u32>,
    mtime: Option<Time>,
    atime: Option<Time>,
    ctime: Option<Time>,
    uid: Option<u32>,
    gid: Option<u32>,
    user: Option<Text>,
    group: Option<Text>,
    inode: Option<u64>,
    device_id: Option<u64>,
    size: Option<u64>,
    links: Option<u64>,
    linktarget: Option<Text>,
    linktarget_raw: Option<Bytes>,
    extended_attributes: Option<Vec<Attribute>>,
    generic_attributes: Option<Map>,
    device: Option<u64>,
    error: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what is not read has to be of the right type nevertheless")]
struct Attribute {
    name: Option<Text>,
    value: Option<Bytes>,
}

/// A text that does not matter.
#[derive(Debug)]
struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer).map(|_| Self)
    }
}

/// A map whose keys and values do not matter.
#[derive(Debug)]
struct Map;

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Map;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Map, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Map)
    }
}

/// Bytes as Go writes them: Base64, with padding.
#[derive(Debug)]
struct Bytes;

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text.as_bytes()).map(|_| Self).map_err(D::Error::custom)
    }
}

/// A moment. Files have times of all ages, so that the year alone may be any of four digits.
#[derive(Debug)]
struct Time;

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if is_time(&text) {
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

/// The name of an entry, as Go would quote it, without the quotes.
#[derive(Debug)]
struct Name;

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if is_quoted(&text) {
            return Ok(Self);
        }
        Err(D::Error::custom(format_args!("'{}' is no name", text.escape_debug())))
    }
}

/// Whether Go would take the quotes off a text in which this stands between them.
fn is_quoted(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        let Some(escape) = rest.get(at..).and_then(|rest| rest.strip_prefix('\\')) else { return false };
        let Some(len) = escape_len(escape) else { return false };
        rest = escape.get(len..).unwrap_or_default();
    }
    true
}

/// How long the escape is that begins here, behind its backslash; nothing if it is none.
fn escape_len(escape: &str) -> Option<usize> {
    let number = |len: usize, radix: u32| {
        let digits = escape.get(1..=len)?;
        let is_number = digits.bytes().all(|byte| char::from(byte).is_digit(radix));
        u32::from_str_radix(digits, radix).ok().filter(|_| is_number)
    };
    match escape.bytes().next()? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' | b'"' => Some(1),
        b'x' => number(2, 16).map(|_| 3),
        b'u' => number(4, 16).and_then(char::from_u32).map(|_| 5),
        b'U' => number(8, 16).and_then(char::from_u32).map(|_| 9),
        b'0'..=b'7' => {
            let value = u32::from_str_radix(escape.get(..3)?, 8).ok()?;
            (value <= 255 && escape.bytes().take(3).all(|byte| byte.is_ascii_digit())).then_some(3)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn names_are_what_go_quotes() {
        for name in ["", "plain", "é 𝄞", "it's", r#"\a\b\f\n\r\t\v\\\""#, r"\xff\u00e9\U0001d11e\377", "\t"]
        {
            assert!(is_quoted(name), "{name}");
        }
        for none in [
            "a\"b",
            "a\nb",
            r"a\",
            r"\'",
            r"\q",
            r"\x4",
            r"\xg0",
            r"\ud800",
            r"\U00110000",
            r"\400",
            r"\08",
            r"\u+0e9",
        ] {
            assert!(!is_quoted(none), "{none}");
        }
    }
}
