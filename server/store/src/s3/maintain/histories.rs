//! The histories of many names, by one listing of their repository.
//!
//! Invariant: only names that were asked for are kept in memory; what was listed is a hint of where to look, as all that
//! [`Holders`](crate::maintenance::Holders) say.

use std::collections::{BTreeMap, BTreeSet};

use pawl_policy::{FileType, Handle, RepositoryName};

use super::S3Maintenance;
use crate::StoreError;
use crate::maintenance::Kept;
use crate::s3::versions::{self, After, LISTING};

/// From so many names on, the repository is listed once: a page tells of a thousand names, and to list one is a request
/// too.
const MANY: usize = 16;

impl S3Maintenance {
    /// The versions of each of these names, the newest first. `None` if there are so few that they are better listed one
    /// by one.
    pub(super) async fn histories(
        &self,
        repository: &RepositoryName,
        handles: &BTreeSet<Handle>,
    ) -> Result<Option<BTreeMap<Handle, Vec<Kept>>>, StoreError> {
        // Locks may lie elsewhere, and nobody asks for many.
        if handles.len() < MANY || handles.iter().any(|handle| handle.file_type() == Some(FileType::Locks)) {
            return Ok(None);
        }
        let (bucket, root) = (&self.store.settings.bucket, self.store.layout.repository(repository));
        let names: BTreeMap<_, _> =
            handles.iter().map(|handle| (self.store.layout.file(repository, handle), *handle)).collect();
        let mut histories: BTreeMap<Handle, Vec<Kept>> = BTreeMap::new();
        let mut after = After::default();
        loop {
            let list = self.store.clients.quick.list_object_versions().bucket(bucket).prefix(&root);
            let (page, next) = versions::page(LISTING, list, after).await?;
            for version in page.versions() {
                let Some(handle) = version.key().and_then(|key| names.get(key)) else { continue };
                let Some(version_id) = version.version_id() else { continue };
                let kept = Kept { id: version_id.to_owned(), is_shown: version.is_latest() == Some(true) };
                histories.entry(*handle).or_default().push(kept);
            }
            let Some(next) = next else { return Ok(Some(histories)) };
            after = next;
        }
    }
}
