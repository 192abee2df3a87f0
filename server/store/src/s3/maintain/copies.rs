//! Every copy of a name: the one that is shown, those that batches hold, rescued ones, and what else the bucket kept.
//!
//! Invariant: a copy is named by what a batch, or the store itself, calls its version; names are built from what parsed.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_policy::{BatchId, FileId, FileType, Handle, RepositoryName};

use super::back::GoodCopy;
use super::notes::Entry;
use super::{PARALLEL, S3Maintenance};
use crate::StoreError;
use crate::maintenance::{Holders, Kept, Place, Version as Copy};
use crate::s3::facts::Head;
use crate::s3::versions::{History, Version};
use crate::s3::{layout, names};

impl S3Maintenance {
    /// Every copy, the one that is shown first. Without `holders` they are looked for everywhere.
    pub(super) async fn copies(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        holders: Option<&Holders>,
    ) -> Result<Vec<Copy>, StoreError> {
        let (bucket, key) = (self.store.bucket(handle), self.store.layout.file(repository, handle));
        let kept = match holders.and_then(|holders| holders.kept(handle)) {
            Some(kept) => kept.to_vec(),
            None => kept(self.store.history(bucket, &key).await?),
        };
        let batches = match holders {
            Some(holders) => holders.of(handle).to_vec(),
            None => self.batches_of(repository).await?.into_iter().map(|batch| batch.id).collect(),
        };
        let pending = self.held(handle, batches).await?;
        let mut copies = Vec::new();
        let may_be_rescued = holders.is_none_or(|holders| holders.are_rescued(handle));
        let is_aside = self.store.is_aside(repository, handle).await?;
        let shown = match kept.iter().find(|version| version.is_shown) {
            Some(shown) => self.head_of(repository, handle, shown).await?,
            None => None,
        };
        let recorded = match (handle, &shown) {
            // Whoever overwrites a config can record what it likes with it.
            (Handle::Config, _) if kept.len() > 1 => self.config_hash(repository).await?,
            (Handle::Config, Some(only)) => only.content,
            (Handle::Config, None) => self.true_head(repository).await?.and_then(|head| head.content),
            (Handle::File(..), _) => None,
        };
        let place = if is_aside { Place::Aside(String::new()) } else { Place::Current };
        copies.extend(shown.map(|head| version(place, head, recorded)));
        if let Some((bucket, key)) = may_be_rescued.then(|| self.rescued_place(repository, handle)).flatten()
        {
            let head = self.store.head(&bucket, &key).await?;
            copies.extend(head.map(|head| version(Place::Rescued, head, None)));
        }
        for (batch, entry) in &pending {
            // A lifecycle rule may have removed it.
            if kept.iter().any(|version| version.id == entry.version) {
                copies.push(Copy {
                    place: Place::Hidden(batch.clone()),
                    bytes: entry.bytes,
                    facts: entry.facts.clone(),
                    recorded: entry.recorded,
                });
            }
        }
        for Kept { id, .. } in kept.iter().filter(|version| !version.is_shown) {
            if pending.iter().any(|(_, entry)| entry.version == *id) {
                continue;
            }
            let head = self.store.head_version(bucket, &key, Some(id.clone())).await?;
            let recorded = recorded.or(head.as_ref().and_then(|head| head.content));
            copies.extend(head.map(|head| version(Place::Noncurrent(id.clone()), head, recorded)));
        }
        Ok(copies)
    }

    /// What is known of the version that is shown.
    async fn head_of(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        shown: &Kept,
    ) -> Result<Option<Head>, StoreError> {
        let known = self.looked_at(repository, handle).await?;
        if let Some(head) = known.filter(|head| head.version.as_ref() == Some(&shown.id)) {
            return Ok(Some(head));
        }
        let (bucket, key) = (self.store.bucket(handle), self.store.layout.file(repository, handle));
        self.store.head_version(bucket, &key, Some(shown.id.clone())).await
    }

    /// What these batches hold under a name.
    async fn held(
        &self,
        handle: &Handle,
        batches: Vec<BatchId>,
    ) -> Result<Vec<(BatchId, Entry)>, StoreError> {
        let read = stream::iter(batches).map(|batch| async move {
            let entry = self.entry(&batch, handle).await?;
            Ok::<_, StoreError>(entry.map(|entry| (batch, entry)))
        });
        let held: Vec<_> = read.buffered(PARALLEL).try_collect().await?;
        Ok(held.into_iter().flatten().collect())
    }

