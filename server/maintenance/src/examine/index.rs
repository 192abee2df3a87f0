//! What a repository's indexes say, and which of them do not say what is.
//!
//! Invariant: an index is junk only if restic cannot read it, or it names nothing but packs that never were, or what it says of
//! a pack was compared with the pack and is wrong. One that names a pack that was lost is good, and tells of a loss. Every blob for which a new index names another place than there was is read:
//! restic believes an index, and its prune would keep the wrong one of two.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use pawl_policy::{FileId, FileType, Handle};
use pawl_restic_format::id::Id;
use pawl_restic_format::pack::{self, Entry, unpacked};
use pawl_restic_format::records::{Blob, Index};
use pawl_restic_format::sealed::decompressed;
use pawl_store::AppendStore;
use sha2::{Digest, Sha256};

use super::blobs::Blobs;
use super::past::Past;
use super::state::Growing;
use super::{ExamineError, Examined, Junk, Opened, Opener, damaged, header_of_pack};
use crate::listing;

/// Lost packs that are named one by one.
const LOST_NAMED: usize = 20;
/// restic's largest blob has 8 MiB, but for directories with millions of files.
const BLOB_BYTES_MAX: u64 = 1 << 30;

/// What came of reading indexes.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) good: Vec<Handle>,
    pub(super) blobs: Blobs,
    /// Whether what the indexes say is not all: one is damaged, or packs are gone.
    pub(super) is_incomplete: bool,
    /// Whether packs are gone that nobody deleted.
    pub(super) has_lost: bool,
    /// All indexes that are there, good or not.
    pub(super) all: BTreeSet<Handle>,
    /// Packs that none of them names.
    pub(super) unnamed: Vec<FileId>,
}

/// Reads new indexes, and all if there are any, or if it has to be known where blobs are.
pub(super) async fn read(
    opener: &Opener<'_>,
    ids: Vec<FileId>,
    growing: &mut Growing<'_>,
    all: bool,
    examined: &mut Examined,
) -> Result<Read, ExamineError> {
    let indexes: BTreeSet<_> = ids.into_iter().map(|id| Handle::File(FileType::Index, id)).collect();
    let (known, new): (Vec<_>, Vec<_>) =
        indexes.iter().copied().partition(|handle| growing.state().is_good(handle));
    if new.is_empty() && !all {
        return Ok(Read { good: known, ..Read::default() });
    }
    let packs = listing::entries(opener.session, opener.repository, FileType::Data).await?;
    let packs: HashMap<_, _> = packs.into_iter().map(|entry| (Id(*entry.id.sha256()), entry.size)).collect();
    let (blobs, lost, past) = (Blobs::default(), BTreeMap::new(), Past::default());
    let of_0_1 = BTreeSet::new();
    let mut reading = Reading { opener, packs, blobs, is_incomplete: false, lost, past, of_0_1 };
    let known = reading.take_in(&known, examined).await?;
    let was_whole = reading.lost.is_empty() && !reading.is_incomplete;
    let mut new = reading.take_in(&new, examined).await?;
    examined.opened += new.len() as u64;
    let not_understood = std::mem::take(&mut examined.not_understood);
    reading.is_incomplete |= opener.sort_out(not_understood, examined).await?;
    reading.blobs.sort();
    reading.past = opener.past(reading.lost.keys().map(pack_named).collect()).await?;
    let parts = reading.take_lies_out(&known, &mut new, was_whole, examined).await?;
    reading.take_parts_out(&known, &mut new, parts, examined).await?;
    let has_lost = reading.tell_lost(examined);
    // What names a lost pack is opened again each night, until nothing is lost any more.
    new.retain(|handle| !reading.names_lost(handle));
    let of_0_1 = new.extract_if(.., |handle| reading.of_0_1.contains(handle));
    examined.noticed.extend(of_0_1.map(|handle| {
        format!("{handle} is of the form that restic before 0.2 wrote; `restic repair index` at the maintenance server mends that")
    }));
    growing.add(new.iter().copied());
    let good: Vec<_> = known.into_iter().chain(new).collect();
    let is_incomplete = reading.is_incomplete || !reading.lost.is_empty();
    let unnamed = reading.packs.keys().filter(|pack| !reading.blobs.names(pack));
    let unnamed = unnamed.map(|pack| FileId::from_sha256(pack.0)).collect();
    Ok(Read { good, blobs: reading.blobs, is_incomplete, has_lost, all: indexes, unnamed })
}

struct Reading<'a> {
    opener: &'a Opener<'a>,
    /// Packs that are there, and their sizes in bytes.
    packs: HashMap<Id, u64>,
    blobs: Blobs,
    is_incomplete: bool,
    /// Packs that are named and not there, and what names them.
    lost: BTreeMap<Id, BTreeSet<Handle>>,
    past: Past,
    /// Indexes of restic before 0.2.
    of_0_1: BTreeSet<Handle>,
}

