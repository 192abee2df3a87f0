//! Everything that lies in a repository's part of the bucket, versions and markers among it.
//!
//! Invariant: one page in memory at a time, and nothing is passed over: what is no file of restic's and no mark of Pawl's
//! is foreign, and a file that another hand hid or overwrote is told.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use pawl_policy::{FileType, Handle, RepositoryName};

use super::{PARALLEL, S3Maintenance, repositories};
use crate::store::StoreError;
use crate::store::maintenance::Found;
use crate::store::s3::facts::millis;
use crate::store::s3::failure::store_error;
use crate::store::s3::layout;
use crate::store::s3::repository::View;
use crate::store::s3::versions::{History, Version};

/// Reads one page of versions after the other, and hands over names of which all versions were seen.
struct Pages {
    this: S3Maintenance,
    bucket: String,
    prefix: String,
    after: Option<(Option<String>, Option<String>)>,
    /// The last name of the page before, of which more may follow.
    held: BTreeMap<String, History>,
}

impl Pages {
    fn new(this: S3Maintenance, bucket: String, prefix: String) -> Self {
        Self { this, bucket, prefix, after: Some((None, None)), held: BTreeMap::new() }
    }

    async fn next(mut self) -> Result<Option<(Vec<(String, History)>, Self)>, StoreError> {
        let Some((key, version)) = self.after.take() else { return Ok(None) };
        let list = self.this.store.clients.quick.list_object_versions();
        let list = list.bucket(&self.bucket).prefix(&self.prefix);
        let list = list.set_key_marker(key).set_version_id_marker(version);
        let page =
            list.send().await.map_err(|error| no_answer(store_error("cannot list versions", &error)))?;
        let mut names = std::mem::take(&mut self.held);
        for found in page.versions() {
            let history = names.entry(found.key().unwrap_or_default().to_owned()).or_default();
            history.versions.push(Version::new(found));
        }
        for marker in page.delete_markers() {
            let history = names.entry(marker.key().unwrap_or_default().to_owned()).or_default();
            history.markers_ms.push(millis(marker.last_modified()));
        }
        if page.is_truncated() == Some(true) {
            self.after = Some((page.next_key_marker, page.next_version_id_marker));
            self.held.extend(names.pop_last());
        }
        Ok(Some((names.into_iter().collect(), self)))
    }
}

fn no_answer(error: StoreError) -> StoreError {
    match error {
        StoreError::NotFound => StoreError::Unavailable("there is no such bucket".to_owned()),
        other => other,
    }
}

/// What a name in the bucket stands for.
enum Kind {
    File(Handle),
    /// A mark of Pawl's.
    Own,
    /// Something in a directory of this name, which may be another repository.
    Below(String),
    Foreign,
}

fn kind(rest: &str, root: &str) -> Kind {
    if rest == "config" {
        return Kind::File(Handle::Config);
    }
    if matches!(rest, "" | "initialised") {
        return Kind::Own;
    }
    let Some((first, _)) = rest.split_once('/') else { return Kind::Foreign };
    if matches!(first, "aside" | "rescued") {
        return Kind::Own;
    }
    let Ok(file_type) = first.parse::<FileType>() else { return Kind::Below(first.to_owned()) };
    let files = format!("{root}{file_type}/");
    match layout::id_in(&format!("{root}{rest}"), &files, file_type) {
        Some(id) => Kind::File(Handle::File(file_type, id)),
        None => Kind::Foreign,
    }
}

/// What a walk knows of the repository.
struct Walk {
    this: S3Maintenance,
    repository: RepositoryName,
    root: String,
    view: View,
    /// Versions that batches hold.
    held: HashSet<String>,
    /// Directories that were looked at: whether they belong to other repositories.
    others: HashMap<String, bool>,
}

