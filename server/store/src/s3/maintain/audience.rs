//! Changing who may see a key.
//!
//! Invariant: metadata cannot be changed in place, so that the key goes into a batch and comes back. The batch says that it
//! is for this before the key goes, so that a change that was cut is found, and ended by asking for it again.

use pawl_policy::{Audience, FileId, FileType, Handle, RepositoryName};

use super::S3Maintenance;
use super::back::GoodCopy;
use crate::StoreError;
use crate::maintenance::{Batch, PutBackError, Reason};

impl S3Maintenance {
    /// Changes it, or ends a change that was cut.
    pub(super) async fn change_audience(
        &self,
        repository: &RepositoryName,
        key: FileId,
        audience: Audience,
    ) -> Result<(), StoreError> {
        let handle = Handle::File(FileType::Keys, key);
        let batch = if let Some(batch) = self.cut_change(repository, &handle).await? {
            batch
        } else {
            let shown = self.shown(repository, &handle).await?.ok_or(StoreError::NotFound)?;
            if shown.facts.audience == audience {
                return Ok(());
            }
            self.begin_change(repository).await?
        };
        self.hide_file(&batch, &handle).await?; // unless it was before
        let interrupted = |cause: PutBackError| {
            StoreError::Unavailable(format!(
                "key {key} could not be put back: {cause}. It is in batch {}; run this again",
                batch.id
            ))
        };
        let mut goods = GoodCopy::hidden(self, &batch, &handle).await.map_err(interrupted)?;
        goods.facts.audience = audience;
        self.bring(repository, &handle, &goods).await.map_err(interrupted)?;
        self.take_entry_back(&batch.id, &handle).await?;
        self.end(&batch.id).await
    }

    pub(super) async fn begin_change(&self, repository: &RepositoryName) -> Result<Batch, StoreError> {
        let principal = "maintenance".parse();
        let principal = principal.map_err(|_| StoreError::Unavailable("no name to act under".to_owned()))?;
        let batch = self.begin(repository, &principal, Reason::Deleted).await?;
        let change = self.store.layout.change_of_audience(&batch.id);
        let marked = self.store.mark(&change).await;
        self.note_write(&change);
        marked?;
        Ok(batch)
    }

    /// The batch of a change that was cut before the key came back. One that was cut after that is ended.
    async fn cut_change(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Option<Batch>, StoreError> {
        for batch in self.batches_of(repository).await? {
            let note = self.store.layout.change_of_audience(&batch.id);
            if self.store.head(&self.store.settings.bucket, &note).await?.is_none() {
                continue; // what somebody deleted does not come back so
            }
            let Some(entry) = self.entry(&batch.id, handle).await? else { continue };
            let shown = self.shown(repository, handle).await?;
            if shown.is_none_or(|shown| shown.version == Some(entry.version)) {
                return Ok(Some(batch));
            }
            self.take_entry_back(&batch.id, handle).await?;
            self.end(&batch.id).await?;
        }
        Ok(None)
    }
}
