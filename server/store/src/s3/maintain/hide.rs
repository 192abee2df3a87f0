//! Taking files out of sight, and for good.
//!
//! Invariant: a file leaves sight by a delete marker, after its tombstone and the note of which version it was are
//! stored; a version is removed only for a ripe batch, and never one that is shown or that another batch holds.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_s3::types::ObjectLockLegalHoldStatus;
use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_policy::{BatchId, Handle, RepositoryName};

use super::notes::Noted;
use super::{PARALLEL, S3Maintenance};
use crate::maintenance::{Batch, Hid, Purged, Reason};
use crate::s3::facts::{Head, millis};
use crate::s3::failure::{Failure, failure, store_error};
use crate::s3::usage::counts;
use crate::s3::versions::Version;
use crate::s3::{layout, names};
use crate::{StoreError, now_ms};

/// What became of a file that was to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    Now { bytes: u64 },
    Absent,
    Taken,
}

impl From<Moved> for Hid {
    fn from(moved: Moved) -> Self {
        match moved {
            Moved::Now { .. } => Self::Now,
            Moved::Absent => Self::Absent,
            Moved::Taken => Self::Taken,
        }
    }
}

impl S3Maintenance {
    /// Takes a file out of sight that somebody deleted.
    pub(super) async fn hide_file(&self, batch: &Batch, handle: &Handle) -> Result<Moved, StoreError> {
        if *handle == Handle::Config {
            return self.hide_config(batch).await;
        }
        let Some(shown) = self.shown(&batch.repository, handle).await? else { return Ok(Moved::Absent) };
        if self.note_entry(&batch.id, handle, &shown, now_ms().max(batch.began_ms)).await? == Noted::Another {
            return Ok(Moved::Taken);
        }
        if handle.leaves_a_tombstone() {
            self.store.mark(&self.store.layout.tombstone(&batch.repository, handle)).await?;
        }
        self.take_away(&batch.repository, handle, &shown).await
    }

    /// Takes a file out of sight that is not what its name says.
    pub(super) async fn displace_file(&self, batch: &Batch, handle: &Handle) -> Result<Moved, StoreError> {
        let Some(mut shown) = self.shown(&batch.repository, handle).await? else {
            return Ok(Moved::Absent);
        };
        if self.is_right(&batch.repository, handle, &shown).await? {
            let key = self.store.layout.file(&batch.repository, handle);
            return Err(StoreError::Unavailable(format!("{key} is not damaged, so it stays")));
        }
        if *handle == Handle::Config {
            // Not what it says of itself: once it is out of sight, nothing else tells that it is wrong.
            shown.content = self.config_hash(&batch.repository).await?;
        }
        if self.note_entry(&batch.id, handle, &shown, now_ms().max(batch.began_ms)).await? == Noted::Another {
            return Ok(Moved::Taken);
        }
        if let (Handle::Config, Some(version)) = (handle, &shown.version) {
            self.retire(&batch.repository, version).await?;
        }
        self.take_away(&batch.repository, handle, &shown).await
    }

    /// The files that are marked as deleted. One whose deletion was cut after its mark is none of them: what is shown is the
    /// very version that a batch was to hold. What came back since is another.
    pub(super) async fn buried(&self, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        let mut marked = self.named(&self.store.layout.tombstones(repository)).await?;
        let types: BTreeSet<_> = marked.iter().filter_map(Handle::file_type).collect();
        let mut in_sight = BTreeSet::new();
        for file_type in types {
            let files = self.store.layout.files(repository, file_type);
            let objects = names::all(&self.store, &self.store.settings.bucket, &files).await?;
            let ids = objects.iter().filter_map(|object| layout::id_in(&object.key, &files, file_type));
            in_sight.extend(ids.map(|id| Handle::File(file_type, id)).filter(|file| marked.contains(file)));
        }
        for handle in in_sight {
            if self.was_never_hidden(repository, &handle).await? {
                marked.remove(&handle);
            }
        }
        Ok(marked)
    }

