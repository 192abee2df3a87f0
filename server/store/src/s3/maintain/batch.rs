//! A batch: a header, a note about each file that was taken out of sight, and the days on which it was seen.
//!
//! Invariant: the header is there before the first note, and goes after the last has gone. A header never changes, so
//! that what was read once stays right.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use pawl_config::format::Version;
use pawl_policy::{BatchId, Handle, PrincipalName, RepositoryName, RepositoryState};
use serde::{Deserialize, Serialize};

use super::{PARALLEL, S3Maintenance, notes};
use crate::maintenance::{Batch, Hidden, Reason, UnreadableBatch, next_batch_id};
use crate::s3::names::{self, Object};
use crate::{StoreError, now_ms};

const HEADER: &str = "batch.json";

/// The header as it is written.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(default)]
    version: Version<1>,
    repository: String,
    principal: String,
    reason: Reason,
    began_ms: u64,
}

/// Headers that were read.
#[derive(Debug, Default)]
pub(super) struct Headers(Mutex<HashMap<BatchId, Batch>>);

impl Headers {
    fn get(&self, id: &BatchId) -> Option<Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn put(&self, batch: &Batch) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(batch.id.clone(), batch.clone());
    }

    fn forget(&self, id: &BatchId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl S3Maintenance {
    /// Begins a batch.
    pub(super) async fn begin(
        &self,
        repository: &RepositoryName,
        principal: &PrincipalName,
        reason: Reason,
    ) -> Result<Batch, StoreError> {
        // A repository that was not begun by Pawl carries no mark; without what is hidden it would look like one never
        // begun.
        if self.store.view(repository).await?.state == RepositoryState::Initialised {
            self.store.mark(&self.store.layout.initialised(repository)).await?;
        }
        let began_ms = now_ms();
        let id = next_batch_id(began_ms, self.batch_ids().await?.last())?;
        let batch =
            Batch { id, repository: repository.clone(), principal: principal.clone(), reason, began_ms };
        let header = Header {
            version: Version,
            repository: repository.to_string(),
            principal: principal.to_string(),
            reason,
            began_ms,
        };
        let failed = |cause: String| StoreError::Unavailable(format!("batch {}: {cause}", batch.id));
        let text = serde_json::to_vec(&header).map_err(|error| failed(error.to_string()))?;
        if !self.write_down(&self.header_key(&batch.id), text).await? {
            return Err(failed("its name is taken".to_owned()));
        }
        self.headers.put(&batch);
        Ok(batch)
    }

    fn header_key(&self, id: &BatchId) -> String {
        format!("{}{HEADER}", self.store.layout.batch(id))
    }

    /// Every batch, in order. A header that says nothing that can be used costs its own batch only.
    pub(super) async fn all_batches(&self) -> Result<Vec<Result<Batch, UnreadableBatch>>, StoreError> {
        let ids = self.batch_ids().await?;
        let read = stream::iter(ids).map(|id| self.understand(id)).buffered(PARALLEL);
        let batches: Vec<Option<_>> = read.try_collect().await?;
        Ok(batches.into_iter().flatten().collect())
    }

    /// The batches whose headers cannot be read.
    pub(super) async fn unreadable(&self) -> Result<Vec<UnreadableBatch>, StoreError> {
        Ok(self.all_batches().await?.into_iter().filter_map(Result::err).collect())
    }

    /// The batches in which a file of this repository may be: its own, and those of which that is not known.
    pub(super) async fn possible_batches(
        &self,
        repository: &RepositoryName,
    ) -> Result<Vec<BatchId>, StoreError> {
        let batches = self.all_batches().await?.into_iter();
        let of = |batch: Result<Batch, UnreadableBatch>| match batch {
            Ok(batch) => (batch.repository == *repository).then_some(batch.id),
            Err(unreadable) => Some(unreadable.id),
        };
        Ok(batches.filter_map(of).collect())
    }

    /// The batches of one repository, in order.
    pub(super) async fn batches_of(&self, repository: &RepositoryName) -> Result<Vec<Batch>, StoreError> {
        let batches = self.all_batches().await?.into_iter().flatten();
        Ok(batches.filter(|batch| batch.repository == *repository).collect())
    }

    /// One batch.
    pub(super) async fn batch(&self, id: &BatchId) -> Result<Batch, StoreError> {
        let batch = self.understand(id.clone()).await?.ok_or(StoreError::NotFound)?;
        batch.map_err(|unreadable| StoreError::Unavailable(unreadable.why))
    }

    /// Reads a header. Without one nothing was ever in the batch, or is now.
    async fn understand(&self, id: BatchId) -> Result<Option<Result<Batch, UnreadableBatch>>, StoreError> {
        if let Some(batch) = self.headers.get(&id) {
            return Ok(Some(Ok(batch)));
        }
        let key = self.header_key(&id);
        let Some(text) = self.header(&id, &key).await? else { return Ok(None) };
        let read = from_header(&id, &key, &text);
        if let Ok(batch) = &read {
            self.headers.put(batch);
        }
        Ok(Some(read))
    }

    /// The batch, if it was begun for this repository and this reason.
    pub(super) async fn batch_for(
        &self,
        id: &BatchId,
        repository: &RepositoryName,
        reason: Reason,
    ) -> Result<Batch, StoreError> {
        let batch = self.batch(id).await?;
        if batch.repository != *repository || batch.reason != reason {
            let Batch { repository: of, reason: for_, .. } = &batch;
            return Err(StoreError::Unavailable(format!(
                "batch {id} is for {of} ({for_:?}), not for {repository} ({reason:?})"
            )));
        }
        Ok(batch)
    }

    /// What is pending in a batch, page by page, and by name: packs before indexes, and these before snapshots.
    pub(super) fn entries(
        &self,
        batch: &Batch,
    ) -> impl Stream<Item = Result<Vec<(Hidden, String)>, StoreError>> + Send + 'static + use<> {
        let (this, batch) = (self.clone(), batch.clone());
        let root = this.store.layout.batch(&batch.id);
        let pages = this.pages_of(&batch.id, "");
        pages.and_then(move |page| examine(this.clone(), batch.clone(), root.clone(), page))
    }

    /// Notes that the batch was seen on this day.
    pub(super) async fn see(&self, id: &BatchId, day: Date) -> Result<(), StoreError> {
        self.batch(id).await?;
        if self.seen(id).await?.contains(&day) {
            return Ok(());
        }
        let key = format!("{}seen/{day}", self.store.layout.batch(id));
        let marked = self.store.mark(&key).await;
        self.note_write(&key);
        marked
    }

    /// The days that were noted.
    pub(super) async fn seen(&self, id: &BatchId) -> Result<BTreeSet<Date>, StoreError> {
        let seen = format!("{}seen/", self.store.layout.batch(id));
        let pages: Vec<Vec<Object>> = self.pages_of(id, "seen/").try_collect().await?;
        Ok(pages.iter().flatten().filter_map(|object| object.key.strip_prefix(&seen)?.parse().ok()).collect())
    }

    /// Removes a batch in which nothing is pending.
    pub(super) async fn end(&self, id: &BatchId) -> Result<(), StoreError> {
        let root = self.store.layout.batch(id);
        let objects = names::all(&self.store, &self.store.settings.bucket, &root).await?;
        let name = |object: &Object| object.key.strip_prefix(&root).unwrap_or_default().to_owned();
        if let Some(held) = objects.iter().map(name).find(|name| name.parse::<Handle>().is_ok()) {
            return Err(StoreError::Unavailable(format!("batch {id} is not empty: it holds {held}")));
        }
        let (headers, days): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| name(object) == HEADER);
        for object in days.into_iter().chain(headers) {
            self.take_note_back(&object.key).await?;
        }
        self.headers.forget(id);
        Ok(())
    }
}

