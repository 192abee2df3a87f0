//! Whether an index is lost: what only it named looks as if it had never been.
//!
//! Invariant: a missing blob counts as lost in three cases. A pack that no index names lists it in its sealed header. A batch
//! hides its pack together with the index. The audit log tells of an index that is gone, that maintenance did not remove, and
//! without which something is lacking since.

use std::collections::BTreeSet;
use std::future::ready;
use std::pin::pin;

use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_config::hint;
use pawl_policy::{BatchId, FileId, FileType, Handle};
use pawl_restic_format::id::Id;
use pawl_restic_format::records::Index;
use pawl_store::maintenance::{MaintenanceStore, Place};

use super::past::LogEntries;
use super::state::State;
use super::{ExamineError, Examined, Opened, Opener, header_of_pack, index, open};

/// Headers of packs that are read at a time.
const HEADERS_AT_A_TIME: usize = 8;
/// Headers that are read at most. A host can store millions of packs that no index names.
const HEADERS_MAX: usize = 20_000;

impl Opener<'_> {
    /// What tells that an index is lost which named one of these blobs; nothing if nothing does.
    pub(super) async fn lost_index(
        &self,
        indexes: &index::Read,
        missing: &BTreeSet<Id>,
        state: &State,
        examined: &Examined,
    ) -> Result<Option<String>, ExamineError> {
        // An index that is junk may be what named these packs: then they are of whoever wrote it.
        let is_index = |handle: &Handle| handle.file_type() == Some(FileType::Index);
        let has_junk = examined.junk.iter().any(|junk| is_index(&junk.handle));
        if !has_junk && let Some(found) = self.in_a_pack_without_index(&indexes.unnamed, missing).await {
            return Ok(Some(format!(
                "{found}; `restic repair index` at the maintenance server makes an index"
            )));
        }
        if let Some((batch, pack, blob)) = self.in_a_batch(missing).await? {
            return Ok(Some(format!(
                "the blob {blob} is in data/{pack}, which batch {batch} hides: a client that makes no locks did not see that; \
                 `{}` brings it back",
                hint::pawl(format!("maintain undelete {batch}"))
            )));
        }
        let gone = self.gone_indexes(&indexes.all, state).await?;
        let first = gone.first();
        Ok(first.map(|index| format!("{index}, which was stored here, is not there ({} such)", gone.len())))
    }

    /// What tells of one of these blobs in packs that no index names. One that cannot be read may have it.
    async fn in_a_pack_without_index(&self, packs: &[FileId], missing: &BTreeSet<Id>) -> Option<String> {
        let look = async |pack: &FileId| {
            let header = header_of_pack(&self.session.store, self.repository, &self.key, *pack).await;
            match header {
                Ok(entries) => {
                    let blobs = entries.into_iter().flatten().map(|entry| entry.id());
                    let found = blobs.into_iter().find(|blob| missing.contains(blob));
                    found.map(|blob| format!("the blob {blob} is in data/{pack}, which no index names"))
                }
                Err(error) => Some(format!("data/{pack}, which no index names, cannot be read: {error}")),
            }
        };
        let looked = packs.iter().take(HEADERS_MAX);
        let mut found =
            pin!(stream::iter(looked).map(look).buffer_unordered(HEADERS_AT_A_TIME).filter_map(ready));
        let more = packs.len().saturating_sub(HEADERS_MAX);
        let more =
            || (more > 0).then(|| format!("no index names {} packs, too many to look at", packs.len()));
        found.next().await.or_else(more)
    }

    /// A pack that is hidden, by an index that was hidden with it.
    async fn in_a_batch(
        &self,
        missing: &BTreeSet<Id>,
    ) -> Result<Option<(BatchId, FileId, Id)>, ExamineError> {
        let store = &self.session.store;
        for batch in store.batches().await?.into_iter().filter(|batch| batch.repository == *self.repository) {
            let mut hidden = BTreeSet::new();
            let mut listing = pin!(store.hidden(&batch.id).await?);
            while let Some(more) = listing.try_next().await? {
                hidden.extend(more.into_iter().map(|file| file.handle));
            }
            let place = Place::Hidden(batch.id.clone());
            for handle in &hidden {
                let Handle::File(FileType::Index, id) = *handle else { continue };
                let index = open::<Index>(store, self.repository, &self.key, (handle, id), &place).await?;
                let Opened::Good(index) = index else { continue };
                let packs = index.packs.iter().flatten().map(|pack| (FileId::from_sha256(pack.id.0), pack));
                let packs = packs.filter(|(id, _)| hidden.contains(&Handle::File(FileType::Data, *id)));
                let mut blobs =
                    packs.flat_map(|(id, pack)| pack.blobs.iter().flatten().map(move |blob| (id, blob.id)));
                if let Some((pack, blob)) = blobs.find(|(_, blob)| missing.contains(blob)) {
                    return Ok(Some((batch.id, pack, blob)));
                }
            }
        }
        Ok(None)
    }

    /// Indexes of which an audit log tells that they were stored, beside these, and that maintenance did not take away.
    pub(super) async fn gone_indexes(
        &self,
        there: &BTreeSet<Handle>,
        state: &State,
    ) -> Result<BTreeSet<Handle>, ExamineError> {
        let there = there.clone();
        let told = LogEntries::of(self, move |file| {
            let handle = file.parse().ok()?;
            let is_gone = matches!(handle, Handle::File(FileType::Index, _)) && !there.contains(&handle);
            is_gone.then_some(handle)
        });
        let mut gone = told.await?.not_removed();
        let store = &self.session.store;
        let (holders, tombstones) =
            (store.holders(self.repository, &gone).await?, store.tombstones(self.repository).await?);
        gone.retain(|index| {
            holders.of(index).is_empty() && !tombstones.contains(index) && !state.is_settled(index)
        });
        Ok(gone)
    }
}
