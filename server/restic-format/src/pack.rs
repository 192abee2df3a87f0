//! What a pack says of itself: the header at its end.
//!
//! Invariant: an entry is of the bytes that it was read from, and its offset follows from those before it.
//! Source: restic's design document, "Pack Format".

use std::collections::HashSet;

use crate::id::Id;
use crate::records::{Blob, BlobKind};

/// Bytes of a pack that say how long its sealed header before them is.
pub const LENGTH_BYTES: u32 = 4;
/// restic takes no header that is longer.
pub const HEADER_BYTES_MAX: u32 = 16 << 20;
/// Bytes that seal a header.
const SEAL_BYTES: u64 = 32;
/// Bytes of the header for a blob, and for one that is compressed.
const ENTRY_BYTES: u64 = 37;
const COMPRESSED_ENTRY_BYTES: u64 = 41;

/// A blob, as a pack or an index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    is_tree: bool,
    offset: u32,
    length: u32,
    /// Bytes that come out of it, if it is compressed.
    unpacked: Option<u32>,
    id: Id,
}

impl From<&Blob> for Entry {
    fn from(blob: &Blob) -> Self {
        let is_tree = blob.kind == BlobKind::Tree;
        Self { is_tree, offset: blob.offset, length: blob.length, unpacked: unpacked(blob), id: blob.id }
    }
}

impl Entry {
    /// The blob's name.
    #[must_use]
    pub const fn id(&self) -> Id {
        self.id
    }
}

/// Bytes that come out of a blob, if it is compressed.
#[must_use]
pub fn unpacked(blob: &Blob) -> Option<u32> {
    blob.uncompressed_length.filter(|bytes| *bytes > 0)
}

/// The bytes that a pack has if all of this is in it, and nothing else.
#[must_use]
pub fn size(blobs: &[&Blob]) -> u64 {
    let of = |blob: &&Blob| {
        let entry = if unpacked(blob).is_some() { COMPRESSED_ENTRY_BYTES } else { ENTRY_BYTES };
        u64::from(blob.length).saturating_add(entry)
    };
    blobs.iter().map(of).sum::<u64>().saturating_add(SEAL_BYTES).saturating_add(u64::from(LENGTH_BYTES))
}

/// What is in a pack with this header; nothing if it is none.
#[must_use]
pub fn entries(mut header: &[u8]) -> Option<HashSet<Entry>> {
    let (mut entries, mut offset) = (HashSet::new(), 0_u32);
    while let Some((word, rest)) = header.split_first() {
        let (length, rest) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        let (unpacked, rest) = match word {
            0 | 1 => (None, rest),
            2 | 3 => {
                let (unpacked, rest) = rest.split_first_chunk()?;
                (Some(u32::from_le_bytes(*unpacked)).filter(|bytes| *bytes > 0), rest)
            }
            _ => return None,
        };
        let (id, rest) = rest.split_first_chunk()?;
        entries.insert(Entry { is_tree: word % 2 == 1, offset, length, unpacked, id: Id(*id) });
        offset = offset.checked_add(length)?;
        header = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_each_other() {
        let plain = [&[1][..], &5_u32.to_le_bytes(), &[7; 32]].concat();
        let packed = [&[2][..], &6_u32.to_le_bytes(), &9_u32.to_le_bytes(), &[8; 32]].concat();
        let first = Entry { is_tree: true, offset: 0, length: 5, unpacked: None, id: Id([7; 32]) };
        let second = Entry { is_tree: false, offset: 5, length: 6, unpacked: Some(9), id: Id([8; 32]) };
        let both = [plain.clone(), packed.clone()].concat();
        assert_eq!(entries(&both), Some(HashSet::from([first, second])));
        assert_eq!(entries(&[]), Some(HashSet::new()));
        for cut in 1..plain.len() {
            assert_eq!(entries(&plain[..cut]), None, "{cut}");
        }
        for cut in 1..packed.len() {
            assert_eq!(entries(&both[..plain.len() + cut]), None, "{cut}");
        }
        let unknown = [&[4][..], &plain[1..]].concat();
        let too_long = [&[0][..], &u32::MAX.to_le_bytes(), &[7; 32], &plain].concat();
        assert_eq!([entries(&unknown), entries(&too_long)], [None, None]);
    }
}
