//! `config`, which has no name that its content could be compared with: the oldest version that was not retired counts.
//!
//! Invariant: a version is retired before it goes out of sight, and for good unless it is the one that came back; what
//! another hand did to the name never changes which one counts.

use pawl_config::hint;
use pawl_policy::{Caps, FileId, Handle, RepositoryName};

use super::S3Maintenance;
use super::hide::Moved;
use super::notes::Noted;
use crate::maintenance::Batch;
use crate::s3::facts::Head;
use crate::s3::names;
use crate::s3::put::checksum;
use crate::s3::versions::{History, Version};
use crate::{StoreError, now_ms};

impl S3Maintenance {
    /// The `config` that hosts read.
    pub(super) async fn true_head(&self, repository: &RepositoryName) -> Result<Option<Head>, StoreError> {
        let Some(version) = self.store.true_config(repository).await? else { return Ok(None) };
        self.config_version(repository, version).await
    }

    /// The SHA-256 of the `config` that counts: as it was recorded, or, if it was not, as it is.
    pub(super) async fn config_hash(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<FileId>, StoreError> {
        let Some(counts) = self.true_head(repository).await? else { return Ok(None) };
        if counts.content.is_some() || counts.size > Caps::IN_MEMORY_BYTES_MAX {
            return Ok(counts.content);
        }
        let (bucket, key) = self.config_name(repository);
        self.hash(bucket, &key, counts.version).await.map(Some)
    }

    /// Takes it out of sight. What is to come back is the one that counts, which need not be the one that is shown.
    pub(super) async fn hide_config(&self, batch: &Batch) -> Result<Moved, StoreError> {
        let repository = &batch.repository;
        let shown = self.shown(repository, &Handle::Config).await?;
        let Some(kept) = self.true_head(repository).await?.or_else(|| shown.clone()) else {
            return Ok(Moved::Absent);
        };
        let hidden_ms = now_ms().max(batch.began_ms);
        if self.note_entry(&batch.id, &Handle::Config, &kept, hidden_ms).await? == Noted::Another {
            return Ok(Moved::Taken);
        }
        self.retire_all_but(repository, None).await?;
        match shown {
            Some(shown) => self.take_away(repository, &Handle::Config, &shown).await,
            None => Ok(Moved::Now { bytes: kept.size }), // another hand had put a marker already
        }
    }

    /// From now on this version does not count.
    pub(super) async fn retire(&self, repository: &RepositoryName, version: &str) -> Result<(), StoreError> {
        self.store.mark(&self.store.layout.retired_config(repository, version)).await
    }

    /// From now on only the version counts that is shown, provided that it hashes to this: older ones that are left could
    /// be forged, and would count as soon as the store has ended those before them.
    pub(super) async fn settle_config(
        &self,
        repository: &RepositoryName,
        id: FileId,
    ) -> Result<(), StoreError> {
        let shown = self.shown(repository, &Handle::Config).await?;
        let Some((shown, version)) = shown.and_then(|head| Some((head.clone(), head.version?))) else {
            return Err(StoreError::Unavailable("config vanished while it came back; try again".to_owned()));
        };
        let is_it = if let Some(recorded) = &shown.checksum {
            *recorded == checksum(id.sha256())
        } else {
            let (bucket, key) = self.config_name(repository);
            self.hash(bucket, &key, Some(version.clone())).await? == id
        };
        if !is_it {
            let verify = hint::pawl("maintain verify");
            let cause = format!("config was overwritten while it came back; run `{verify}`");
            return Err(StoreError::Unavailable(cause));
        }
        self.forget_late_marks(repository).await?;
        self.retire_all_but(repository, Some(&version)).await?;
        // As it was if a run was cut before it took the file away.
        self.take_note_back(&self.store.layout.retired_config(repository, &version)).await
    }

    /// Marks that take keys out of sight count if they are older than the first `config`. What was put later, which only
    /// another hand does, would count once the store has ended that version and this one is the first.
    async fn forget_late_marks(&self, repository: &RepositoryName) -> Result<(), StoreError> {
        let (bucket, key) = self.config_name(repository);
        let history = self.store.history(bucket, &key).await?;
        let first_ms = history.versions.iter().map(|version| version.modified_ms).min();
        let aside = self.store.layout.aside(repository);
        for object in names::all(&self.store, bucket, &aside).await? {
            if first_ms.is_some_and(|first_ms| object.modified_ms > first_ms) {
                self.take_note_back(&object.key).await?;
            }
        }
        Ok(())
    }

    async fn retire_all_but(
        &self,
        repository: &RepositoryName,
        spared: Option<&str>,
    ) -> Result<(), StoreError> {
        let (bucket, key) = self.config_name(repository);
        let history = self.store.history(bucket, &key).await?;
        let versions = history.versions.iter().filter_map(|version| version.id.as_deref());
        for version in versions.filter(|version| Some(*version) != spared) {
            self.retire(repository, version).await?;
        }
        Ok(())
    }

    /// What another hand did to it, in words. `is_held` says which versions batches hold.
    pub(super) async fn unexplained_config(
        &self,
        repository: &RepositoryName,
        history: &History,
        is_held: impl Fn(&Version) -> bool,
    ) -> Result<Option<&'static str>, StoreError> {
        let standing = self.store.standing_configs(repository, history).await?;
        if standing.is_empty() {
            return Ok(None);
        }
        let Some(shown) = history.shown() else {
            // A restoration that was cut is told as such.
            let was_displaced = history.versions.first().is_some_and(is_held);
            return Ok((!was_displaced).then_some("it was deleted past Pawl; the true version is kept"));
        };
        for other in standing.into_iter().filter(|version| !version.is_latest) {
            if !self.is_same_config(repository, shown, other).await? {
                return Ok(Some(
                    "it was overwritten past Pawl; the oldest version is the true one, and is kept",
                ));
            }
        }
        Ok(None)
    }

    /// Whether two versions have the same content, as far as the store says. An `ETag` may differ where it encrypts.
    async fn is_same_config(
        &self,
        repository: &RepositoryName,
        one: &Version,
        other: &Version,
    ) -> Result<bool, StoreError> {
        if one.etag.is_some() && one.etag == other.etag && one.size == other.size {
            return Ok(true);
        }
        let of = async |version: &Version| {
            let head = self.config_version(repository, version.id.clone()).await?;
            Ok::<_, StoreError>(head.and_then(|head| head.checksum))
        };
        let (one, other) = (of(one).await?, of(other).await?);
        Ok(one.is_some() && one == other)
    }

    async fn config_version(
        &self,
        repository: &RepositoryName,
        version: Option<String>,
    ) -> Result<Option<Head>, StoreError> {
        let (bucket, key) = self.config_name(repository);
        self.store.head_version(bucket, &key, version).await
    }

    fn config_name(&self, repository: &RepositoryName) -> (&str, String) {
        (self.store.bucket(&Handle::Config), self.store.layout.file(repository, &Handle::Config))
    }
}
