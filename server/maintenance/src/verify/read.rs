//! Comparing what files hold with what they are named after, several at a time.
//!
//! Invariant: a file counts as right only if its content, or the checksum that the store computed itself, is its name;
//! for `config`, what was noted or recorded.

use std::sync::Arc;

use indicatif::ProgressBar;
use pawl_config::pace::Pace;
use pawl_policy::{FileId, FileType, Handle, RepositoryName};
use pawl_store::StoreError;
use pawl_store::maintenance::{MaintenanceStore, Place};

use crate::{config, content};

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its content is what it should be.
    Right,
    /// So is that of a `config`, and this is what it hashes to.
    RightConfig(FileId),
    /// A `config` of which nothing was recorded; this is what it hashes to.
    Unrecorded(FileId),
    /// Its content hashes to something else.
    Wrong {
        /// To this.
        found: FileId,
        /// Expected was this.
        expected: FileId,
    },
    /// It is not there any more, and a batch explains it, or it was a lock.
    Deleted,
    /// It is not there any more, and nothing explains it.
    Gone,
    /// The store did not give its bytes back.
    Unreadable(String),
}

/// A file that was looked at.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) verdict: Verdict,
    /// Bytes that were read for it.
    pub(super) bytes_read: u64,
}

/// How files are read.
#[derive(Debug)]
pub(super) struct Reader<S> {
    pub(super) store: Arc<S>,
    pub(super) pace: Pace,
    pub(super) bar: ProgressBar,
    /// Read files even where the store keeps checksums.
    pub(super) read_data: bool,
}

impl<S: MaintenanceStore> Reader<S> {
    /// Looks at one file. `noted` is what an earlier run found the `config` to be.
    pub(super) async fn check(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        bytes: u64,
        noted: Option<FileId>,
    ) -> Checked {
        let looked = self.look(repository, handle, bytes, noted).await;
        looked.unwrap_or_else(|error| {
            let verdict = match error {
                StoreError::NotFound => Verdict::Gone,
                error => Verdict::Unreadable(error.to_string()),
            };
            Checked { verdict, bytes_read: 0 }
        })
    }

    async fn look(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        bytes: u64,
        noted: Option<FileId>,
    ) -> Result<Checked, StoreError> {
        let by_checksum = match self.by_checksum(repository, handle, bytes).await {
            Err(StoreError::NotFound) => return self.vanished(repository, handle).await,
            looked_up => looked_up?,
        };
        let (found, bytes_read) = match by_checksum {
            Some(found) => (found, 0),
            None => match self.by_reading(repository, handle).await? {
                Some(found) => (found, bytes),
                None => return self.vanished(repository, handle).await,
            },
        };
        let expected = match handle {
            Handle::File(_, id) => Some(*id),
            Handle::Config => expected_config(&*self.store, repository, noted).await?,
        };
        let verdict = match expected {
            Some(expected) if expected == found && *handle == Handle::Config => Verdict::RightConfig(found),
            Some(expected) if expected == found => Verdict::Right,
            Some(expected) => Verdict::Wrong { found, expected },
            None => Verdict::Unrecorded(found),
        };
        Ok(Checked { verdict, bytes_read })
    }

    async fn by_checksum(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        bytes: u64,
    ) -> Result<Option<FileId>, StoreError> {
        if self.read_data {
            return Ok(None);
        }
        let sum = self.store.stored_sha256(repository, handle).await?;
        self.bar.inc(if sum.is_some() { bytes } else { 0 });
        Ok(sum)
    }

    async fn by_reading(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Option<FileId>, StoreError> {
        match self.store.open_version(repository, handle, &Place::Current).await {
            Ok(file) => content::sha256(file, &self.pace, &self.bar).await.map(Some),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A file that was seen a moment ago. Locks come and go; all else is explained by a batch.
    async fn vanished(&self, repository: &RepositoryName, handle: &Handle) -> Result<Checked, StoreError> {
        let explained =
            handle.file_type() == Some(FileType::Locks)
                || self.store.versions(repository, handle).await?.iter().any(|version| {
                    matches!(version.place, Place::Hidden(_) | Place::Current | Place::Aside(_))
                });
        let verdict = if explained { Verdict::Deleted } else { Verdict::Gone };
        Ok(Checked { verdict, bytes_read: 0 })
    }
}

/// What the `config` has to hash to, if anything is known of it.
async fn expected_config<S: MaintenanceStore>(
    store: &S,
    repository: &RepositoryName,
    noted: Option<FileId>,
) -> Result<Option<FileId>, StoreError> {
    let versions = store.versions(repository, &Handle::Config).await?;
    Ok(config::expected(&versions, &store.batches().await?, noted))
}
