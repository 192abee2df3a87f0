//! The histories of many names, by one listing of their repository.
//!
//! Invariant: only names that were asked for are kept in memory; what was listed is a hint of where to look, as all that
//! [`Holders`](crate::maintenance::Holders) say.

use std::collections::{BTreeMap, BTreeSet};

use pawl_policy::{FileType, Handle, RepositoryName};

use super::S3Maintenance;
use crate::StoreError;
use crate::maintenance::Kept;
use crate::s3::failure::store_error;

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
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let list = self.store.clients.quick.list_object_versions().bucket(bucket).prefix(&root);
            let list = list.set_key_marker(key_marker).set_version_id_marker(version_marker);
            let page =
                list.send().await.map_err(|error| match store_error("cannot list versions", &error) {
                    StoreError::NotFound => StoreError::Unavailable("there is no such bucket".to_owned()),
                    other => other,
                })?;
            for version in page.versions() {
                let Some(handle) = version.key().and_then(|key| names.get(key)) else { continue };
                let Some(version_id) = version.version_id() else { continue };
                let kept = Kept { id: version_id.to_owned(), is_shown: version.is_latest() == Some(true) };
                histories.entry(*handle).or_default().push(kept);
            }
            if page.is_truncated() != Some(true) {
                return Ok(Some(histories));
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
        }
    }
}
