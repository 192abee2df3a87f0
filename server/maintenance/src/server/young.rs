//! What our own prune leaves in place although no snapshot needs it: what hosts sent so lately that a backup may still be
//! at work on it, or was cut and goes on with it.
//!
//! Invariant: hosts believe an index, so one that stays names no pack that goes. A young pack stays unless prune has written
//! all its blobs anew, and named them; an index stays only if every pack that it names, and that is there, is young. What is
//! older goes, whatever young indexes say of it.

use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use pawl_policy::{
    DAY_MS, Delete, FileId, FileType, Handle, Permitted, PrincipalName, RepositoryName, Usage,
};
use pawl_restic_format::id::Id;
use pawl_restic_format::sealed::MasterKey;
use pawl_store::deletions::{Deleted, DeletionError, Deletions, Hiding};
use pawl_store::either::EitherMaintenance;
use pawl_store::maintenance::MaintenanceStore;
use pawl_store::{StoreError, now_ms};

use crate::listing;
use crate::lock_filter::LockFilter;
use crate::map_concurrent::{FILES_AT_A_TIME, map_concurrent};
use crate::sealed_files;
use crate::session::{self, Session};

/// Files of a repository that prune does not remove yet.
#[derive(Debug)]
pub(crate) struct Young {
    store: EitherMaintenance,
    sight: LockFilter,
    repository: RepositoryName,
    key: Arc<MasterKey>,
    /// Who stored what our own restic wrote; hosts do not wait for that.
    user: PrincipalName,
    /// When what is young was received, in Unix milliseconds. It does not move while prune works, or an index could stay
    /// whose packs go. Nobody is believed who says that it was received in the days to come.
    window: RangeInclusive<u64>,
    kept: Mutex<BTreeSet<Handle>>,
    written: tokio::sync::Mutex<Written>,
}

/// What the indexes say that prune has written.
#[derive(Debug, Default)]
struct Written {
    indexes: BTreeSet<FileId>,
    packs: HashSet<FileId>,
    /// What is in these packs.
    blobs: HashSet<Id>,
    /// Packs that an index which stays names.
    needed: HashSet<FileId>,
}

impl Young {
    /// What is young now in a repository with this key.
    pub(crate) fn of(
        session: &Session,
        repository: &RepositoryName,
        key: MasterKey,
    ) -> Result<Self, Box<dyn Error>> {
        let now_ms = now_ms();
        let since_ms = now_ms.saturating_sub(session.config.maintenance.floor_ms());
        Ok(Self {
            store: session.store.clone(),
            sight: session.sight.clone(),
            repository: repository.clone(),
            key: Arc::new(key),
            user: session::user()?,
            window: since_ms..=now_ms.saturating_add(DAY_MS),
            kept: Mutex::default(),
            written: tokio::sync::Mutex::default(),
        })
    }

