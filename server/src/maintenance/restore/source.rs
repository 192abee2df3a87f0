//! Another store that has copies: a second directory, or whatever else can be looked at as a store.
//!
//! Invariant: it is only read, and nothing in it is believed: each copy has to hash to its name.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pawl_policy::{InvalidName, RepositoryName};

use crate::store::local::LocalMaintenance;

/// Another store.
#[derive(Debug)]
pub(super) struct Source<M> {
    pub(super) store: M,
    /// If it is one repository, the name that it has there.
    only: Option<RepositoryName>,
    /// What it is called in reports.
    pub(super) name: String,
}

impl<M> Source<M> {
    /// What a repository is called there.
    pub(super) fn repository(&self, here: &RepositoryName) -> RepositoryName {
        self.only.as_ref().unwrap_or(here).clone()
    }

    /// Whether it holds copies for one repository only.
    pub(super) const fn is_one_repository(&self) -> bool {
        self.only.is_some()
    }
}

impl Source<LocalMaintenance> {
    /// A directory: Pawl's or rest-server's with all repositories, or that of one repository.
    pub(super) fn open(directory: &Path, own_data: &Path) -> Result<Self, String> {
        let shown = directory.display().to_string();
        let unreadable = |error: std::io::Error| format!("--from {shown}: {error}");
        let directory = std::fs::canonicalize(directory).map_err(unreadable)?;
        let is_repository = directory.join("config").is_file();
        let (above, only) = match (is_repository, directory.parent(), directory.file_name()) {
            (true, Some(above), Some(name)) => {
                let name = name.to_string_lossy().parse().map_err(|error: InvalidName| {
                    format!("--from {shown}: its last part has to be a repository's name: {error}")
                })?;
                (above.to_owned(), Some(name))
            }
            _ => (directory.clone(), None),
        };
        let store = LocalMaintenance::open_for_reading(&above).map_err(unreadable)?;
        let inode = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).map_err(unreadable);
        if inode(&above)? == inode(own_data)? {
            return Err(format!(
                "--from {shown}: this is the store that is to be repaired; expected another one"
            ));
        }
        Ok(Self { store, only, name: shown })
    }
}
