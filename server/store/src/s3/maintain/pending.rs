//! What a run need not ask the store again: it lists `.pawl/deleted/` once, and reads notes and heads only if no earlier
//! run has.
//!
//! Invariant: while a run holds the lock of maintenance no other process writes beneath `.pawl/deleted/`, and each write of
//! its own drops what is known of that batch. A note counts as long as the store lists the same `ETag`, size and time for
//! it; a head, as long as the store lists the same version, `ETag` and size. No version changes but the one called `null`,
//! of which neither a head nor that maintenance stored it is remembered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use pawl_config::files;
use pawl_config::format::Version;
use pawl_policy::{BatchId, Handle, RepositoryName};
use serde::{Deserialize, Serialize};

use super::S3Maintenance;
use crate::StoreError;
use crate::s3::facts::{Head, WrittenHead};
use crate::s3::names::{self, Object};
use crate::s3::versions;

/// Objects that are remembered, and notes, which take about 500 bytes each. Of a larger number each batch is listed when it
/// is asked for.
const REMEMBERED_MAX: usize = 100_000;

/// Objects that are handed over together.
const PAGE: usize = 1000;

/// The objects of one batch, by name.
type Objects = Arc<Vec<Object>>;
/// Objects, a page at a time.
type Pages = Pin<Box<dyn Stream<Item = Result<Vec<Object>, StoreError>> + Send>>;

/// What a run knows.
#[derive(Debug, Default)]
pub(super) struct Pending {
    known: Mutex<Known>,
    /// Where earlier runs have left what they know, and of which bucket it is.
    file: Option<(PathBuf, String)>,
}

#[derive(Debug, Default)]
struct Known {
    batches: Batches,
    /// Notes that were read, by key.
    notes: HashMap<String, (Object, String)>,
    /// What the store said of files' versions, by key.
    heads: HashMap<String, KnownHead>,
    /// The versions that maintenance stored itself, by key. Before each was sent, its SHA-256 was found right.
    placed: HashMap<String, Placed>,
    /// Whether the file has no note that it should have.
    is_saved: bool,
    /// Writes so far: a listing that began before one may not show it.
    writes: u64,
}

/// The version of what was stored without versions. It changes.
const UNVERSIONED: &str = "null";

#[derive(Debug)]
struct Placed {
    version: String,
    /// Whether this run stored it, or saw it.
    is_used: bool,
}

#[derive(Debug)]
struct KnownHead {
    head: Head,
    /// Whether this run asked for it.
    is_used: bool,
}

#[derive(Debug, Default)]
enum Batches {
    #[default]
    NotListed,
    /// Without objects where they have changed since.
    Listed(BTreeMap<BatchId, Option<Objects>>),
    TooMany,
}

/// The file: notes as they were listed and read, and, by key, heads and versions that maintenance stored.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    version: Version<1>,
    bucket: String,
    notes: Vec<(Object, String)>,
    heads: Vec<(String, WrittenHead)>,
    #[serde(default)]
    placed: HashMap<String, String>,
}

impl Remembered {
    /// The file, if it is there, can be used, and is of this bucket.
    fn read(file: &Path, bucket: &str) -> Option<Self> {
        let text = files::read(file).ok().flatten()?;
        let remembered: Self = serde_json::from_str(&text).ok()?;
        (remembered.bucket == bucket).then_some(remembered)
    }
}

impl Pending {
    /// What earlier runs have read, if it is there, can be used, and is of this bucket.
    pub(super) fn recall(file: &Path, bucket: String) -> Self {
        let (notes, heads, placed) = Remembered::read(file, &bucket)
            .map(|remembered| (remembered.notes, remembered.heads, remembered.placed))
            .unwrap_or_default();
        let notes = notes.into_iter().map(|(object, note)| (object.key.clone(), (object, note))).collect();
        let heads = heads
            .into_iter()
            .map(|(key, written)| (key, KnownHead { head: written.into(), is_used: false }))
            .collect();
        let placed = placed.into_iter().map(|(key, version)| (key, Placed { version, is_used: false }));
        let placed = placed.collect();
        let known = Known { notes, heads, placed, is_saved: true, ..Known::default() };
        Self { known: Mutex::new(known), file: Some((file.to_owned(), bucket)) }
    }