    /// How much prune wanted to remove and did not.
    pub(crate) async fn kept(&self, session: &Session) -> Result<Usage, StoreError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut usage = Usage::default();
        for file_type in [FileType::Index, FileType::Data] {
            let is_kept = |id| kept.contains(&Handle::File(file_type, id));
            if !kept.iter().any(|handle| handle.file_type() == Some(file_type)) {
                continue;
            }
            let entries = listing::entries(session, &self.repository, file_type).await?;
            for entry in entries.into_iter().filter(|entry| is_kept(entry.id)) {
                usage = usage.plus(Usage { bytes: entry.size, files: 1 });
            }
        }
        Ok(usage)
    }

    /// Whether a file stays that prune would remove.
    async fn stays(&self, handle: &Handle) -> Result<bool, StoreError> {
        let stays = match *handle {
            Handle::File(FileType::Data, pack) => {
                self.is_young(handle).await? == Some(true) && !self.is_written_anew(pack, None).await?
            }
            Handle::File(FileType::Index, id) => {
                self.is_young(handle).await? == Some(true) && self.names_what_only_it_names(id).await?
            }
            _ => false,
        };
        if stays {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(*handle);
        }
        Ok(stays)
    }

    /// Whether hosts sent a file lately; nothing if it is not there.
    async fn is_young(&self, handle: &Handle) -> Result<Option<bool>, StoreError> {
        let facts = self.store.facts(&self.repository, handle).await?;
        Ok(facts.map(|facts| {
            self.window.contains(&facts.received_ms) && facts.creator.as_ref() != Some(&self.user)
        }))
    }

    /// Whether an index names only young packs, one of which prune has neither named nor written anew.
    async fn names_what_only_it_names(&self, index: FileId) -> Result<bool, StoreError> {
        let Some(packs) = self.packs_of(index).await? else { return Ok(false) };
        let packs = packs.into_iter().map(|(pack, _)| pack).collect();
        let (said_again, left) = self.said_again(packs, index).await?;
        let mut is_missed = false;
        for pack in &left {
            is_missed |= !self.is_written_anew(*pack, Some(index)).await?;
        }
        if !is_missed {
            return Ok(false);
        }
        let named = left.clone();
        let are_young = async |packs: Vec<FileId>| {
            let look = |pack| async move { self.is_young(&Handle::File(FileType::Data, pack)).await };
            let young = map_concurrent(packs, FILES_AT_A_TIME, look).await?;
            Ok::<_, StoreError>(young.into_iter().flatten().collect::<Vec<_>>())
        };
        let left = are_young(left).await?;
        if left.is_empty() || left.contains(&false) {
            return Ok(false);
        }
        let stays = !are_young(said_again).await?.contains(&false);
        if stays {
            self.written.lock().await.needed.extend(named);
        }
        Ok(stays)
    }

    /// Whether prune has written all that is in a pack anew, and named it, so that no host misses the pack. An index that
    /// stays and names the pack speaks against it. What is in it the pack says itself: an index may name a part.
    async fn is_written_anew(&self, pack: FileId, but: Option<FileId>) -> Result<bool, StoreError> {
        let mut written = self.written.lock().await;
        self.read_written(&mut written, but).await?;
        if written.packs.contains(&pack) || written.needed.contains(&pack) {
            return Ok(false);
        }
        let header = sealed_files::header_of_pack(&self.store, &self.repository, &self.key, pack).await?;
        Ok(header.is_some_and(|entries| entries.iter().all(|entry| written.blobs.contains(&entry.id()))))
    }

    /// Of these packs of an index, those that an index names which prune has written, and the others.
    async fn said_again(
        &self,
        packs: BTreeSet<FileId>,
        index: FileId,
    ) -> Result<(Vec<FileId>, Vec<FileId>), StoreError> {
        let mut written = self.written.lock().await;
        self.read_written(&mut written, Some(index)).await?;
        Ok(packs.into_iter().partition(|pack| written.packs.contains(pack)))
    }

    /// Reads the indexes that prune has written since, save one.
    async fn read_written(&self, written: &mut Written, but: Option<FileId>) -> Result<(), StoreError> {
        for own in self.sight.own_indexes(&self.repository) {
            if Some(own) == but || !written.indexes.insert(own) {
                continue;
            }
            for (pack, blobs) in self.packs_of(own).await?.into_iter().flatten() {
                written.packs.insert(pack);
                written.blobs.extend(blobs);
            }
        }
        Ok(())
    }

    async fn packs_of(&self, index: FileId) -> Result<Option<Vec<(FileId, Vec<Id>)>>, StoreError> {
        sealed_files::packs_of_index(&self.store, &self.repository, &self.key, index).await
    }
}

/// Hides what is deleted, save what is young.
#[derive(Debug)]
pub(super) struct Sparing {
    hiding: Hiding<EitherMaintenance>,
    young: Option<Arc<Young>>,
}

impl Sparing {
    /// Hides in this store.
    pub(super) fn new(store: EitherMaintenance, young: Option<Arc<Young>>) -> Self {
        Self { hiding: Hiding::new(store), young }
    }
}

impl Deletions for Sparing {
    async fn delete(&self, permit: &Permitted<Delete>) -> Result<Deleted, DeletionError> {
        if let Some(young) = &self.young
            && young.stays(&permit.action().handle).await?
        {
            return Ok(Deleted::Kept);
        }
        self.hiding.delete(permit).await
    }

    async fn note_kept(&self, principal: &PrincipalName, repository: &RepositoryName) {
        self.hiding.note_kept(principal, repository).await;
    }

    async fn has_kept(&self, principal: &PrincipalName, repository: &RepositoryName) -> bool {
        self.hiding.has_kept(principal, repository).await
    }

    async fn note_unlocked(&self, principal: &PrincipalName, repository: &RepositoryName) {
        self.hiding.note_unlocked(principal, repository).await;
    }

    async fn note_lock(&self, principal: &PrincipalName, repository: &RepositoryName) {
        self.hiding.note_lock(principal, repository).await;
    }
}
