//! How the bucket does.
//!
//! Invariant: nothing is stored to find out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pawl_policy::{FileType, RepositoryName, Usage};
use tokio::time::Instant;

use super::put::PutOutcome;
use super::{S3Store, names};
use crate::{CreateError, Observed, Space, StoreError};

/// For so long the store counts as full after it said so, unless it takes a file meanwhile: hosts try once a day.
const FULL_WITHIN: Duration = Duration::from_mins(5);

/// When the store last said that it has no room.
#[derive(Debug, Default)]
pub(super) struct Fullness(Mutex<Option<Instant>>);

impl Fullness {
    /// Notes how a PUT ended.
    pub(super) fn note(&self, put: &Result<PutOutcome, CreateError>) {
        let said = match put {
            Ok(PutOutcome::Stored(_)) => None,
            Err(CreateError::Store(StoreError::Full)) => Some(Instant::now()),
            Ok(PutOutcome::Taken | PutOutcome::Unclear(_)) | Err(_) => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    fn is_full(&self) -> bool {
        let said = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.is_some_and(|at| at.elapsed() < FULL_WITHIN)
    }
}

impl Observed for S3Store {
    async fn space(&self) -> Result<Option<Space>, StoreError> {
        Ok(None) // a bucket has no end
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let list = self.clients.quick.list_objects_v2().bucket(&self.settings.bucket);
        let list = list.prefix(self.layout.prefix()).max_keys(1).send();
        list.await.map_err(|error| names::failed("cannot list the bucket", &error))?;
        if self.fullness.is_full() {
            return Err(StoreError::Full);
        }
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