    /// Leaves for the next run what this one has read, and drops notes that are no longer listed. Heads and versions of
    /// files that are gone make way once there are many. What another run has left meanwhile of versions stays.
    fn save(&self, file: &Path, bucket: &str) -> Result<(), String> {
        let known = self.known();
        if known.is_saved {
            return Ok(());
        }
        let is_crowded = known.heads.len() > REMEMBERED_MAX / 2;
        let heads = known.heads.iter().filter(|(_, known)| known.is_used || !is_crowded);
        let heads = heads.map(|(key, known)| (key.clone(), (&known.head).into())).collect();
        let listed: Option<HashSet<_>> = match &known.batches {
            Batches::Listed(batches) => Some(
                batches
                    .values()
                    .flatten()
                    .flat_map(|objects| objects.iter().map(|object| &object.key))
                    .collect(),
            ),
            Batches::NotListed | Batches::TooMany => None,
        };
        let is_listed = |object: &Object| listed.as_ref().is_none_or(|listed| listed.contains(&object.key));
        let notes = known.notes.values().filter(|(object, _)| is_listed(object)).cloned().collect();
        let is_crowded = known.placed.len() > REMEMBERED_MAX / 2;
        let others = Remembered::read(file, bucket).filter(|_| !is_crowded);
        let mut placed = others.map(|remembered| remembered.placed).unwrap_or_default();
        let own = known.placed.iter().filter(|(_, placed)| placed.is_used || !is_crowded);
        placed.extend(own.map(|(key, placed)| (key.clone(), placed.version.clone())));
        let remembered = Remembered { version: Version, bucket: bucket.to_owned(), notes, heads, placed };
        let text = serde_json::to_string(&remembered);
        let text = text.map_err(|error| error.to_string())?;
        files::replace(file, &text, 0o600).map_err(|error| error.to_string())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maintenance stored this version, after it had found the SHA-256 of the content right.
    pub(super) fn place(&self, key: String, version: String) {
        let mut known = self.known();
        if version != UNVERSIONED && (known.placed.len() < REMEMBERED_MAX || known.placed.contains_key(&key))
        {
            known.placed.insert(key, Placed { version, is_used: true });
            known.is_saved = false;
        }
    }

    /// Whether maintenance stored this version itself.
    pub(super) fn has_placed(&self, key: &str, version: &str) -> bool {
        let mut known = self.known();
        let placed = known.placed.get_mut(key).filter(|placed| placed.version == version);
        let Some(placed) = placed else { return false };
        placed.is_used = true;
        true
    }

    /// An object of a batch was written or removed, or may have been.
    pub(super) fn changed(&self, batch: BatchId) {
        let mut known = self.known();
        known.writes += 1;
        if let Batches::Listed(batches) = &mut known.batches {
            batches.insert(batch, None);
        }
    }

    fn ids(&self) -> Option<Vec<BatchId>> {
        match &self.known().batches {
            Batches::Listed(batches) => Some(batches.keys().cloned().collect()),
            Batches::NotListed | Batches::TooMany => None,
        }
    }

    fn objects(&self, batch: &BatchId) -> Option<Objects> {
        match &self.known().batches {
            Batches::Listed(batches) => batches.get(batch)?.clone(),
            Batches::NotListed | Batches::TooMany => None,
        }
    }
}

impl Drop for Pending {
    /// What cannot be saved costs the next run a request for each note.
    fn drop(&mut self) {
        if let Some(Err(error)) = self.file.as_ref().map(|(file, bucket)| self.save(file, bucket)) {
            tracing::debug!(error, "the next run reads all notes again");
        }
    }
}

impl S3Maintenance {
    /// The names of all batches, in order; those that have no header, or none any more, are among them.
    pub(super) async fn batch_ids(&self) -> Result<Vec<BatchId>, StoreError> {
        if let Some(ids) = self.pending.ids() {
            return Ok(ids);
        }
        if !matches!(self.pending.known().batches, Batches::TooMany) {
            self.list_pending().await?;
            if let Some(ids) = self.pending.ids() {
                return Ok(ids);
            }
        }
        self.list_batch_ids().await
    }

    /// Lists all objects of all batches, unless there are too many.
    async fn list_pending(&self) -> Result<(), StoreError> {
        let (writes, deleted) = (self.pending.known().writes, self.store.layout.deleted());
        let mut batches = BTreeMap::<BatchId, Vec<Object>>::new();
        let mut count = 0;
        let mut pages = names::objects(&self.store, &self.store.settings.bucket, &deleted, None);
        while let Some(page) = pages.try_next().await? {
            count += page.len();
            if count > REMEMBERED_MAX {
                self.pending.known().batches = Batches::TooMany;
                return Ok(());
            }
            for object in page {
                if let Some(id) = self.batch_of(&object.key) {
                    batches.entry(id).or_default().push(object);
                }
            }
        }
        let mut known = self.pending.known();
        if known.writes == writes {
            let listed = batches.into_iter().map(|(id, objects)| (id, Some(by_name(objects))));
            known.batches = Batches::Listed(listed.collect());
        }
        Ok(())
    }

