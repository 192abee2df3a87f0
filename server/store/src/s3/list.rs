//! Listing the files of one type.
//!
//! Invariant: pages are handed on as they arrive, a bounded number of them at a time; what is no whole name of a file is
//! never shown. An error ends the stream.

mod ranges;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use pawl_policy::{Audience, FileId, FileType, List, Permitted, RepositoryName, lock_has_expired};

use super::names::{self, Object};
use super::{S3Store, layout};
use crate::{Entry, Facts, StoreError, now_ms};

/// HEADs at a time.
const PARALLEL: usize = 8;
/// How far this clock and the store's may differ.
const CLOCKS_DIFFER_MS: u64 = 5 * 60 * 1000;
/// Facts that are remembered. Those of locks and keys of a thousand hosts.
const KNOWN_MAX: usize = 10_000;

type Batches = Pin<Box<dyn Stream<Item = Result<Vec<Entry>, StoreError>> + Send>>;

/// Facts of locks and keys by name and time of the object, whose content cannot change.
#[derive(Debug, Default)]
pub(super) struct KnownFacts(Mutex<HashMap<(String, u64), Facts>>);

impl KnownFacts {
    fn get(&self, object: &Object) -> Option<Facts> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(object.key.clone(), object.modified_ms)).cloned()
    }

    /// Forgets what is known under a name: maintenance put it there anew.
    pub(super) fn forget(&self, key: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _), _| of != key);
    }

    fn put(&self, object: Object, facts: Facts) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear(); // all are read anew, some time
        }
        known.insert((object.key, object.modified_ms), facts);
    }
}

/// The files of one type in batches, as far as the permit shows them.
pub(super) async fn entries(store: &S3Store, permit: Permitted<List>) -> Result<Batches, StoreError> {
    let List { repository, file_type } = permit.action();
    if permit.needs_facts() {
        let known = with_facts(store, repository, *file_type).await?;
        let now_ms = now_ms();
        let shown = known.into_iter().filter(|(_, facts)| permit.shows(facts.audience, facts.age_ms(now_ms)));
        let batch: Vec<_> = shown.map(|(entry, _)| entry).collect();
        return Ok(Box::pin(stream::iter([Ok(batch)])));
    }
    let files = store.layout.files(repository, *file_type);
    let bucket = store.bucket_of(Some(*file_type)).to_owned();
    let first = names::first_page(store, &bucket, &files).await?;
    let last = first.objects.last().map(|object| object.key.clone());
    let file_type = *file_type;
    let first_batch = stream::iter([Ok(batch(first.objects, &files, file_type))]);
    if first.is_all {
        return Ok(Box::pin(first_batch));
    }
    let rest = match (file_type, last) {
        (FileType::Data, Some(last)) => ranges::rest(store, &bucket, &files, last).left_stream(),
        (_, last) => names::objects(store, &bucket, &files, last).right_stream(),
    };
    Ok(Box::pin(first_batch.chain(rest.map_ok(move |page| batch(page, &files, file_type)))))
}

fn batch(page: Vec<Object>, files: &str, file_type: FileType) -> Vec<Entry> {
    let entry = |object: Object| {
        layout::id_in(&object.key, files, file_type).map(|id| Entry { id, size: object.size })
    };
    page.into_iter().filter_map(entry).collect()
}

/// All locks or all keys with what is known of them.
pub(super) async fn with_facts(
    store: &S3Store,
    repository: &RepositoryName,
    file_type: FileType,
) -> Result<Vec<(Entry, Facts)>, StoreError> {
    let files = store.layout.files(repository, file_type);
    let bucket = store.bucket_of(Some(file_type));
    let view = store.view(repository).await?;
    let objects = names::all(store, bucket, &files).await?;
    let wanted = objects.into_iter().filter_map(|object| {
        let id = layout::id_in(&object.key, &files, file_type)?;
        (file_type != FileType::Keys || !view.is_aside(&id)).then_some((id, object))
    });
    let looked_at = stream::iter(wanted.collect::<Vec<_>>())
        .map(|(id, object)| look(store, bucket, file_type, id, object))
        .buffered(PARALLEL); // by name: restic tries keys in this order, and should use the same one each time
    looked_at.try_filter_map(async |known| Ok(known)).try_collect().await
}

async fn look(
    store: &S3Store,
    bucket: &str,
    file_type: FileType,
    id: FileId,
    object: Object,
) -> Result<Option<(Entry, Facts)>, StoreError> {
    let entry = Entry { id, size: object.size };
    let old = now_ms().saturating_sub(object.modified_ms).saturating_sub(CLOCKS_DIFFER_MS);
    if file_type == FileType::Locks && lock_has_expired(old) {
        // It was received before it was stored, so that it has expired as well, whosoever it was.
        let facts = Facts { creator: None, received_ms: object.modified_ms, audience: Audience::All };
        return Ok(Some((entry, facts)));
    }
    if let Some(facts) = store.facts.get(&object) {
        return Ok(Some((entry, facts)));
    }
    let Some(head) = store.head(bucket, &object.key).await? else { return Ok(None) }; // vanished meanwhile
    store.facts.put(object, head.facts.clone());
    Ok(Some((entry, head.facts)))
}