    /// Whether the version that is shown is one that a batch of deleted files was to hold. It is so as well where somebody who
    /// may removed the marker for good, which nothing in the bucket tells apart.
    async fn was_never_hidden(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<bool, StoreError> {
        let Some(shown) = self.shown(repository, handle).await? else { return Ok(false) };
        for batch in self.batches_of(repository).await? {
            if batch.reason == Reason::Deleted
                && let Some(entry) = self.entry(&batch.id, handle).await?
                && Some(entry.version) == shown.version
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts a delete marker, provided that what is shown is still what was looked at.
    pub(super) async fn take_away(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        shown: &Head,
    ) -> Result<Moved, StoreError> {
        let (bucket, key) = (self.store.bucket(handle), self.store.layout.file(repository, handle));
        let delete = self.store.clients.quick.delete_object().bucket(bucket).key(&key);
        let mut deleted = delete.clone().set_if_match(shown.etag.clone()).send().await;
        let condition_fails = match deleted.as_ref().map_err(failure) {
            Err(Failure::Unsupported) => true,
            // OpenStack Swift refuses a condition that holds.
            Err(Failure::Taken) => {
                let now = self.store.head_for_certain(bucket, &key).await?;
                now.is_some_and(|now| (now.etag, now.version) == (shown.etag.clone(), shown.version.clone()))
            }
            _ => false,
        };
        if condition_fails {
            deleted = delete.send().await;
        }
        if let Err(error) = deleted {
            // A reply that was lost, and the next attempt found it done.
            match self.store.head_for_certain(bucket, &key).await? {
                None => {}
                Some(_) if failure(&error) == Failure::Taken => {
                    return Err(StoreError::Unavailable(format!(
                        "{key} was replaced while it was being deleted; it stays. Try again"
                    )));
                }
                Some(_) => return Err(denied_or(store_error(&format!("cannot delete {key}"), &error))),
            }
        }
        if counts(handle) {
            self.store.take_back(repository, shown.facts.creator.as_ref(), shown.size).await;
        }
        self.store.facts.forget(&key);
        Ok(Moved::Now { bytes: shown.size })
    }

    /// Removes what a batch holds under a name for good.
    pub(super) async fn purge_file(&self, batch: &Batch, handle: &Handle) -> Result<Purged, StoreError> {
        let Some(entry) = self.entry(&batch.id, handle).await? else { return Ok(Purged::Gone) };
        let (bucket, key) = (self.store.bucket(handle), self.store.layout.file(&batch.repository, handle));
        let history = self.store.history(bucket, &key).await?;
        let held = self.held_by_others(batch, handle).await?;
        let can_go = |version: &&Version| {
            !version.is_latest && version.id.as_ref().is_some_and(|id| !held.contains(id))
        };
        let is_it = |version: &Version| version.id.as_ref() == Some(&entry.version);
        if history.shown().is_some_and(is_it) {
            // The tombstone first: without the entry it would say that the file had been out of sight.
            if batch.reason == Reason::Deleted && handle.leaves_a_tombstone() {
                self.take_note_back(&self.store.layout.tombstone(&batch.repository, handle)).await?;
            }
            self.take_entry_back(&batch.id, handle).await?;
            return Ok(Purged::NeverHidden);
        }
        // The newest comes first. What lay beneath a file that was deleted goes with it: nobody would see it again.
        let going = history.versions.iter().skip_while(|version| !is_it(version));
        let going = going.take_while(|version| batch.reason == Reason::Deleted || is_it(version));
        let mut purged = Purged::Gone;
        for version in going.filter(can_go) {
            let delete = self.store.clients.quick.delete_object().bucket(bucket).key(&key);
            match delete.set_version_id(version.id.clone()).send().await {
                Ok(_) => {}
                Err(error) if failure(&error) == Failure::Absent => {}
                // Stores give one answer for both.
                Err(error) if failure(&error) == Failure::Denied => {
                    purged = match self.locked(bucket, &key, version).await? {
                        Some(locked) => locked,
                        None if matches!(purged, Purged::Locked { .. }) => purged,
                        None => Purged::LeftToTheStore,
                    };
                }
                Err(error) => return Err(store_error(&format!("cannot remove a version of {key}"), &error)),
            }
        }
        // As long as a version is there, the batch says why it is not shown.
        if purged == Purged::Gone {
            self.take_entry_back(&batch.id, handle).await?;
        }
        Ok(purged)
    }

    /// Until when Object Lock keeps a version; `None` if it does not, or if this credential may not know.
    async fn locked(&self, bucket: &str, key: &str, version: &Version) -> Result<Option<Purged>, StoreError> {
        let head = self.store.clients.quick.head_object().bucket(bucket).key(key);
        let output = match head.set_version_id(version.id.clone()).send().await {
            Ok(output) => output,
            Err(error) if failure(&error) == Failure::Absent => return Ok(None),
            Err(error) => return Err(store_error("HEAD", &error)),
        };
        if output.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On) {
            return Ok(Some(Purged::Locked { until_ms: None }));
        }
        let until = output.object_lock_retain_until_date();
        Ok(until.map(|until| Purged::Locked { until_ms: Some(millis(Some(until))) }))
    }

    /// The versions of a name that other batches hold.
    async fn held_by_others(&self, batch: &Batch, handle: &Handle) -> Result<HashSet<String>, StoreError> {
        let mut others = self.possible_batches(&batch.repository).await?;
        others.retain(|other| *other != batch.id);
        let read = stream::iter(others).map(|other| async move { self.entry(&other, handle).await });
        let entries: Vec<_> = read.buffered(PARALLEL).try_collect().await?;
        Ok(entries.into_iter().flatten().map(|entry| entry.version).collect())
    }

    pub(super) async fn take_entry_back(&self, batch: &BatchId, handle: &Handle) -> Result<(), StoreError> {
        self.take_note_back(&self.store.layout.entry(batch, handle)).await
    }
}

/// A deletion's "not found" is no answer: the file was there.
fn denied_or(error: StoreError) -> StoreError {
    match error {
        StoreError::NotFound => StoreError::Unavailable("the store lost the file meanwhile".to_owned()),
        other => other,
    }
}
