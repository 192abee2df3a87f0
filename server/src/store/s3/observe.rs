//! How the bucket does.
//!
//! Invariant: nothing is stored to find out.

use pawl_policy::{FileType, RepositoryName, Usage};

use super::{S3Store, names};
use crate::store::{Observed, Space, StoreError};

impl Observed for S3Store {
    async fn space(&self) -> Result<Option<Space>, StoreError> {
        Ok(None) // a bucket has no end
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let list = self.clients.quick.list_objects_v2().bucket(&self.settings.bucket);
        let list = list.prefix(self.layout.prefix()).max_keys(1).send();
        list.await.map_err(|error| names::failed("cannot list the bucket", &error))?;
        Ok(self.keeper()?.ping().await?)
    }

    async fn usages(
        &self,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<(RepositoryName, Option<Usage>)>, StoreError> {
        let usage = |repository| (self.usage.known(&repository), repository);
        Ok(repositories.into_iter().map(usage).map(|(usage, repository)| (repository, usage)).collect())
    }

    async fn last_received(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> Result<Option<u64>, StoreError> {
        let bucket = self.bucket_of(Some(file_type));
        let files = self.layout.files(repository, file_type);
        let objects = names::all(self, bucket, &files).await?;
        let Some(newest) = objects.into_iter().max_by_key(|object| object.modified_ms) else {
            return Ok(None);
        };
        let head = self.head(bucket, &newest.key).await?;
        Ok(Some(head.map_or(newest.modified_ms, |head| head.facts.received_ms)))
    }
}
