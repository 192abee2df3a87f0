//! Where a repository's blobs are, by what its indexes say.
//!
//! Invariant: only packs count that are there. An index can lie, so every place of a tree is kept, and what two indexes say
//! of one blob or one pack is known to be so.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use sha2::{Digest, Sha256};

use pawl_restic_format::id::Id;
use pawl_restic_format::records::{Blob, BlobKind, Index, Pack};

/// What is kept of the id of a blob of data. It is a hash under keys of this run: a thief, who chooses the ids that a tree
/// names, could otherwise choose one of which what is kept is that of a blob that is there.
type Mark = u128;

/// Blobs of lost packs that are remembered, to say what lacks them: 64 bytes each.
const LOST_MAX: usize = 1 << 18;

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

/// What indexes name. 56 bytes for a tree, 16 for other blobs, 100 for a pack, of which a repository may have millions of
/// the first; restic itself takes several times as much.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    packs: Vec<Id>,
    /// What was first said of a pack.
    said: HashMap<Id, [u8; 32]>,
    /// Packs of which that was said again.
    twice: HashSet<Id>,
    /// Packs of which something else was said as well.
    contested: HashSet<Id>,
    trees: Vec<(Id, Located)>,
    data: Vec<Mark>,
    /// Where blobs were whose pack is not there; not all of very many.
    lost: HashMap<Id, Id>,
    /// The keys of marks.
    keys: [RandomState; 2],
}

impl Blobs {
    /// Adds what an index names, as far as its packs are there. What was said before in the same words is one.
    pub(super) fn add(&mut self, index: &Index, packs: &HashMap<Id, u64>) {
        for pack in index.packs.iter().flatten() {
            if !packs.contains_key(&pack.id) {
                let room = LOST_MAX.saturating_sub(self.lost.len());
                let blobs = pack.blobs.iter().flatten().take(room);
                self.lost.extend(blobs.map(|blob| (blob.id, pack.id)));
                continue;
            }
            let digest = digest(pack);
            match self.said.get(&pack.id) {
                Some(said) if *said == digest => {
                    self.twice.insert(pack.id);
                    continue;
                }
                Some(_) => drop(self.contested.insert(pack.id)),
                None => drop(self.said.insert(pack.id, digest)),
            }
            let Ok(number) = u32::try_from(self.packs.len()) else { return };
            self.packs.push(pack.id);
            for blob in pack.blobs.iter().flatten() {
                match blob.kind {
                    BlobKind::Data => self.data.push(self.mark(&blob.id)),
                    BlobKind::Tree => self.trees.push((blob.id, located(blob, number))),
                }
            }
        }
    }

    /// Makes it ready to be asked.
    pub(super) fn sort(&mut self) {
        self.trees.sort_unstable_by_key(|(id, place)| (*id, place.pack, place.offset));
        self.data.sort_unstable();
    }

    /// Whether more than one place is named for it.
    pub(super) fn is_several(&self, blob: &Blob) -> bool {
        self.has_more_places(blob, 1)
    }

    /// Whether each of these, which an index says of one pack, is named somewhere else as well.
    pub(super) fn are_elsewhere(&self, blobs: &[&Blob]) -> bool {
        let mut here = HashMap::<_, (&Blob, usize)>::new();
        for blob in blobs {
            here.entry((blob.kind == BlobKind::Tree, blob.id)).or_insert((blob, 0)).1 += 1;
        }
        here.values().all(|(blob, here)| self.has_more_places(blob, *here))
    }

    /// Whether more places than this are named for it. What is said of a pack in the same words counts once.
    fn has_more_places(&self, blob: &Blob, number: usize) -> bool {
        match blob.kind {
            BlobKind::Data => {
                let mark = self.mark(&blob.id);
                let first = self.data.partition_point(|other| *other < mark);
                self.data.get(first.saturating_add(number)) == Some(&mark)
            }
            BlobKind::Tree => self.places(&blob.id).nth(number).is_some(),
        }
    }

    /// Whether the same is said of a pack more than once.
    pub(super) fn is_said_twice(&self, pack: &Id) -> bool {
        self.twice.contains(pack)
    }

    /// Whether anything is said of a pack.
    pub(super) fn names(&self, pack: &Id) -> bool {
        self.said.contains_key(pack)
    }

    /// Whether more than one thing is said of a pack.
    pub(super) fn is_contested(&self, pack: &Id) -> bool {
        self.contested.contains(pack)
    }

    /// Whether there is such a blob of data.
    pub(super) fn has_data(&self, id: &Id) -> bool {
        self.data.binary_search(&self.mark(id)).is_ok()
    }

