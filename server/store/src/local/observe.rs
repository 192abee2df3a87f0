//! How the directory does.
//!
//! Invariant: nothing is stored to find out; the keeper's probe is a file that never has a name.

use std::os::fd::{AsFd, OwnedFd};

use pawl_keeper::layout;
use pawl_keeper::repository_usage;
use pawl_policy::{FileType, RepositoryName, Usage};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use super::{LocalStore, facts, space};
use crate::{Observed, Space, StoreError, now_ms};

impl Observed for LocalStore {
    async fn space(&self) -> Result<Option<Space>, StoreError> {
        self.blocking(space).await.map(Some)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(self.keeper.probe().await?)
    }

    async fn usages(
        &self,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<(RepositoryName, Option<Usage>)>, StoreError> {
        self.blocking(move |data| {
            let usage = |repository| Ok((repository_usage(data.as_fd(), &repository)?, repository));
            let usages = repositories.into_iter().map(usage).collect::<Result<Vec<_>, StoreError>>()?;
            Ok(usages.into_iter().map(|(usage, repository)| (repository, usage)).collect())
        })
        .await
    }

    async fn last_received(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> Result<Option<u64>, StoreError> {
        let path = layout::type_directory(repository, file_type);
        self.blocking(move |data| last_received(data, &path)).await
    }
}

/// When the newest file in this directory was received, if there are any. One that says so of a moment to come is not
/// believed.
pub(super) fn last_received(data: &OwnedFd, path: &str) -> Result<Option<u64>, StoreError> {
    let now_ms = now_ms();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(data, path, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut last = None;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok() else { continue };
        if name.parse::<pawl_policy::FileId>().is_ok() {
            let facts = facts(&directory, name)?.filter(|facts| !facts.is_ahead(now_ms));
            last = last.max(facts.map(|facts| facts.received_ms));
        }
    }
    Ok(last)
}
