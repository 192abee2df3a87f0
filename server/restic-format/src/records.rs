//! What restic writes into a repository, as far as it has to be right for restic to go on.
//!
//! Invariant: what restic could not read is not accepted; where the two could differ, this is the stricter, as long as no
//! restic and no rustic writes such a thing.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::go_json::{Object, Time};
use crate::id::Id;
use crate::node::Node;
use crate::sealed::{NotOpened, malformed};

/// A file of `snapshots`.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what is not read has to be of the right type nevertheless")]
pub struct Snapshot {
    time: Time,
    /// The tree blob of its root directory.
    pub tree: Id,
    parent: Option<Id>,
    original: Option<Id>,
    paths: Option<Vec<String>>,
    hostname: Option<String>,
    username: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
    excludes: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    program_version: Option<String>,
    summary: Option<Summary>,
}

/// What a backup says of itself.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what is not read has to be of the right type nevertheless")]
struct Summary {
    backup_start: Option<Time>,
    backup_end: Option<Time>,
    files_new: Option<u64>,
    files_changed: Option<u64>,
    files_unmodified: Option<u64>,
    dirs_new: Option<u64>,
    dirs_changed: Option<u64>,
    dirs_unmodified: Option<u64>,
    data_blobs: Option<i64>,
    tree_blobs: Option<i64>,
    data_added: Option<u64>,
    data_added_packed: Option<u64>,
    total_files_processed: Option<u64>,
    total_bytes_processed: Option<u64>,
}

/// A file of `locks`.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what is not read has to be of the right type nevertheless")]
pub struct Lock {
    time: Time,
    exclusive: bool,
    hostname: Option<String>,
    username: Option<String>,
    pid: Option<i64>,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// A file of `index`.
#[derive(Debug, Deserialize)]
pub struct Index {
    #[expect(dead_code, reason = "it has to be of the right type nevertheless")]
    supersedes: Option<Vec<Id>>,
    /// Go reads null as empty, here and below.
    pub packs: Option<Vec<Pack>>,
    /// Whether a restic before 0.2 wrote it.
    #[serde(skip)]
    pub is_of_0_1: bool,
}

/// A pack and the blobs that the index lists in it.
#[derive(Debug, Deserialize)]
pub struct Pack {
    /// The SHA-256 of the pack, which is its name.
    pub id: Id,
    /// Its blobs.
    pub blobs: Option<Vec<Blob>>,
}

/// A piece of a pack, in bytes from its beginning.
#[derive(Debug, Deserialize)]
pub struct Blob {
    /// The SHA-256 of its plain text.
    pub id: Id,
    /// Data or tree.
    #[serde(rename = "type")]
    pub kind: BlobKind,
    /// Where it begins.
    pub offset: u32,
    /// Its sealed length.
    pub length: u32,
    /// Of what was compressed; absent or zero if it was not.
    pub uncompressed_length: Option<u32>,
}

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobKind {
    /// A piece of a file.
    Data,
    /// A directory.
    Tree,
}

impl<'de> Deserialize<'de> for BlobKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <&str>::deserialize(deserializer)? {
            "data" => Ok(Self::Data),
            "tree" => Ok(Self::Tree),
            other => Err(serde::de::Error::unknown_variant(other, &["data", "tree"])),
        }
    }
}

/// A directory in a snapshot.
#[derive(Debug, Deserialize)]
pub struct Tree {
    /// Neither absent nor null: restic 0.19 reads neither.
    pub nodes: Vec<Node>,
}

/// What `restic repair snapshots` (0.16 to 0.18) left in the place of a directory that it could not read, to the byte. restic
/// 0.19 does not read it, and puts what it reads in its place.
pub const EMPTIED: &[u8] = b"{\"nodes\":null}\n";

/// What one of restic's files says.
pub trait Written: DeserializeOwned {
    /// Reads what was unpacked.
    fn read(content: &[u8]) -> Result<Self, NotOpened> {
        parsed(content)
    }
}

impl Written for Snapshot {}
impl Written for Lock {}

impl Written for Index {
    /// restic before 0.2 wrote the packs alone, without an object around them.
    fn read(content: &[u8]) -> Result<Self, NotOpened> {
        if content.trim_ascii_start().first() != Some(&b'[') {
            return parsed(content);
        }
        let _: Vec<Object> = serde_json::from_slice(content).map_err(malformed)?;
        let packs = serde_json::from_slice(content).map_err(malformed)?;
        Ok(Self { supersedes: None, packs: Some(packs), is_of_0_1: true })
    }
}

/// Reads what was unpacked.
pub fn parsed<T: DeserializeOwned>(content: &[u8]) -> Result<T, NotOpened> {
    let Object = serde_json::from_slice(content).map_err(malformed)?;
    serde_json::from_slice(content).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_restic_0_1_is_an_array_of_packs() {
        let id = "5f".repeat(32);
        let packs =
            format!(r#"[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":0,"length":9}}]}}]"#);
        let old = Index::read(packs.as_bytes()).unwrap();
        let new = Index::read(format!(r#"{{"packs":{packs}}}"#).as_bytes()).unwrap();
        let blobs = |index: &Index| index.packs.as_ref().unwrap()[0].blobs.as_ref().unwrap().len();
        assert_eq!((blobs(&old), old.is_of_0_1), (1, true));
        assert_eq!((blobs(&new), new.is_of_0_1), (1, false));
        for bad in ["[7]", "[", "[],\"packs\":[]", "[],\"future\":1", "[{\"id\":7}]"] {
            assert!(Index::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_restic_would_not_read_is_not_read_here() {
        let id = "5f".repeat(32);
        let good = format!(
            r#"{{"time":"2026-11-20T01:02:03.123456789+01:00","tree":"{id}","paths":["/a"],"summary":{{"files_new":1}}}}"#
        );
        assert!(parsed::<Snapshot>(good.as_bytes()).is_ok());
        for (what, other) in [
            ("2026-11-20T", "2026-11-20 "),
            ("+01:00", "+01:00[Europe/Berlin]"),
            ("\"/a\"", "7"),
            (r#""files_new":1"#, r#""files_new":1.5"#),
            (r#""files_new":1"#, r#""backup_end":"yesterday""#),
            (id.as_str(), "5f"),
            (r#""tree""#, r#""bush""#),
            (r#""summary""#, r#""Summary":7,"summary""#),
            (r#""paths""#, "\"path\u{17f}\":7,\"paths\""),
        ] {
            let bad = good.replace(what, other);
            assert!(matches!(parsed::<Snapshot>(bad.as_bytes()), Err(NotOpened::Malformed(_))), "{bad}");
        }
    }
}
