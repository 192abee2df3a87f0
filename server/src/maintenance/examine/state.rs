//! Which files were opened and found good, so that every run looks at new ones only.
//!
//! Invariant: it is safe to lose. Then all are opened again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pawl_policy::{Handle, RepositoryName};
use serde::{Deserialize, Serialize};

use super::super::{remembered, session};
use crate::files::{self, FileError};

/// What is remembered of a repository.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::maintenance) struct State {
    /// Indexes, snapshots and keys by `TYPE/ID`.
    #[serde(default)]
    good: BTreeSet<String>,
    /// The key that the password of management opens: it is tried first.
    #[serde(default)]
    pub(super) key: Option<String>,
}

impl State {
    pub(super) fn load(data: &Path, repository: &RepositoryName) -> Result<Self, FileError> {
        remembered::load(&path(data, repository)).map(Option::unwrap_or_default)
    }

    /// What is remembered; that it cannot be understood is an error.
    pub(in crate::maintenance) fn understand(
        data: &Path,
        repository: &RepositoryName,
    ) -> Result<Self, FileError> {
        remembered::understand(&path(data, repository)).map(Option::unwrap_or_default)
    }

    pub(super) fn save(&self, data: &Path, repository: &RepositoryName) -> Result<(), FileError> {
        files::make_directory(&directory(data), 0o700)?;
        remembered::save(&path(data, repository), self)
    }

    /// Whether nothing was ever found good.
    pub(in crate::maintenance) fn is_new(&self) -> bool {
        self.good.is_empty()
    }

    pub(in crate::maintenance) fn is_good(&self, handle: &Handle) -> bool {
        self.good.contains(&handle.to_string())
    }

    /// These are good, and nothing else that was is there any more.
    pub(super) fn replace(&mut self, good: impl Iterator<Item = Handle>) {
        self.good = good.map(|handle| handle.to_string()).collect();
    }
}

fn directory(data: &Path) -> PathBuf {
    session::directory(data).join("examined")
}

fn path(data: &Path, repository: &RepositoryName) -> PathBuf {
    directory(data).join(remembered::file_name(repository))
}
