//! Which repositories there are in the bucket.
//!
//! Invariant: one whose files were all hidden by markers is found as well, by the versions that are left.

use std::collections::BTreeSet;

use pawl_policy::{FileType, RepositoryName};

use super::S3Maintenance;
use crate::StoreError;
use crate::s3::S3Store;
use crate::s3::versions::{self, After};

/// What lies directly beneath a name.
#[derive(Default)]
struct Level {
    names: BTreeSet<String>,
    directories: BTreeSet<String>,
}

impl Level {
    fn is_repository(&self) -> bool {
        ["", "config", "initialised"].iter().any(|name| self.names.contains(*name))
            || FileType::ALL.iter().any(|file_type| self.directories.contains(file_type.as_str()))
    }
}

/// The repository of this name, if it is one, and all below it; all there are for an empty name.
pub(super) async fn beneath(store: &S3Store, name: String) -> Result<Vec<RepositoryName>, StoreError> {
    let mut found = Vec::new();
    let mut ahead = vec![name];
    while let Some(name) = ahead.pop() {
        let level = level(store, &name).await?;
        let repository = name.parse::<RepositoryName>().ok().filter(|_| level.is_repository());
        for directory in &level.directories {
            let path = if name.is_empty() { directory.clone() } else { format!("{name}/{directory}") };
            if path.parse::<RepositoryName>().is_ok() {
                ahead.push(path);
            }
        }
        found.extend(repository);
    }
    found.sort();
    Ok(found)
}

async fn level(store: &S3Store, name: &str) -> Result<Level, StoreError> {
    let prefix = store.layout.prefix();
    let root = if name.is_empty() { prefix.to_owned() } else { format!("{prefix}{name}/") };
    let mut level = Level::default();
    let mut after = After::default();
    loop {
        let list = store.clients.quick.list_object_versions().bucket(&store.settings.bucket);
        let (page, next) =
            versions::page("cannot list repositories", list.prefix(&root).delimiter("/"), after).await?;
        // A marker alone is what a mark leaves that was never one of these.
        let names = page.versions().iter().filter_map(|version| version.key()?.strip_prefix(&root));
        level.names.extend(names.map(str::to_owned));
        let directories = page.common_prefixes().iter().filter_map(|common| common.prefix());
        let directories = directories.filter_map(|common| common.strip_prefix(&root)?.strip_suffix('/'));
        level.directories.extend(directories.map(str::to_owned));
        let Some(next) = next else { return Ok(level) };
        after = next;
    }
}

impl S3Maintenance {
    /// An error unless there is, or was, such a repository.
    pub(super) async fn must_be_there(&self, repository: &RepositoryName) -> Result<(), StoreError> {
        if level(&self.store, repository.as_str()).await?.is_repository() {
            return Ok(());
        }
        Err(StoreError::NotFound)
    }
}
