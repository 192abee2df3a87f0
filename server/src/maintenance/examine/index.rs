//! What a repository's indexes say, and which of them do not say what is.
//!
//! Invariant: an index is junk only if restic cannot read it, or it names packs that never were, or what it says of a pack
//! was compared with the pack and is wrong. Every blob for which a new index names another place than there was is read:
//! restic believes an index, and its prune would keep the wrong one of two.

use std::collections::{BTreeSet, HashMap, HashSet};

use pawl_policy::{FileId, FileType, Handle};
use sha2::{Digest, Sha256};

use super::blobs::Blobs;
use super::sealed::decompressed;
use super::snapshots::has_damage;
use super::state::Growing;
use super::written::{Blob, BlobKind, Id, Index, Pack};
use super::{ExamineError, Examined, Junk, Opened, Opener, damaged};
use crate::maintenance::listing;
use crate::store::maintenance::MaintenanceStore;

/// Bytes of a pack beside its blobs: what seals the header, and its length at the end.
const HEADER_BYTES: u64 = (SEAL_BYTES + LENGTH_BYTES) as u64;
const SEAL_BYTES: u32 = 32;
const LENGTH_BYTES: u32 = 4;
/// Bytes of the header for a blob, and more for one that is compressed.
const ENTRY_BYTES: u64 = 37;
const COMPRESSED_ENTRY_BYTES: u64 = 41;
/// restic's largest blob has 8 MiB, but for directories with millions of files.
const BLOB_BYTES_MAX: u64 = 1 << 30;

/// What came of reading indexes.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) good: Vec<Handle>,
    pub(super) blobs: Blobs,
    /// Whether what the indexes say is not all: one is damaged, or packs are gone.
    pub(super) is_incomplete: bool,
}

/// Reads new indexes, and all if there are any, or if it has to be known where blobs are.
pub(super) async fn read(
    opener: &Opener<'_>,
    ids: Vec<FileId>,
    growing: &mut Growing<'_>,
    all: bool,
    examined: &mut Examined,
) -> Result<Read, ExamineError> {
    let handles = ids.into_iter().map(|id| Handle::File(FileType::Index, id));
    let (known, new): (Vec<_>, Vec<_>) = handles.partition(|handle| growing.state().is_good(handle));
    if new.is_empty() && !all {
        return Ok(Read { good: known, ..Read::default() });
    }
    let packs = listing::entries(opener.session, opener.repository, FileType::Data).await?;
    let packs: HashMap<_, _> = packs.into_iter().map(|entry| (Id(*entry.id.sha256()), entry.size)).collect();
    let mut reading =
        Reading { opener, packs, blobs: Blobs::default(), is_incomplete: false, lost: BTreeSet::new() };
    let known = reading.take_in(known, examined).await?;
    let was_whole = reading.lost.is_empty() && !reading.is_incomplete;
    let mut new = reading.take_in(new, examined).await?;
    examined.opened += new.len() as u64;
    reading.blobs.sort();
    let junk = reading.judge(&mut new, was_whole, growing).await?;
    let has_junk = !junk.is_empty();
    examined.junk.extend(junk);
    let good: Vec<_> = known.into_iter().chain(new).collect();
    if has_junk {
        // What they said counts for nothing.
        reading.blobs = Blobs::default();
        reading.lost.clear();
        reading.take_in(good.clone(), examined).await?;
        reading.blobs.sort();
    }
    if let Some(first) = reading.lost.first() {
        let number = reading.lost.len();
        examined.noticed.push(format!("indexes name {number} packs that are not there, such as {first}"));
    }
    let is_incomplete = reading.is_incomplete || !reading.lost.is_empty();
    Ok(Read { good, blobs: reading.blobs, is_incomplete })
}

struct Reading<'a> {
    opener: &'a Opener<'a>,
    /// Packs that are there, and their sizes in bytes.
    packs: HashMap<Id, u64>,
    blobs: Blobs,
    is_incomplete: bool,
    /// Packs that are named and not there.
    lost: BTreeSet<Id>,
}