    async fn list_batch_ids(&self) -> Result<Vec<BatchId>, StoreError> {
        let deleted = self.store.layout.deleted();
        let mut ids = Vec::new();
        let mut pages = names::pages(&self.store, &self.store.settings.bucket, &deleted, Some("/"), None);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| names::failed("cannot list batches", &error))?;
            let found = page.common_prefixes().iter().filter_map(|prefix| prefix.prefix());
            ids.extend(found.filter_map(|key| self.batch_of(key)));
        }
        ids.sort();
        Ok(ids)
    }

    /// The batch that a key beneath `.pawl/deleted/` belongs to.
    fn batch_of(&self, key: &str) -> Option<BatchId> {
        key.strip_prefix(&self.store.layout.deleted())?.split_once('/')?.0.parse().ok()
    }

    /// Says that an object was written or removed, wherever it lies.
    pub(super) fn note_write(&self, key: &str) {
        if let Some(batch) = self.batch_of(key) {
            self.pending.changed(batch);
        }
    }

    /// The objects of one batch whose names begin like this, page by page and by name.
    pub(super) fn pages_of(
        &self,
        batch: &BatchId,
        below: &str,
    ) -> impl Stream<Item = Result<Vec<Object>, StoreError>> + Send + 'static + use<> {
        let (this, batch) = (self.clone(), batch.clone());
        let prefix = format!("{}{below}", self.store.layout.batch(&batch));
        stream::once(async move {
            let Some(objects) = this.remembered(&batch).await? else {
                let bucket = &this.store.settings.bucket;
                let pages: Pages = Box::pin(names::objects(&this.store, bucket, &prefix, None));
                return Ok::<_, StoreError>(pages);
            };
            let found: Vec<_> =
                objects.iter().filter(|object| object.key.starts_with(&prefix)).cloned().collect();
            let pages: Vec<_> = found.chunks(PAGE).map(|page| Ok(page.to_vec())).collect();
            Ok(Box::pin(stream::iter(pages)) as Pages)
        })
        .try_flatten()
    }

    /// The objects of one batch; `None` where there are too many of all batches to remember them.
    async fn remembered(&self, batch: &BatchId) -> Result<Option<Objects>, StoreError> {
        if let Some(objects) = self.pending.objects(batch) {
            return Ok(Some(objects));
        }
        let writes = {
            let known = self.pending.known();
            if !matches!(known.batches, Batches::Listed(_)) {
                return Ok(None);
            }
            known.writes
        };
        let root = self.store.layout.batch(batch);
        let objects = by_name(names::all(&self.store, &self.store.settings.bucket, &root).await?);
        let mut known = self.pending.known();
        if known.writes == writes
            && let Batches::Listed(batches) = &mut known.batches
        {
            batches.insert(batch.clone(), Some(Arc::clone(&objects)));
        }
        Ok(Some(objects))
    }

    /// A note that was listed; `None` if it has gone.
    pub(super) async fn listed_note(&self, object: &Object) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.pending.known().notes.get(&object.key).cloned();
        if let Some((_, note)) = read.filter(|(read, _)| read.etag.is_some() && read == object) {
            return Ok(Some(note.into_bytes()));
        }
        let note = self.read_note(&object.key).await?;
        if let Some(Ok(text)) = note.clone().map(String::from_utf8) {
            let mut known = self.pending.known();
            if known.notes.len() < REMEMBERED_MAX {
                known.notes.insert(object.key.clone(), (object.clone(), text));
                known.is_saved = false;
            }
        }
        Ok(note)
    }

    /// What the store knows of a version of a file that it listed; `None` if that has gone.
    pub(super) async fn listed_head(
        &self,
        bucket: &str,
        key: &str,
        listed: &versions::Version,
    ) -> Result<Option<Head>, StoreError> {
        {
            let mut known = self.pending.known();
            if let Some(known) = known.heads.get_mut(key).filter(|known| is_of(&known.head, listed)) {
                known.is_used = true;
                return Ok(Some(known.head.clone()));
            }
        }
        let head = self.store.head_version(bucket, key, listed.id.clone()).await?;
        if let Some(head) = head.as_ref().filter(|head| is_of(head, listed)) {
            let mut known = self.pending.known();
            if known.heads.len() < REMEMBERED_MAX {
                known.heads.insert(key.to_owned(), KnownHead { head: head.clone(), is_used: true });
                known.is_saved = false;
            }
        }
        Ok(head)
    }

    /// What is known of the version of a file that is shown, if this run has listed it.
    pub(super) async fn looked_at(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Option<Head>, StoreError> {
        if self.store.is_aside(repository, handle).await? {
            return Ok(None);
        }
        let key = self.store.layout.file(repository, handle);
        let known = self.pending.known();
        Ok(known.heads.get(&key).filter(|known| known.is_used).map(|known| known.head.clone()))
    }

    /// The header of a batch; read at most once where it was listed.
    pub(super) async fn header(&self, batch: &BatchId, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(objects) = self.pending.objects(batch) else { return self.read_note(key).await };
        match position(&objects, key).and_then(|at| objects.get(at)) {
            Some(object) => self.listed_note(object).await,
            None => Ok(None),
        }
    }

    /// Whether a listing says that a batch has no such note.
    pub(super) fn is_not_listed(&self, batch: &BatchId, key: &str) -> bool {
        self.pending.objects(batch).is_some_and(|objects| position(&objects, key).is_none())
    }
}