    /// Which batches of a repository hold these names, by the names of their notes.
    pub(super) async fn find_holders(
        &self,
        repository: &RepositoryName,
        handles: &BTreeSet<Handle>,
    ) -> Result<Holders, StoreError> {
        let mut holders = Holders::default();
        if handles.is_empty() {
            return Ok(holders);
        }
        let rescued = self.named(&self.store.layout.all_rescued(repository)).await?;
        holders.note_kept(self.histories(repository, handles).await?);
        holders.note_rescued(rescued.intersection(handles).copied());
        for batch in self.batches_of(repository).await? {
            let root = self.store.layout.batch(&batch.id);
            let mut pages = std::pin::pin!(self.pages_of(&batch.id, ""));
            while let Some(page) = pages.try_next().await? {
                let names = page.iter().filter_map(|object| object.key.strip_prefix(&root)?.parse().ok());
                for handle in names.filter(|handle| handles.contains(handle)) {
                    holders.note(handle, &batch.id);
                }
            }
        }
        Ok(holders)
    }

    /// The files that everybody sees, by their names alone; locks apart.
    pub(super) async fn visible_names(
        &self,
        repository: &RepositoryName,
    ) -> Result<BTreeSet<Handle>, StoreError> {
        let view = self.store.view(repository).await?;
        let bucket = &self.store.settings.bucket;
        let mut visible = BTreeSet::new();
        for file_type in [FileType::Keys, FileType::Data, FileType::Index, FileType::Snapshots] {
            let files = self.store.layout.files(repository, file_type);
            let mut pages = names::objects(&self.store, bucket, &files, None);
            while let Some(page) = pages.try_next().await? {
                let ids = page.iter().filter_map(|object| layout::id_in(&object.key, &files, file_type));
                visible.extend(ids.map(|id| Handle::File(file_type, id)));
            }
        }
        visible.retain(|handle| !view.hides(handle));
        let config = self.store.layout.file(repository, &Handle::Config);
        visible.extend(self.store.head(bucket, &config).await?.map(|_| Handle::Config));
        Ok(visible)
    }

    fn rescued_place(&self, repository: &RepositoryName, handle: &Handle) -> Option<(String, String)> {
        let Handle::File(file_type, id) = handle else { return None };
        let key = self.store.layout.rescued(repository, *file_type, *id);
        Some((self.store.settings.bucket.clone(), key))
    }

    /// In which bucket, under which key and as which version a copy lies.
    pub(super) async fn whereabouts(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<(String, String, Option<String>), StoreError> {
        let (bucket, key) =
            (self.store.bucket(handle).to_owned(), self.store.layout.file(repository, handle));
        match place {
            Place::Current | Place::Aside(_) => Ok((bucket, key, None)),
            Place::Noncurrent(id) => Ok((bucket, key, Some(id.clone()))),
            Place::Rescued => {
                let (bucket, key) = self.rescued_place(repository, handle).ok_or(StoreError::NotFound)?;
                Ok((bucket, key, None))
            }
            Place::Hidden(batch) => {
                let entry = self.entry(batch, handle).await?.ok_or(StoreError::NotFound)?;
                Ok((bucket, key, Some(entry.version)))
            }
        }
    }

    /// Where a copy lies, and what is known of it. Of what a batch holds, its note knows better.
    pub(super) async fn goods(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<GoodCopy, StoreError> {
        let (bucket, key, version) = self.whereabouts(repository, handle, place).await?;
        let head = self.store.head_version(&bucket, &key, version.clone()).await?;
        let head = head.ok_or(StoreError::NotFound)?;
        let recorded = match (handle, place) {
            // Not what it says of itself: another hand may have put it there since it was looked at.
            (Handle::Config, Place::Current | Place::Noncurrent(_)) => {
                self.config_hash(repository).await?.or(head.content)
            }
            _ => head.content,
        };
        Ok(GoodCopy { bucket, key, version, facts: head.facts, recorded })
    }

    /// After good bytes that were rescued are back, they are not kept twice.
    pub(super) async fn forget_rescued(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<(), StoreError> {
        match self.rescued_place(repository, handle) {
            Some((_, key)) => self.take_note_back(&key).await,
            None => Ok(()),
        }
    }
}

fn kept(history: History) -> Vec<Kept> {
    let kept = |version: Version| Some(Kept { id: version.id?, is_shown: version.is_latest });
    history.versions.into_iter().filter_map(kept).collect()
}

fn version(place: Place, head: Head, recorded: Option<FileId>) -> Copy {
    Copy { place, bytes: head.size, facts: head.facts, recorded }
}

/// A key that was set aside cannot come back: which keys count was settled when the repository got its `config`.
pub(super) fn refuse_aside(handle: &Handle, place: &Place) -> Result<(), StoreError> {
    match (place, handle) {
        (Place::Aside(_), Handle::File(FileType::Keys, id)) => Err(StoreError::Unavailable(format!(
            "key {id} was set aside before the repository was initialised, and stays so; restic init can be repeated"
        ))),
        (Place::Aside(_), _) => Err(StoreError::NotFound),
        _ => Ok(()),
    }
}
