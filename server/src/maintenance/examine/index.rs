//! What a repository's indexes say, and which of them say nothing that is true.
//!
//! Invariant: an index is junk only if restic cannot read it, or not one of the packs that it names is there or ever was.

use std::collections::{BTreeSet, HashSet};

use pawl_policy::{FileId, FileType, Handle};

use super::blobs::Blobs;
use super::state::State;
use super::written::{Id, Index};
use super::{ExamineError, Examined, Junk, Opened, Opener, damaged};
use crate::maintenance::listing;
use crate::store::maintenance::MaintenanceStore;

/// What came of reading indexes.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) good: Vec<Handle>,
    pub(super) blobs: Blobs,
    /// Whether what the indexes say is not all: one is damaged, or packs are gone.
    pub(super) is_incomplete: bool,
}

/// Reads new indexes, and all if it has to be known where blobs are.
pub(super) async fn read(
    opener: &Opener<'_>,
    ids: Vec<FileId>,
    state: &State,
    all: bool,
    examined: &mut Examined,
) -> Result<Read, ExamineError> {
    let mut read = Read::default();
    let packs = listing::ids(opener.session, opener.repository, FileType::Data).await?;
    let packs: HashSet<_> = packs.into_iter().map(|id| Id(*id.sha256())).collect();
    let mut lost = BTreeSet::new();
    for id in ids {
        let handle = Handle::File(FileType::Index, id);
        let is_known = state.is_good(&handle);
        if is_known && !all {
            read.good.push(handle);
            continue;
        }
        examined.opened += u64::from(!is_known);
        let index = match opener.open::<Index>(&handle).await? {
            Opened::Good(index) => index,
            Opened::Gone => continue,
            Opened::Damaged => {
                read.is_incomplete = true;
                examined.noticed.push(damaged(&handle));
                continue;
            }
            Opened::Junk(why) => {
                examined.junk.push(Junk { handle, creator: None, reason: why.to_string() });
                continue;
            }
        };
        let missing: Vec<_> =
            index.packs.iter().map(|pack| pack.id).filter(|id| !packs.contains(id)).collect();
        let has_none = !missing.is_empty() && missing.len() == index.packs.len();
        if !is_known && has_none && !opener.were_there(&missing).await? {
            let reason = "none of the packs that it names was ever there".to_owned();
            examined.junk.push(Junk { handle, creator: None, reason });
            continue;
        }
        lost.extend(missing);
        read.blobs.add(&index, &packs);
        read.good.push(handle);
    }
    if !lost.is_empty() {
        read.is_incomplete = true;
        let first = lost.first().map(ToString::to_string).unwrap_or_default();
        let number = lost.len();
        examined.noticed.push(format!("indexes name {number} packs that are not there, such as {first}"));
    }
    read.blobs.sort();
    Ok(read)
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
        Ok(handles.iter().any(is_known) || self.has_damage()?)
    }
}