impl Reading<'_> {
    /// Adds what these say. Returns those that could be read.
    async fn take_in(
        &mut self,
        handles: &[Handle],
        examined: &mut Examined,
    ) -> Result<Vec<Handle>, ExamineError> {
        let mut read = Vec::new();
        for &handle in handles {
            match self.opener.open::<Index>(&handle).await? {
                Opened::Good(index) => {
                    if index.is_of_0_1 {
                        self.of_0_1.insert(handle);
                    }
                    for pack in index.packs.iter().flatten() {
                        if !self.packs.contains_key(&pack.id) {
                            self.lost.entry(pack.id).or_default().insert(handle);
                        }
                    }
                    self.blobs.add(&index, &self.packs);
                    read.push(handle);
                }
                Opened::Gone => {}
                Opened::Damaged => {
                    self.is_incomplete = true;
                    examined.noticed.push(damaged(&handle));
                }
                Opened::Junk(why) => {
                    examined.note_unread(handle, &why);
                }
            }
        }
        Ok(read)
    }

    /// Reads all of these anew: what others said counts for nothing.
    async fn begin_again(
        &mut self,
        handles: &[&[Handle]],
        examined: &mut Examined,
    ) -> Result<(), ExamineError> {
        self.blobs = Blobs::default();
        self.lost.clear();
        for handles in handles {
            self.take_in(handles, examined).await?;
        }
        self.blobs.sort();
        Ok(())
    }

    /// Takes those out of new indexes that say what is not so. Returns those of the rest that say of a pack only a part of what
    /// is in it.
    async fn take_lies_out(
        &mut self,
        known: &[Handle],
        new: &mut Vec<Handle>,
        was_whole: bool,
        examined: &mut Examined,
    ) -> Result<Vec<Handle>, ExamineError> {
        let (mut good, mut parts) = (Vec::new(), Vec::new());
        for &handle in new.iter() {
            let Opened::Good(index) = self.opener.open::<Index>(&handle).await? else { continue };
            if let Some(reason) = self.lie(&handle, &index, was_whole).await? {
                examined.junk.push(Junk { handle, creator: None, reason });
                continue;
            }
            good.push(handle);
            let is_part = |(id, blobs): (&Id, &Vec<&Blob>)| {
                self.packs.get(id).is_some_and(|bytes| pack::size(blobs) != *bytes)
            };
            if said(&index).iter().any(is_part) {
                parts.push(handle);
            }
        }
        let has_lies = good.len() < new.len();
        *new = good;
        if has_lies {
            self.begin_again(&[known, new], examined).await?;
        }
        Ok(parts)
    }

    /// Takes those out of new indexes that name a part of a pack, and nothing that others do not name: restic's check takes
    /// the pack for damaged. What nobody else names is never lost: restic before 0.10 named packs in parts.
    async fn take_parts_out(
        &mut self,
        known: &[Handle],
        new: &mut Vec<Handle>,
        parts: Vec<Handle>,
        examined: &mut Examined,
    ) -> Result<(), ExamineError> {
        let mut needless = BTreeSet::new();
        for handle in parts {
            let Opened::Good(index) = self.opener.open::<Index>(&handle).await? else { continue };
            let is_needless = said(&index)
                .iter()
                .filter(|(id, _)| self.packs.contains_key(id))
                .all(|(id, blobs)| self.blobs.is_said_twice(id) || self.blobs.are_elsewhere(blobs));
            if is_needless {
                let reason = "it names a part of a pack, and nothing that others do not name".to_owned();
                examined.junk.push(Junk { handle, creator: None, reason });
                needless.insert(handle);
            } else {
                examined.noticed.push(format!(
                    "{handle} names a part of a pack, as restic before 0.10 did; `restic repair index` at the server of \
                     maintenance mends that"
                ));
            }
        }
        if !needless.is_empty() {
            new.retain(|handle| !needless.contains(handle));
            self.begin_again(&[known, new], examined).await?;
        }
        Ok(())
    }

    /// Says which packs were there once and are not, unless maintenance took them away. Returns whether there are any.
    fn tell_lost(&self, examined: &mut Examined) -> bool {
        let (taken, lost): (Vec<_>, Vec<_>) =
            self.lost.keys().partition(|pack| self.past.was_taken(&pack_named(pack)));
        if let Some(first) = taken.first() {
            let number = taken.len();
            let text = format!("indexes name {number} packs that maintenance took away, such as {first}");
            examined.noticed.push(text);
        }
        for pack in lost.iter().take(LOST_NAMED) {
            let named_by: Vec<_> =
                self.lost.get(*pack).into_iter().flatten().map(Handle::to_string).collect();
            examined.lost.push(format!("data/{pack}, which {} names, is not there", named_by.join(", ")));
        }
        let more = lost.len().saturating_sub(LOST_NAMED);
        examined
            .lost
            .extend((more > 0).then(|| format!("{more} more packs that indexes name are not there")));
        !lost.is_empty()
    }

    /// Whether an index names a pack that is lost.
    fn names_lost(&self, index: &Handle) -> bool {
        let mut lost = self.lost.iter().filter(|(pack, _)| !self.past.was_taken(&pack_named(pack)));
        lost.any(|(_, named_by)| named_by.contains(index))
    }

    /// What an index says that is not so.
    async fn lie(
        &self,
        handle: &Handle,
        index: &Index,
        was_whole: bool,
    ) -> Result<Option<String>, ExamineError> {
        let said = said(index);
        let missing: Vec<_> = said.keys().filter(|id| !self.packs.contains_key(id)).map(pack_named).collect();
        // One that names a pack that is there is of somebody who saw it, and may have seen the others.
        if let Some(first) = missing.first()
            && missing.len() == said.len()
            && was_whole
            && !self.past.knows_one_of(&missing)
            && !self.may_be_archived(handle).await?
        {
            return Ok(Some(format!("it names packs of which none was ever there, such as {first}")));
        }
        for (id, blobs) in &said {
            if let Some(bytes) = self.packs.get(id)
                && let Some(lie) = self.lie_of(id, *bytes, blobs).await?
                // A pack that is damaged says nothing about who named it; verification finds it.
                && self.is_pack_right(id).await?
            {
                return Ok(Some(lie));
            }
        }
        Ok(None)
    }

    /// Whether the audit log may have told of the packs of an index in a file that was archived.
    async fn may_be_archived(&self, index: &Handle) -> Result<bool, ExamineError> {
        let Some(archived_ms) = self.past.archived_ms() else { return Ok(false) };
        let facts = self.opener.session.files.facts(self.opener.repository, index).await?;
        Ok(facts.is_none_or(|facts| facts.received_ms <= archived_ms))
    }

    /// What is said of a pack of this size and is not so, by what is in it.
    async fn lie_of(&self, id: &Id, bytes: u64, blobs: &[&Blob]) -> Result<Option<String>, ExamineError> {
        let mut places = HashSet::new();
        if blobs.iter().any(|blob| !places.insert(blob.offset)) {
            return Ok(Some(format!("it names what is in the pack {id} twice")));
        }
        // A part of what is there is no lie: another index may name the rest.
        let is_plain = pack::size(blobs) == bytes && !self.blobs.is_contested(id);
        if !is_plain && !self.is_in_header(id, blobs).await? {
            return Ok(Some(format!("what it says of the pack {id} is not what that says of itself")));
        }
        for blob in blobs.iter().filter(|blob| self.blobs.is_several(blob)) {
            if !self.is_there(id, blob).await? {
                let blob = blob.id;
                return Ok(Some(format!(
                    "it says of the blob {blob} that it is in the pack {id}, and it is not"
                )));
            }
        }
        Ok(None)
    }

    async fn is_pack_right(&self, id: &Id) -> Result<bool, ExamineError> {
        self.opener.is_right(&Handle::File(FileType::Data, FileId::from_sha256(id.0))).await
    }

    /// Whether a pack says the same of all of these. A blob of another type or length than another index says is two for
    /// restic, and its check then finds the pack too short.
    async fn is_in_header(&self, id: &Id, blobs: &[&Blob]) -> Result<bool, ExamineError> {
        let (store, id) = (&self.opener.session.store, FileId::from_sha256(id.0));
        let header = header_of_pack(store, self.opener.repository, &self.opener.key, id).await?;
        Ok(header.is_some_and(|header| blobs.iter().all(|blob| header.contains(&Entry::from(*blob)))))
    }

    /// Whether a blob is where it is said to be.
    async fn is_there(&self, pack: &Id, blob: &Blob) -> Result<bool, ExamineError> {
        let until = blob.offset.saturating_add(blob.length);
        let sealed = self.opener.part(FileId::from_sha256(pack.0), blob.offset, until).await?;
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

/// What an index says, by packs: restic before 0.14 named trees and data of one apart.
fn said(index: &Index) -> BTreeMap<Id, Vec<&Blob>> {
    let mut said: BTreeMap<Id, Vec<&Blob>> = BTreeMap::new();
    for pack in index.packs.iter().flatten() {
        said.entry(pack.id).or_default().extend(pack.blobs.iter().flatten());
    }
    said
}

/// A pack, as it is named beside other files.
fn pack_named(id: &Id) -> Handle {
    Handle::File(FileType::Data, FileId::from_sha256(id.0))
}