    /// In what a blob lies that is nowhere, in words.
    pub(super) fn nowhere(&self, id: &Id) -> String {
        match self.lost.get(id) {
            Some(pack) => format!("in data/{pack}, which is not there"),
            None => "in no index, or in a pack that is not there".to_owned(),
        }
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

    fn mark(&self, id: &Id) -> Mark {
        let [high, low] = self.keys.each_ref().map(|key| Mark::from(key.hash_one(id)));
        high << 64 | low
    }
}

/// The place of a blob in the pack of this number.
pub(super) fn located(blob: &Blob, pack: u32) -> Located {
    let unpacked = blob.uncompressed_length.filter(|bytes| *bytes > 0);
    Located { pack, offset: blob.offset, length: blob.length, unpacked }
}

/// All that is said of a pack.
fn digest(pack: &Pack) -> [u8; 32] {
    let mut hash = Sha256::new();
    for blob in pack.blobs.iter().flatten() {
        hash.update(blob.id.0);
        hash.update([u8::from(blob.kind == BlobKind::Tree)]);
        for number in [blob.offset, blob.length, blob.uncompressed_length.unwrap_or(0)] {
            hash.update(number.to_le_bytes());
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use pawl_restic_format::records::parsed;

    use super::*;

    fn id(byte: u8) -> Id {
        Id([byte; 32])
    }

    fn blob(byte: u8, kind: &str, offset: u32) -> String {
        format!(r#"{{"id":"{}","type":"{kind}","offset":{offset},"length":9}}"#, id(byte))
    }

    fn index(packs: &[(u8, &[String])]) -> Index {
        let pack = |(byte, blobs): &(u8, &[String])| {
            format!(r#"{{"id":"{}","blobs":[{}]}}"#, id(*byte), blobs.join(","))
        };
        let packs: Vec<_> = packs.iter().map(pack).collect();
        parsed(format!(r#"{{"packs":[{}]}}"#, packs.join(",")).as_bytes()).unwrap()
    }

    #[test]
    fn every_place_of_a_tree_is_kept_and_lost_packs_count_for_nothing() {
        let index = index(&[
            (1, &[blob(10, "tree", 0), blob(11, "tree", 9)]),
            (2, &[blob(10, "tree", 5), blob(20, "data", 0)]),
            (3, &[blob(21, "data", 0), blob(12, "tree", 0)]),
        ]);
        let mut blobs = Blobs::default();
        blobs.add(&index, &HashMap::from([(id(1), 9), (id(2), 9)]));
        blobs.sort();
        let places: Vec<_> = blobs.places(&id(10)).map(|at| (blobs.pack(at).unwrap(), at.offset)).collect();
        assert_eq!(places, [(id(1), 0), (id(2), 5)]);
        assert_eq!(blobs.places(&id(11)).count(), 1);
        assert_eq!((blobs.places(&id(12)).count(), blobs.places(&id(9)).count()), (0, 0));
        assert!(blobs.has_data(&id(20)) && !blobs.has_data(&id(21)));
    }

    #[test]
    fn no_part_of_an_id_makes_it_another() {
        let mut blobs = Blobs::default();
        blobs.add(&index(&[(1, &[blob(20, "data", 0)])]), &HashMap::from([(id(1), 9)]));
        blobs.sort();
        for byte in 0..32 {
            let mut like = id(20);
            like.0[byte] ^= 1;
            assert!(!blobs.has_data(&like), "{like}");
        }
    }

    #[test]
    fn what_is_said_twice_is_contested_unless_it_is_the_same() {
        let packs = HashMap::from([(id(1), 9), (id(2), 9), (id(3), 9)]);
        let honest = index(&[(1, &[blob(10, "data", 0)]), (3, &[blob(13, "data", 0)])]);
        let mut blobs = Blobs::default();
        blobs.add(&honest, &packs);
        blobs.add(&honest, &packs);
        blobs.sort();
        let first = |index: &Index, pack: usize| {
            let pack = &index.packs.as_ref().unwrap()[pack];
            [blobs.is_contested(&pack.id), blobs.is_several(&pack.blobs.as_ref().unwrap()[0])]
        };
        assert_eq!([first(&honest, 0), first(&honest, 1)], [[false; 2]; 2]);
        let lie = index(&[(2, &[blob(10, "data", 0)]), (3, &[blob(13, "data", 0), blob(14, "data", 9)])]);
        blobs.add(&lie, &packs);
        blobs.sort();
        let first = |index: &Index, pack: usize| {
            let pack = &index.packs.as_ref().unwrap()[pack];
            [blobs.is_contested(&pack.id), blobs.is_several(&pack.blobs.as_ref().unwrap()[0])]
        };
        assert_eq!([first(&lie, 0), first(&honest, 0)], [[false, true]; 2]);
        assert_eq!(first(&lie, 1), [true, true]);
    }
}
