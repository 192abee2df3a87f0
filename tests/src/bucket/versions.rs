//! Everything in a bucket at one moment, to be compared with another.
//!
//! Invariant: two equal values mean that every name has the same versions and markers, with the same bytes and
//! metadata, and shows the same one of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::PoisonError;

use super::{Bucket, Content, Failure};
use crate::content::id_of;

/// The id of what was stored without versions.
const UNVERSIONED: &str = "null";

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// What the store calls it.
    pub id: String,
    /// Its bytes; `None` if it is a marker, which says that there is no such object.
    pub content: Option<Vec<u8>>,
    /// What was stored with it.
    pub metadata: BTreeMap<String, String>,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Some(content) => write!(f, "version {} of {} bytes, {}", self.id, content.len(), id_of(content)),
            None => write!(f, "marker {}", self.id),
        }
    }
}

/// All versions of all objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot(BTreeMap<String, Versions>);

/// Those of one name: first versions, the newest first, then markers, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Versions {
    all: Vec<Version>,
    /// The id of the one that the name shows.
    shown: Option<String>,
}

impl Snapshot {
    /// The versions of one name: first those with bytes, then markers, the newest first of each.
    #[must_use]
    pub fn versions(&self, key: &str) -> &[Version] {
        self.0.get(key).map_or(&[], |versions| versions.all.as_slice())
    }

    /// The version or marker that a name shows.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<&Version> {
        let versions = self.0.get(key)?;
        versions.all.iter().find(|version| Some(&version.id) == versions.shown.as_ref())
    }

    /// All names that have a version or a marker.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What somebody sees who does not ask for versions.
    #[must_use]
    pub fn visible(&self) -> BTreeMap<&str, &[u8]> {
        let shown =
            |versions: &'_ Versions, id: &str| versions.all.iter().position(|version| version.id == id);
        let content = |versions: &'_ Versions| shown(versions, versions.shown.as_deref()?);
        self.0
            .iter()
            .filter_map(|(key, versions)| {
                let version = versions.all.get(content(versions)?)?;
                Some((key.as_str(), version.content.as_deref()?))
            })
            .collect()
    }

    /// The versions and markers that are here and not there, or are others there. What was added there does not
    /// matter.
    #[must_use]
    pub fn lost_in(&self, later: &Self) -> Vec<String> {
        let mut lost = Vec::new();
        for (key, versions) in &self.0 {
            for version in &versions.all {
                if !later.versions(key).contains(version) {
                    lost.push(format!("{key}: {version}"));
                }
            }
        }
        lost
    }
}

/// Reads all of it.
pub(super) fn all(bucket: &Bucket) -> Result<Snapshot, Failure> {
    let mut snapshot = Snapshot::default();
    let mut markers = Vec::new();
    let (mut after_key, mut after_version) = (None, None);
    loop {
        let page = bucket.ask(|client| {
            let list = client.list_object_versions().bucket(bucket.name());
            list.set_key_marker(after_key.take()).set_version_id_marker(after_version.take()).send()
        })?;
        for version in page.versions() {
            let (key, id) = (version.key().unwrap_or_default(), version.version_id().unwrap_or_default());
            let (content, metadata) = read(bucket, key, id, version.e_tag().unwrap_or_default())?;
            let versions = snapshot.0.entry(key.to_owned()).or_default();
            if version.is_latest() == Some(true) {
                versions.shown = Some(id.to_owned());
            }
            versions.all.push(Version { id: id.to_owned(), content: Some(content), metadata });
        }
        markers.extend(page.delete_markers().iter().cloned());
        (after_key, after_version) = (page.next_key_marker, page.next_version_id_marker);
        if page.is_truncated != Some(true) {
            break;
        }
    }
    for marker in markers {
        let versions = snapshot.0.entry(marker.key().unwrap_or_default().to_owned()).or_default();
        let id = marker.version_id().unwrap_or_default().to_owned();
        if marker.is_latest() == Some(true) {
            versions.shown = Some(id.clone());
        }
        versions.all.push(Version { id, content: None, metadata: BTreeMap::new() });
    }
    Ok(snapshot)
}

/// A version, which is read once: it cannot be changed, and its `ETag`, which each listing tells, follows from its bytes.
/// What was stored without versions can be, and is read each time.
fn read(bucket: &Bucket, key: &str, id: &str, e_tag: &str) -> Result<Content, Failure> {
    let name = [key, id, e_tag].map(str::to_owned);
    let seen = || bucket.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(content) = seen().get(&name).filter(|_| id != UNVERSIONED) {
        return Ok(content.clone());
    }
    let content = bucket.read(key, Some(id))?;
    seen().insert(name, content.clone());
    Ok(content)
}
