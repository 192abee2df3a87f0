//! Locks as maintenance sees them, and the mark by which it suspends new ones.
//!
//! Invariant: a mark is a name that says when it ends, beneath `.pawl/`, where hosts' servers cannot write; it is stored
//! before an earlier one goes.

use pawl_keeper::Act;
use pawl_policy::{FileType, RepositoryName};

use super::S3Maintenance;
use crate::StoreError;
use crate::locks::{Lock, LockStore};
use crate::s3::{list, names};

impl LockStore for S3Maintenance {
    async fn locks(&self, repository: &RepositoryName) -> Result<Vec<Lock>, StoreError> {
        let known = list::with_facts(&self.store, repository, FileType::Locks).await?;
        Ok(known
            .into_iter()
            .map(|(entry, facts)| Lock { id: entry.id, facts, of_maintenance: false })
            .collect())
    }

    async fn suspend_locks(&self, repository: &RepositoryName, until_ms: u64) -> Result<(), StoreError> {
        // Told first, so that no suspension is untold whatever comes between.
        self.auditor.tell_of_repository(Act::SuspendLocks { until_ms }, repository).await?;
        let mark = format!("{}{until_ms}", self.store.layout.suspension(repository));
        self.store.mark(&mark).await?;
        self.remove_marks(repository, Some(&mark)).await.map(drop)
    }

    async fn resume_locks(&self, repository: &RepositoryName) -> Result<(), StoreError> {
        self.auditor.check()?;
        if self.remove_marks(repository, None).await? {
            self.auditor.tell_of_repository(Act::ResumeLocks, repository).await?;
        }
        Ok(())
    }
}

impl S3Maintenance {
    /// Removes all marks but this one, and says whether there were any.
    async fn remove_marks(&self, repository: &RepositoryName, but: Option<&str>) -> Result<bool, StoreError> {
        let mut removed = false;
        let marks = self.store.layout.suspension(repository);
        for object in names::all(&self.store, &self.store.settings.bucket, &marks).await? {
            if Some(object.key.as_str()) != but {
                self.take_note_back(&object.key).await?;
                removed = true;
            }
        }
        Ok(removed)
    }
}
