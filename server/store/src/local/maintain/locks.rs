//! Locks as maintenance sees them, and the mark by which it suspends new ones.
//!
//! Invariant: a mark is a name that says when it ends; it is durable before an earlier one goes.

use std::os::fd::AsFd;

use pawl_keeper::{Act, directory, facts, layout};
use pawl_policy::{FileId, FileType, RepositoryName};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::batch::names;
use super::{Disk, LocalMaintenance};
use crate::local::open_file;
use crate::locks::{Lock, LockStore};
use crate::{Facts, StoreError};

impl LockStore for LocalMaintenance {
    async fn locks(&self, repository: &RepositoryName) -> Result<Vec<Lock>, StoreError> {
        let path = layout::type_directory(repository, FileType::Locks);
        self.blocking(move |disk| locks(disk, &path)).await
    }

    async fn suspend_locks(&self, repository: &RepositoryName, until_ms: u64) -> Result<(), StoreError> {
        // Told first, so that no suspension is untold whatever comes between.
        self.auditor.tell_of_repository(Act::SuspendLocks { until_ms }, repository).await?;
        let path = layout::suspension(repository);
        self.blocking(move |disk| {
            mark(disk, &path, until_ms)?;
            remove_marks(disk, &path, Some(until_ms)).map(drop)
        })
        .await
    }

    async fn resume_locks(&self, repository: &RepositoryName) -> Result<(), StoreError> {
        self.auditor.check()?;
        let path = layout::suspension(repository);
        if self.blocking(move |disk| remove_marks(disk, &path, None)).await? {
            self.auditor.tell_of_repository(Act::ResumeLocks, repository).await?;
        }
        Ok(())
    }
}

fn locks(disk: &Disk, path: &str) -> Result<Vec<Lock>, StoreError> {
    let mut locks = Vec::new();
    for id in names(disk, path)?.iter().filter_map(|name| name.parse::<FileId>().ok()) {
        match open_file(&disk.data, &format!("{path}/{id}")) {
            Ok(file) => {
                let of_maintenance = facts::is_of_maintenance(&file)?;
                locks.push(Lock { id, facts: Facts::read(&file)?, of_maintenance });
            }
            Err(StoreError::NotFound) => {} // removed meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(locks)
}

fn mark(disk: &Disk, path: &str, until_ms: u64) -> Result<(), StoreError> {
    let marks = directory::open_or_make(&disk.data, path)?;
    Ok(directory::mark(marks.as_fd(), &until_ms.to_string())?)
}

/// Removes all marks but this one, and says whether there were any.
#[expect(clippy::disallowed_methods, reason = "removes Pawl's own marks, which are no stored files")]
fn remove_marks(disk: &Disk, path: &str, but: Option<u64>) -> Result<bool, StoreError> {
    let marks = match directory::open(&disk.data, path) {
        Ok(marks) => marks,
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let mut removed = false;
    let kept = but.map(|until_ms| until_ms.to_string());
    for name in names(disk, path)?.into_iter().filter(|name| Some(name) != kept.as_ref()) {
        match rustix::fs::unlinkat(&marks, name, AtFlags::empty()) {
            Ok(()) => removed = true,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::fs::fsync(&marks)?;
    Ok(removed)
}
