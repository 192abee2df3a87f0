//! Everything that lies in a repository's part of the bucket, versions and markers among it.
//!
//! Invariant: one page in memory at a time, and nothing is passed over: what is no file of restic's and no mark of Pawl's
//! is foreign, and a file that another hand hid or overwrote is told.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use pawl_policy::{FileType, Handle, RepositoryName, RepositoryState};

use super::{PARALLEL, S3Maintenance, repositories};
use crate::StoreError;
use crate::maintenance::Found;
use crate::s3::facts::millis;
use crate::s3::layout;
use crate::s3::put::checksum;
use crate::s3::repository::View;
use crate::s3::versions::{self, After, History, LISTING, Version};

/// Reads one page of versions after the other, and hands over names of which all versions were seen.
struct Pages {
    this: S3Maintenance,
    bucket: String,
    prefix: String,
    after: Option<After>,
    /// The last name of the page before, of which more may follow.
    held: BTreeMap<String, History>,
}

impl Pages {
    fn new(this: S3Maintenance, bucket: String, prefix: String) -> Self {
        Self { this, bucket, prefix, after: Some(After::default()), held: BTreeMap::new() }
    }

    async fn next(mut self) -> Result<Option<(Vec<(String, History)>, Self)>, StoreError> {
        let Some(after) = self.after.take() else { return Ok(None) };
        let list = self.this.store.clients.quick.list_object_versions();
        let (page, next) =
            versions::page(LISTING, list.bucket(&self.bucket).prefix(&self.prefix), after).await?;
        let mut names = std::mem::take(&mut self.held);
        for found in page.versions() {
            let history = names.entry(found.key().unwrap_or_default().to_owned()).or_default();
            history.versions.push(Version::new(found));
        }
        for marker in page.delete_markers() {
            let history = names.entry(marker.key().unwrap_or_default().to_owned()).or_default();
            history.markers_ms.push(millis(marker.last_modified()));
        }
        if next.is_some() {
            self.after = next;
            self.held.extend(names.pop_last());
        }
        Ok(Some((names.into_iter().collect(), self)))
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
    if matches!(first, ".aside" | ".rescued") {
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
    let store = &this.store;
    let view = store.view(repository).await?;
    if view.state == RepositoryState::Absent {
        this.must_be_there(repository).await?; // or all of it is out of sight
    }
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
    let walk =
        Walk { this: this.clone(), repository: repository.clone(), root, view, held, others: HashMap::new() };
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
                    let (doubt, what) = self.judge(&handle, &key, &history).await?;
                    let of = |what: &str| Found::Unexplained { handle, what: what.to_owned() };
                    found.extend(what.map(of));
                    if let Some(shown) = history.shown() {
                        let is_listed = !self.view.hides(&handle);
                        let version = shown.clone();
                        files.push(Shown { handle, key: key.clone(), version, is_listed, doubt });
                    }
                    false
                }
            };
            if let (true, Some(shown)) = (is_foreign, history.shown()) {
                let path = rest.escape_default().to_string();
                found.push(Found::Foreign { path, bytes: shown.size });
            }
        }
        let looked_at = stream::iter(files).map(|shown| look(self.this.clone(), shown)).buffered(PARALLEL);
        let files: Vec<Vec<Found>> = looked_at.try_collect().await?;
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

    /// What of a file's history maintenance did not do, in words, and whether what is shown has to prove itself. Locks come
    /// and go.
    async fn judge(
        &self,
        handle: &Handle,
        key: &str,
        history: &History,
    ) -> Result<(bool, Option<&'static str>), StoreError> {
        let is_held = |version: &Version| version.id.as_ref().is_some_and(|id| self.held.contains(id));
        let (Some(newest), false) =
            (history.versions.first(), matches!(handle, Handle::File(FileType::Locks, _)))
        else {
            return Ok((false, None));
        };
        if *handle == Handle::Config {
            return Ok((false, self.this.unexplained_config(&self.repository, history, is_held).await?));
        }
        if let Some(shown) = history.shown() {
            // A marker between them explains nothing: a file that came back is right, and one that a thief put is not.
            let has_others = history.versions.iter().any(|version| !version.is_latest && !is_held(version));
            let is_own = |id: &String| self.this.pending.has_placed(key, id);
            return Ok((has_others && !shown.id.as_ref().is_some_and(is_own), None));
        }
        Ok((false, (!is_held(newest)).then_some("it was deleted past Pawl; its newest version is kept")))
    }
}

/// A file that is shown.
struct Shown {
    handle: Handle,
    key: String,
    version: Version,
    /// Whether it counts: a key may have been set aside.
    is_listed: bool,
    /// Whether older versions are there that no batch explains.
    doubt: bool,
}

/// What is known of a file that is shown; nothing if it has vanished meanwhile, as locks do.
async fn look(this: S3Maintenance, shown: Shown) -> Result<Vec<Found>, StoreError> {
    let Shown { handle, key, version, is_listed, doubt } = shown;
    let mut found = Vec::new();
    if !is_listed && !doubt {
        return Ok(found);
    }
    let bucket = this.store.bucket(&handle);
    let head = if handle.file_type() == Some(FileType::Locks) {
        this.store.head(bucket, &key).await?
    } else {
        this.listed_head(bucket, &key, &version).await?
    };
    let Some(head) = head else { return Ok(found) };
    let is_right = matches!(handle, Handle::File(_, id) if head.checksum == Some(checksum(id.sha256())));
    if doubt && !is_right {
        let what = "it was overwritten past Pawl; what was there before is kept".to_owned();
        found.push(Found::Unexplained { handle, what });
    }
    if is_listed {
        let unusual = (!head.is_recorded)
            .then(|| "when it was received was not recorded; the time of its version stands in".to_owned());
        let (bytes, facts) = (head.size, head.facts);
        found.push(Found::File { handle, bytes, facts, unusual, being_written: false });
    }
    Ok(found)
}
