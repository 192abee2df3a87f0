//! Which version of `config` is the true one.
//!
//! Invariant: the oldest that maintenance has not retired, which it notes where the frontend's credential cannot write. Whoever
//! overwrites it, puts a marker on it, or wins a race that the store lets two win, only makes a newer one.

use std::collections::HashSet;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::operation::list_object_versions::builders::ListObjectVersionsFluentBuilder;
use aws_sdk_s3::types::ObjectVersion;
use pawl_policy::{Handle, RepositoryName};

use super::facts::{Head, millis, size};
use super::failure::{Failure, failure, store_error};
use super::{S3Store, names};
use crate::StoreError;

/// What became of one name.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The newest first.
    pub(super) versions: Vec<Version>,
    /// When the name was taken out of sight, in Unix milliseconds.
    pub(super) markers_ms: Vec<u64>,
}

/// One version of a name.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: Option<String>,
    pub(super) size: u64,
    pub(super) etag: Option<String>,
    pub(super) modified_ms: u64,
    /// Whether it is the one that is shown.
    pub(super) is_latest: bool,
}

impl Version {
    pub(super) fn new(version: &ObjectVersion) -> Self {
        Self {
            id: version.version_id().map(str::to_owned),
            size: size(version.size()),
            etag: version.e_tag().map(str::to_owned),
            modified_ms: millis(version.last_modified()),
            is_latest: version.is_latest() == Some(true),
        }
    }
}

impl History {
    /// The version that is shown.
    pub(super) fn shown(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.is_latest)
    }
}

/// What cannot be done if a page does not come.
pub(super) const LISTING: &str = "cannot list versions";

/// Where a page of versions begins: behind this name, and this version of it.
pub(super) type After = (Option<String>, Option<String>);

/// A page of versions, and where the next begins; nowhere if it is the last. `what` is what could not be done.
pub(super) async fn page(
    what: &str,
    list: ListObjectVersionsFluentBuilder,
    after: After,
) -> Result<(ListObjectVersionsOutput, Option<After>), StoreError> {
    let list = list.set_key_marker(after.0.clone()).set_version_id_marker(after.1.clone());
    let page = Box::pin(list.send()).await.map_err(|error| match store_error(what, &error) {
        StoreError::NotFound => StoreError::Unavailable("there is no such bucket".to_owned()),
        other => other,
    })?;
    let next = next(&page, &after)?;
    Ok((page, next))
}

/// A page that promises more and does not say how to get it is an error: taken as it is, the list would seem complete,
/// or would have no end.
fn next(page: &ListObjectVersionsOutput, after: &After) -> Result<Option<After>, StoreError> {
    if page.is_truncated() != Some(true) {
        return Ok(None);
    }
    let next = (page.next_key_marker().map(str::to_owned), page.next_version_id_marker().map(str::to_owned));
    if next.0.is_none() || next == *after {
        let cause = "the store promises more versions and does not say how to get them";
        return Err(StoreError::Unavailable(cause.to_owned()));
    }
    Ok(Some(next))
}

/// All versions and markers of one name, the newest first.
pub(super) async fn history(client: &Client, bucket: &str, key: &str) -> Result<History, StoreError> {
    let mut history = History::default();
    let mut after = After::default();
    loop {
        let list = client.list_object_versions().bucket(bucket).prefix(key);
        let (page, next) = page(LISTING, list, after).await?;
        let versions = page.versions().iter().filter(|version| version.key() == Some(key));
        history.versions.extend(versions.map(Version::new));
        let markers = page.delete_markers().iter().filter(|marker| marker.key() == Some(key));
        history.markers_ms.extend(markers.map(|marker| millis(marker.last_modified())));
        // Longer names that begin alike follow, and do not matter.
        let Some(next) = next.filter(|(name, _)| name.as_deref() == Some(key)) else { return Ok(history) };
        after = next;
    }
}

impl S3Store {
    /// The version of `config` that counts: `None` if there is none, and no version's name if the bucket keeps none.
    pub(super) async fn true_config(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<Option<String>>, StoreError> {
        let key = self.layout.file(repository, &Handle::Config);
        if !self.findings.keeps_versions() {
            return Ok(self.head_for_certain(&self.settings.bucket, &key).await?.map(|_| None));
        }
        let history = self.history(&self.settings.bucket, &key).await?;
        let standing = self.standing_configs(repository, &history).await?;
        Ok(standing.last().map(|version| version.id.clone()))
    }

    /// The versions of a `config` that maintenance has not retired, the newest first. A marker says nothing: whoever has
    /// the frontend's credential may be able to put one.
    pub(super) async fn standing_configs<'a>(
        &self,
        repository: &RepositoryName,
        history: &'a History,
    ) -> Result<Vec<&'a Version>, StoreError> {
        match &history.versions[..] {
            [] => return Ok(Vec::new()),
            // As nearly always, and it costs no further request.
            [only] if only.is_latest => return Ok(vec![only]),
            _ => {}
        }
        let retired = self.layout.retired_configs(repository);
        let notes = names::all(self, &self.settings.bucket, &retired).await?;
        let retired: HashSet<_> = notes.iter().filter_map(|note| note.key.strip_prefix(&retired)).collect();
        let stands = |version: &&Version| version.id.as_deref().is_none_or(|id| !retired.contains(id));
        Ok(history.versions.iter().filter(stands).collect())
    }

    /// All versions and markers of one name, the newest first.
    pub(super) async fn history(&self, bucket: &str, key: &str) -> Result<History, StoreError> {
        history(&self.clients.quick, bucket, key).await
    }

    /// What is known of `config`.
    pub(super) async fn config_head(&self, repository: &RepositoryName) -> Result<Option<Head>, StoreError> {
        let Some(version) = self.true_config(repository).await? else { return Ok(None) };
        let key = self.layout.file(repository, &Handle::Config);
        let head = self.clients.quick.head_object().bucket(&self.settings.bucket).key(key);
        match head.set_version_id(version).send().await {
            Ok(output) => Ok(Some(Head::new(&output))),
            Err(error) if failure(&error) == Failure::Absent => Ok(None),
            Err(error) => Err(store_error("HEAD", &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_promises_more_says_how_to_get_it() {
        let before = (Some("a".to_owned()), Some("1".to_owned()));
        let page = |is_truncated, key: Option<&str>, version: Option<&str>| {
            let page = ListObjectVersionsOutput::builder().is_truncated(is_truncated);
            let page = page.set_next_key_marker(key.map(str::to_owned));
            next(&page.set_next_version_id_marker(version.map(str::to_owned)).build(), &before).ok()
        };
        assert_eq!(page(false, Some("b"), Some("2")), Some(None));
        assert_eq!(
            page(true, Some("a"), Some("2")),
            Some(Some((Some("a".to_owned()), Some("2".to_owned()))))
        );
        assert_eq!(page(true, Some("b"), None), Some(Some((Some("b".to_owned()), None))));
        for (key, version) in [(None, None), (None, Some("2")), (Some("a"), Some("1"))] {
            assert_eq!(page(true, key, version), None);
        }
    }
}
