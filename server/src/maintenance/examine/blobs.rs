//! Where a repository's blobs are, by what its indexes say.
//!
//! Invariant: only packs count that are there. An index can lie, so every place of a tree is kept, and none is believed
//! before it was read.

use std::collections::HashSet;

use super::written::{BlobKind, Id, Index};

/// Digits of a data blob's id that are kept: nobody finds a second blob that begins with the same 16 bytes.
type Start = u128;

/// Where a blob lies in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Located {
    /// Which, by its place in [`Blobs::pack`].
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// Bytes that come out of it, if it is compressed.
    pub(super) unpacked: Option<u32>,
}

/// What indexes name. 56 bytes for a tree, 16 for other blobs, of which a repository may have millions; restic itself
/// takes several times as much.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    packs: Vec<Id>,
    trees: Vec<(Id, Located)>,
    data: Vec<Start>,
}

impl Blobs {
    /// Adds what an index names, as far as its packs are there.
    pub(super) fn add(&mut self, index: &Index, packs: &HashSet<Id>) {
        for pack in index.packs.iter().filter(|pack| packs.contains(&pack.id)) {
            let Ok(number) = u32::try_from(self.packs.len()) else { return };
            self.packs.push(pack.id);
            for blob in &pack.blobs {
                match blob.kind {
                    BlobKind::Data => self.data.push(start(&blob.id)),
                    BlobKind::Tree => {
                        let unpacked = blob.uncompressed_length.filter(|bytes| *bytes > 0);
                        let (offset, length) = (blob.offset, blob.length);
                        self.trees.push((blob.id, Located { pack: number, offset, length, unpacked }));
                    }
                }
            }
        }
    }

    /// Makes it ready to be asked.
    pub(super) fn sort(&mut self) {
        self.trees.sort_unstable_by_key(|(id, place)| (*id, place.pack, place.offset));
        self.data.sort_unstable();
        self.data.dedup();
    }

    /// Whether there is such a blob of data.
    pub(super) fn has_data(&self, id: &Id) -> bool {
        self.data.binary_search(&start(id)).is_ok()
    }

    /// Where a tree may be.
    pub(super) fn places(&self, tree: &Id) -> impl Iterator<Item = Located> + '_ {
        let first = self.trees.partition_point(|(id, _)| id < tree);
        let same = self.trees.get(first..).unwrap_or_default().iter();
        let wanted = *tree;
        same.take_while(move |(id, _)| *id == wanted).map(|(_, place)| *place)
    }

    /// The pack of a place.
    pub(super) fn pack(&self, place: Located) -> Option<Id> {
        self.packs.get(usize::try_from(place.pack).ok()?).copied()
    }
}

fn start(id: &Id) -> Start {
    id.0.first_chunk().copied().map_or(0, u128::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::written::parsed;
    use super::*;

    #[test]
    fn every_place_of_a_tree_is_kept_and_lost_packs_count_for_nothing() {
        let id = |byte: u8| Id([byte; 32]);
        let blob = |byte: u8, kind: &str, offset: u32| {
            format!(r#"{{"id":"{}","type":"{kind}","offset":{offset},"length":9}}"#, id(byte))
        };
        let pack =
            |byte: u8, blobs: &[String]| format!(r#"{{"id":"{}","blobs":[{}]}}"#, id(byte), blobs.join(","));
        let packs = [
            pack(1, &[blob(10, "tree", 0), blob(11, "tree", 9)]),
            pack(2, &[blob(10, "tree", 5), blob(20, "data", 0)]),
            pack(3, &[blob(21, "data", 0), blob(12, "tree", 0)]),
        ];
        let index = parsed::<Index>(format!(r#"{{"packs":[{}]}}"#, packs.join(",")).as_bytes()).unwrap();
        let mut blobs = Blobs::default();
        blobs.add(&index, &HashSet::from([id(1), id(2)]));
        blobs.sort();
        let places: Vec<_> = blobs.places(&id(10)).map(|at| (blobs.pack(at).unwrap(), at.offset)).collect();
        assert_eq!(places, [(id(1), 0), (id(2), 5)]);
        assert_eq!(blobs.places(&id(11)).count(), 1);
        assert_eq!((blobs.places(&id(12)).count(), blobs.places(&id(9)).count()), (0, 0));
        assert!(blobs.has_data(&id(20)) && !blobs.has_data(&id(21)));
    }
}
