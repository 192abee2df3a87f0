//! A directory's entry in a snapshot, with all that restic reads of one.
//!
//! Invariant: what restic or rustic writes of an honest file is accepted, however odd its name, its times or its owner; what
//! is no such thing is not, so that it does not stop restic's prune.
//! Source: restic, `internal/data/node.go`, and what Go's `encoding/json`, `strconv.Unquote` and `time` accept.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::go_json::{Bytes, Time};
use crate::id::Id;

/// An entry. What may be missing may be null as well: Go reads both as nothing.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what is not read has to be of the right type nevertheless")]
pub struct Node {
    name: Name,
    #[serde(rename = "type")]
    /// File, directory or something else.
    pub kind: Kind,
    /// The tree of a directory.
    pub subtree: Option<Id>,
    /// The data blobs of a file, in order.
    pub content: Option<Vec<Id>>,
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

/// What an entry is. restic's check fails at a type that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `dir`: it has a subtree.
    Directory,
    /// Everything else that restic backs up.
    Other,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        match &*text {
            "dir" => Ok(Self::Directory),
            "file" | "symlink" | "dev" | "chardev" | "fifo" | "socket" | "irregular" => Ok(Self::Other),
            other => Err(D::Error::custom(format_args!("'{}' is no type", other.escape_debug()))),
        }
    }
}

/// A text that does not matter.
#[derive(Debug)]
struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer).map(|_| Self)
    }
}

/// A map whose keys and values do not matter here.
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

/// The name of an entry, as Go would quote it, without the quotes. restic's check fails at one that is empty.
#[derive(Debug)]
struct Name;

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if !text.is_empty() && is_quoted(&text) {
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