fn from_header(id: &BatchId, key: &str, text: &[u8]) -> Result<Batch, UnreadableBatch> {
    let unreadable = |cause: &dyn std::fmt::Display| UnreadableBatch::new(id.clone(), key, cause);
    let header: Header = serde_json::from_slice(text).map_err(|error| unreadable(&error))?;
    Ok(Batch {
        id: id.clone(),
        repository: header.repository.parse().map_err(|error| unreadable(&error))?,
        principal: header.principal.parse().map_err(|error| unreadable(&error))?,
        reason: header.reason,
        began_ms: header.began_ms,
    })
}

/// What a page of notes says.
async fn examine(
    this: S3Maintenance,
    batch: Batch,
    root: String,
    page: Vec<Object>,
) -> Result<Vec<(Hidden, String)>, StoreError> {
    let looked_at = stream::iter(page)
        .map(|object| look(this.clone(), batch.clone(), root.clone(), object))
        .buffered(PARALLEL);
    looked_at.try_filter_map(async |hidden| Ok(hidden)).try_collect().await
}

/// One file that is pending, and the version that holds it.
async fn look(
    this: S3Maintenance,
    batch: Batch,
    root: String,
    object: Object,
) -> Result<Option<(Hidden, String)>, StoreError> {
    let handle = object.key.strip_prefix(&root).and_then(|name| name.parse::<Handle>().ok());
    let Some(handle) = handle else { return Ok(None) };
    let Some(note) = this.listed_note(&object).await? else { return Ok(None) };
    let entry = notes::understand(&batch.id, &handle, &note)?;
    // Of several clocks the latest: nothing becomes final early because one of them was wrong.
    let hidden_ms = entry.hidden_ms.max(object.modified_ms).max(batch.began_ms);
    let hidden = Hidden { handle, bytes: entry.bytes, facts: entry.facts, hidden_ms };
    Ok(Some((hidden, entry.version)))
}