/// Not every store lists in this order.
fn by_name(mut objects: Vec<Object>) -> Objects {
    objects.sort_by(|one, other| one.key.cmp(&other.key));
    Arc::new(objects)
}

fn position(objects: &[Object], key: &str) -> Option<usize> {
    objects.binary_search_by(|object| object.key.as_str().cmp(key)).ok()
}

/// Whether a head is that of a listed version, which never changes. A version called `null` may be overwritten.
fn is_of(head: &Head, listed: &versions::Version) -> bool {
    head.version.as_deref().is_some_and(|version| version != UNVERSIONED)
        && head.version == listed.id
        && head.etag == listed.etag
        && head.size == listed.size
}

#[cfg(test)]
mod tests {
    use pawl_policy::Audience;

    use super::*;
    use crate::Facts;

    fn head(version: Option<&str>) -> Head {
        Head {
            size: 7,
            facts: Facts { creator: None, received_ms: 1, audience: Audience::All },
            is_recorded: true,
            checksum: None,
            upload: None,
            content: None,
            version: version.map(str::to_owned),
            etag: Some("e".to_owned()),
        }
    }

    #[test]
    fn a_head_is_believed_of_the_same_version_only() {
        let listed = |id: Option<&str>, etag: &str, size: u64| versions::Version {
            id: id.map(str::to_owned),
            size,
            etag: Some(etag.to_owned()),
            modified_ms: 1,
            is_latest: true,
        };
        assert!(is_of(&head(Some("v")), &listed(Some("v"), "e", 7)));
        for (of, other) in [
            (Some("v"), listed(Some("w"), "e", 7)),
            (Some("v"), listed(Some("v"), "f", 7)),
            (Some("v"), listed(Some("v"), "e", 8)),
            (Some("null"), listed(Some("null"), "e", 7)),
            (None, listed(None, "e", 7)),
        ] {
            assert!(!is_of(&head(of), &other), "{other:?}");
        }
    }

    #[test]
    fn what_is_known_of_one_bucket_is_not_believed_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("asked.json");
        let pending = Pending::recall(&file, "one".to_owned());
        let known = || KnownHead { head: head(Some("v")), is_used: true };
        {
            let mut state = pending.known();
            state.batches = Batches::Listed(BTreeMap::new());
            state.heads.insert("web1/config".to_owned(), known());
            state.is_saved = false;
        }
        drop(pending);
        let heads = |bucket: &str| Pending::recall(&file, bucket.to_owned()).known().heads.len();
        assert_eq!((heads("one"), heads("other")), (1, 0));
    }

    #[test]
    fn a_version_that_maintenance_stored_is_known_to_later_runs_and_no_other_version() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("asked.json");
        let recall = || Pending::recall(&file, "one".to_owned());
        // One of two runs at a time must not undo what the other leaves.
        let (first, second) = (recall(), recall());
        first.place("a".to_owned(), "1".to_owned());
        second.place("b".to_owned(), "2".to_owned());
        second.place("c".to_owned(), UNVERSIONED.to_owned());
        drop(first);
        drop(second);
        let known = recall();
        let placed = [("a", "1"), ("b", "2"), ("a", "2"), ("b", "1"), ("c", UNVERSIONED)];
        assert_eq!(
            placed.map(|(key, version)| known.has_placed(key, version)),
            [true, true, false, false, false]
        );
    }
}