/// Everything in a repository, page by page.
pub(super) async fn walk(
    this: &S3Maintenance,
    repository: &RepositoryName,
) -> Result<impl Stream<Item = Result<Vec<Found>, StoreError>> + Send + 'static + use<>, StoreError> {
    this.must_be_there(repository).await?;
    let store = &this.store;
    let mut held = HashSet::new();
    for batch in this.batches_of(repository).await? {
        let mut entries = std::pin::pin!(this.entries(&batch));
        while let Some(page) = entries.try_next().await? {
            held.extend(page.into_iter().map(|(_, version)| version));
        }
    }
    let root = store.layout.repository(repository);
    let mut places = vec![(store.settings.bucket.clone(), root.clone())];
    if let Some(bucket) = &store.settings.locks_bucket {
        places.push((bucket.clone(), store.layout.files(repository, FileType::Locks)));
    }
    let walk = Walk {
        this: this.clone(),
        repository: repository.clone(),
        root,
        view: store.view(repository).await?,
        held,
        others: HashMap::new(),
    };
    let reader = this.clone();
    let pages = stream::iter(places).flat_map(move |(bucket, prefix)| {
        Box::pin(stream::try_unfold(Pages::new(reader.clone(), bucket, prefix), Pages::next))
    });
    Ok(stream::try_unfold((walk, pages), |(mut walk, mut pages)| async move {
        let Some(page) = pages.try_next().await? else { return Ok(None) };
        let found = walk.examine(page).await?;
        Ok(Some((found, (walk, pages))))
    }))
}

impl Walk {
    async fn examine(&mut self, page: Vec<(String, History)>) -> Result<Vec<Found>, StoreError> {
        let (mut found, mut files) = (Vec::new(), Vec::new());
        for (key, history) in page {
            let rest = key.strip_prefix(&self.root).unwrap_or(&key);
            let is_foreign = match kind(rest, &self.root) {
                Kind::Own => false,
                Kind::Foreign => true,
                Kind::Below(first) => !self.belongs_to_others(&first).await?,
                Kind::File(handle) => {
                    found.extend(self.unexplained(&handle, &history));
                    if history.shown().is_some() && !self.view.hides(&handle) {
                        files.push((handle, key.clone()));
                    }
                    false
                }
            };
            if let (true, Some(shown)) = (is_foreign, history.shown()) {
                let path = rest.escape_default().to_string();
                found.push(Found::Foreign { path, bytes: shown.size });
            }
        }
        let looked_at =
            stream::iter(files).map(|(handle, key)| look(self.this.clone(), handle, key)).buffered(PARALLEL);
        let files: Vec<Option<Found>> = looked_at.try_collect().await?;
        found.extend(files.into_iter().flatten());
        Ok(found)
    }

    /// Whether a directory in the repository belongs to others below it.
    async fn belongs_to_others(&mut self, first: &str) -> Result<bool, StoreError> {
        if let Some(known) = self.others.get(first) {
            return Ok(*known);
        }
        let path = format!("{}/{first}", self.repository);
        let others = path.parse::<RepositoryName>().is_ok()
            && !repositories::beneath(&self.this.store, path).await?.is_empty();
        self.others.insert(first.to_owned(), others);
        Ok(others)
    }

    /// What of a file's history maintenance did not do. Locks come and go.
    fn unexplained(&self, handle: &Handle, history: &History) -> Option<Found> {
        if matches!(handle, Handle::File(FileType::Locks, _)) {
            return None;
        }
        let is_held = |version: &Version| version.id.as_ref().is_some_and(|id| self.held.contains(id));
        let mut versions = history.versions.iter();
        let newest = versions.next()?;
        let what = if newest.is_latest {
            let before = versions.next().filter(|before| !is_held(before))?;
            // A file that comes back has a marker between itself and what was hidden.
            let was_hidden = history
                .markers_ms
                .iter()
                .any(|marker_ms| (before.modified_ms..=newest.modified_ms).contains(marker_ms));
            let is_same = before.etag.is_some() && before.etag == newest.etag && before.size == newest.size;
            if was_hidden || is_same {
                return None;
            }
            "it was overwritten; the version before is kept"
        } else {
            // A config that was overwritten and then deleted is held by the version that counted.
            let is_explained =
                is_held(newest) || (*handle == Handle::Config && history.versions.iter().any(is_held));
            if is_explained {
                return None;
            }
            "it was deleted past Pawl; its newest version is kept"
        };
        Some(Found::Unexplained { handle: *handle, what: what.to_owned() })
    }
}

/// A file that is shown, with what is known of it; nothing if it has vanished meanwhile, as locks do.
async fn look(this: S3Maintenance, handle: Handle, key: String) -> Result<Option<Found>, StoreError> {
    let Some(head) = this.store.head(this.store.bucket(&handle), &key).await? else { return Ok(None) };
    let unusual = (!head.is_recorded)
        .then(|| "when it was received was not recorded; the time of its version stands in".to_owned());
    let (bytes, facts) = (head.size, head.facts);
    Ok(Some(Found::File { handle, bytes, facts, unusual, being_written: false }))
}
