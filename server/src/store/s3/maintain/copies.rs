//! Every copy of a name: the one that is shown, those that batches hold, rescued ones, and what else the bucket kept.
//!
//! Invariant: a copy is named by what a batch, or the store itself, calls its version; names are built from what parsed.

use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_policy::{BatchId, FileId, FileType, Handle, RepositoryName};

use super::back::Goods;
use super::notes::Entry;
use super::{PARALLEL, S3Maintenance};
use crate::store::StoreError;
use crate::store::maintenance::{Place, Version};
use crate::store::s3::facts::Head;

impl S3Maintenance {
    /// Every copy, the one that is shown first.
    pub(super) async fn copies(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Vec<Version>, StoreError> {
        let (bucket, key) = (self.store.bucket(handle), self.store.layout.file(repository, handle));
        let history = self.store.history(bucket, &key).await?;
        let pending = self.held(repository, handle).await?;
        let mut copies = Vec::new();
        let is_aside = self.store.is_aside(repository, handle).await?;
        let recorded = match handle {
            // Whoever overwrites a config can record what it likes with it.
            Handle::Config if history.versions.len() > 1 => self.config_hash(repository).await?,
            Handle::Config => self.true_head(repository).await?.and_then(|head| head.content),
            Handle::File(..) => None,
        };
        if let Some(shown) = history.shown() {
            let place = if is_aside { Place::Aside(String::new()) } else { Place::Current };
            let head = self.store.head_version(bucket, &key, shown.id.clone()).await?;
            copies.extend(head.map(|head| version(place, head, recorded)));
        }
        if let Some((bucket, key)) = self.rescued_place(repository, handle) {
            let head = self.store.head(&bucket, &key).await?;
            copies.extend(head.map(|head| version(Place::Rescued, head, None)));
        }
        for (batch, entry) in &pending {
            // A lifecycle rule may have removed it.
            if history.versions.iter().any(|version| version.id.as_ref() == Some(&entry.version)) {
                copies.push(Version {
                    place: Place::Hidden(batch.clone()),
                    bytes: entry.bytes,
                    facts: entry.facts.clone(),
                    recorded: entry.recorded,
                });
            }
        }
        for kept in history.versions.iter().filter(|version| !version.is_latest) {
            let Some(id) = &kept.id else { continue };
            if pending.iter().any(|(_, entry)| entry.version == *id) {
                continue;
            }
            let head = self.store.head_version(bucket, &key, Some(id.clone())).await?;
            let recorded = recorded.or(head.as_ref().and_then(|head| head.content));
            copies.extend(head.map(|head| version(Place::Noncurrent(id.clone()), head, recorded)));
        }
        Ok(copies)
    }

    /// What the batches of a repository hold under a name.
    async fn held(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Vec<(BatchId, Entry)>, StoreError> {
        let batches = self.batches_of(repository).await?;
        let read = stream::iter(batches).map(|batch| async move {
            let entry = self.entry(&batch.id, handle).await?;
            Ok::<_, StoreError>(entry.map(|entry| (batch.id, entry)))
        });
        let held: Vec<_> = read.buffered(PARALLEL).try_collect().await?;
        Ok(held.into_iter().flatten().collect())
    }

    fn rescued_place(&self, repository: &RepositoryName, handle: &Handle) -> Option<(String, String)> {
        let Handle::File(file_type, id) = handle else { return None };
        let key = self.store.layout.rescued(repository, *file_type, *id);
        Some((self.store.settings.bucket.clone(), key))
    }

    /// Where a copy lies, and what is known of it.
    pub(super) async fn goods(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<Goods, StoreError> {
        let (mut bucket, mut key) =
            (self.store.bucket(handle).to_owned(), self.store.layout.file(repository, handle));
        let mut version = None;
        match place {
            Place::Current | Place::Aside(_) => {}
            Place::Rescued => {
                (bucket, key) = self.rescued_place(repository, handle).ok_or(StoreError::NotFound)?;
            }
            Place::Noncurrent(id) => version = Some(id.clone()),
            Place::Hidden(batch) => {
                let entry = self.entry(batch, handle).await?.ok_or(StoreError::NotFound)?;
                let Entry { version, facts, recorded, .. } = entry;
                return Ok(Goods { bucket, key, version: Some(version), facts, recorded });
            }
        }
        let head = self.store.head_version(&bucket, &key, version.clone()).await?;
        let head = head.ok_or(StoreError::NotFound)?;
        let recorded = match (handle, place) {
            // Not what it says of itself: another hand may have put it there since it was looked at.
            (Handle::Config, Place::Current | Place::Noncurrent(_)) => {
                self.config_hash(repository).await?.or(head.content)
            }
            _ => head.content,
        };
        Ok(Goods { bucket, key, version, facts: head.facts, recorded })
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

fn version(place: Place, head: Head, recorded: Option<FileId>) -> Version {
    Version { place, bytes: head.size, facts: head.facts, recorded }
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