impl Reading<'_> {
    /// Adds what these say. Returns those that could be read.
    async fn take_in(
        &mut self,
        handles: Vec<Handle>,
        examined: &mut Examined,
    ) -> Result<Vec<Handle>, ExamineError> {
        let mut read = Vec::new();
        for handle in handles {
            match self.opener.open::<Index>(&handle).await? {
                Opened::Good(index) => {
                    let named = index.packs.iter().flatten().map(|pack| pack.id);
                    self.lost.extend(named.filter(|id| !self.packs.contains_key(id)));
                    self.blobs.add(&index, &self.packs);
                    read.push(handle);
                }
                Opened::Gone => {}
                Opened::Damaged => {
                    self.is_incomplete = true;
                    examined.noticed.push(damaged(&handle));
                }
                Opened::Junk(why) => {
                    examined.junk.push(Junk { handle, creator: None, reason: why.to_string() });
                }
            }
        }
        Ok(read)
    }

    /// Takes those out of new indexes that say what is not so.
    async fn judge(
        &self,
        new: &mut Vec<Handle>,
        was_whole: bool,
        growing: &mut Growing<'_>,
    ) -> Result<Vec<Junk>, ExamineError> {
        let (mut junk, mut good) = (Vec::new(), Vec::new());
        for handle in new.drain(..) {
            let Opened::Good(index) = self.opener.open::<Index>(&handle).await? else { continue };
            if let Some(reason) = self.lie(&index, was_whole).await? {
                junk.push(Junk { handle, creator: None, reason });
                continue;
            }
            growing.add([handle])?;
            good.push(handle);
        }
        *new = good;
        Ok(junk)
    }

    /// What an index says that is not so.
    async fn lie(&self, index: &Index, was_whole: bool) -> Result<Option<String>, ExamineError> {
        let (mut missing, mut seen) = (Vec::new(), HashSet::new());
        for pack in index.packs.iter().flatten() {
            let id = pack.id;
            if !seen.insert(id) {
                return Ok(Some(format!("it names the pack {id} twice")));
            }
            match self.packs.get(&id) {
                None => missing.push(id),
                Some(bytes) if size(pack) != *bytes => {
                    return Ok(Some(format!(
                        "what it says of the pack {id} adds up to {} bytes, and that has {bytes}",
                        size(pack)
                    )));
                }
                Some(_) => {}
            }
        }
        if !missing.is_empty() && was_whole && !self.opener.were_there(&missing).await? {
            let first = missing.first().map(ToString::to_string).unwrap_or_default();
            return Ok(Some(format!("it names packs of which none was ever there, such as {first}")));
        }
        for pack in index.packs.iter().flatten().filter(|pack| self.packs.contains_key(&pack.id)) {
            if self.blobs.is_pack_contested(&pack.id)
                && !self.has_this_header(pack).await?
                && self.is_pack_right(pack).await?
            {
                return Ok(Some(format!(
                    "what it says of the pack {} is not what that says of itself",
                    pack.id
                )));
            }
            for blob in pack.blobs.iter().flatten() {
                if !self.blobs.is_contested(&pack.id, blob) || self.is_there(pack, blob).await? {
                    continue;
                }
                // A pack that is damaged says nothing about who named it; verification finds it.
                if self.is_pack_right(pack).await? {
                    return Ok(Some(format!(
                        "it says of the blob {} that it is in the pack {}, and it is not",
                        blob.id, pack.id
                    )));
                }
            }
        }
        Ok(None)
    }

    async fn is_pack_right(&self, pack: &Pack) -> Result<bool, ExamineError> {
        self.opener.is_right(&Handle::File(FileType::Data, FileId::from_sha256(pack.id.0))).await
    }

    /// Whether a pack, whose size is known to be that of what is said of it, says the same in its header. A blob of another
    /// type or length than another index says is two for restic, and its check then finds the pack too short.
    async fn has_this_header(&self, pack: &Pack) -> Result<bool, ExamineError> {
        let expected = header(pack);
        let bytes = u32::try_from(size(pack)).unwrap_or(u32::MAX);
        let until = bytes.saturating_sub(LENGTH_BYTES);
        let sealed_len = u32::try_from(expected.len()).unwrap_or(u32::MAX).saturating_add(SEAL_BYTES);
        let id = FileId::from_sha256(pack.id.0);
        let sealed = self.opener.part(id, until.saturating_sub(sealed_len), until).await?;
        Ok(self.opener.key.open(sealed).is_ok_and(|found| found == expected))
    }

    /// Whether a blob is where it is said to be.
    async fn is_there(&self, pack: &Pack, blob: &Blob) -> Result<bool, ExamineError> {
        let until = blob.offset.saturating_add(blob.length);
        let sealed = self.opener.part(FileId::from_sha256(pack.id.0), blob.offset, until).await?;
        let key = std::sync::Arc::clone(&self.opener.key);
        let (id, is_compressed) = (blob.id, unpacked(blob).is_some());
        let look = move || {
            let plain = key.open(sealed)?;
            let content = if is_compressed { decompressed(&plain, BLOB_BYTES_MAX)? } else { plain };
            let found: [u8; 32] = Sha256::digest(&content).into();
            Ok::<_, super::NotOpened>(found == id.0)
        };
        // What a host wrote may bring a decompressor down: then it is not there.
        Ok(matches!(tokio::task::spawn_blocking(look).await, Ok(Ok(true))))
    }
}

/// The size that a pack has if all of this is in it, and nothing else.
fn size(pack: &Pack) -> u64 {
    let of = |blob: &Blob| {
        u64::from(blob.length) + if unpacked(blob).is_some() { COMPRESSED_ENTRY_BYTES } else { ENTRY_BYTES }
    };
    pack.blobs.iter().flatten().map(of).sum::<u64>() + HEADER_BYTES
}

/// The header that a pack has if this is in it.
fn header(pack: &Pack) -> Vec<u8> {
    let mut blobs: Vec<_> = pack.blobs.iter().flatten().collect();
    blobs.sort_by_key(|blob| blob.offset);
    let mut header = Vec::new();
    for blob in blobs {
        let unpacked = unpacked(blob);
        header.push(u8::from(blob.kind == BlobKind::Tree) | (u8::from(unpacked.is_some()) << 1));
        header.extend(blob.length.to_le_bytes());
        header.extend(unpacked.iter().flat_map(|bytes| bytes.to_le_bytes()));
        header.extend(blob.id.0);
    }
    header
}

/// Bytes that come out of a blob, if it is compressed.
fn unpacked(blob: &Blob) -> Option<u32> {
    blob.uncompressed_length.filter(|bytes| *bytes > 0)
}

impl Opener<'_> {
    /// Whether Pawl knows of one of these packs although it is not there.
    async fn were_there(&self, packs: &[Id]) -> Result<bool, ExamineError> {
        let handles: BTreeSet<_> =
            packs.iter().map(|id| Handle::File(FileType::Data, FileId::from_sha256(id.0))).collect();
        let store = &self.session.store;
        let holders = store.holders(self.repository, &handles).await?;
        let tombstones = store.tombstones(self.repository).await?;
        let is_known = |handle: &Handle| {
            !holders.of(handle).is_empty() || holders.are_rescued(handle) || tombstones.contains(handle)
        };
        Ok(handles.iter().any(is_known) || has_damage(self)?)
    }
}
