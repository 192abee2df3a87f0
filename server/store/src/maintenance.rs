//! What only maintenance can do with a store: hide files and bring them back, look at versions, purge.
//!
//! Invariant: nothing here replaces a file; what is hidden is kept, with its facts, until it is purged, and only what
//! [`pawl_policy::purge_permit`] judged can be purged. A frontend never constructs a [`MaintenanceStore`].
//!
//! It stands beside the [`AppendStore`](super::AppendStore) of the same place, through which maintenance adds and reads
//! as hosts do. What each implementation promises, and `conformance::maintenance` checks:
//! - every step is durable when its call returns, and a step that a crash cut is done by calling again;
//! - a file is visible, or pending in a batch, or both, but never neither, until it is purged;
//! - a hidden snapshot or index leaves a tombstone before it is out of sight, and keeps it until it was brought back;
//! - what comes back was hashed, and comes back with the facts that it had;
//! - usage is never less than what is visible, and falls when something is hidden.

mod batch_id;
mod unreadable;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use futures_util::Stream;
use jiff::civil::Date;
use pawl_config::hint;
use pawl_policy::{
    Audience, BatchId, Caps, Delete, FileId, Handle, Permitted, PrincipalName, PurgePermit, RepositoryName,
};
use serde::{Deserialize, Serialize};

use super::{CreateError, Created, Facts, StoreError, StoredFile};
use crate::body::Upload;
pub(crate) use batch_id::next_batch_id;
pub use unreadable::UnreadableBatch;

/// Why a batch's files were taken out of sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Somebody deleted them. That they are not visible is right.
    Deleted,
    /// Their bytes are not what their names say. That they are not visible is a loss until the right ones are.
    Damaged,
}

/// Files that were taken out of sight together, in one repository, by one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its name; names sort as the batches followed each other, whatever the clock did.
    pub id: BatchId,
    /// Where the files were.
    pub repository: RepositoryName,
    /// By whom.
    pub principal: PrincipalName,
    /// Why.
    pub reason: Reason,
    /// When it began, in Unix milliseconds.
    pub began_ms: u64,
}

/// A file that is pending in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Which file it was.
    pub handle: Handle,
    /// Its size in bytes.
    pub bytes: u64,
    /// What was known of it, and still is.
    pub facts: Facts,
    /// When it was hidden, in Unix milliseconds; later rather than earlier where that is not certain.
    pub hidden_ms: u64,
}

/// What became of a file that was to be hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hid {
    /// It is hidden now.
    Now,
    /// There is none: it was hidden before, or never was.
    Absent,
    /// The batch holds another copy under this name. Begin another batch and hide it there.
    Taken,
}

/// What became of a file that was to be removed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// It is gone.
    Gone,
    /// The store does not let this credential remove it: a rule of the store's own will, and until then it stays pending.
    LeftToTheStore,
    /// Object Lock keeps it, and until then it stays pending. Without a time a legal hold does.
    Locked {
        /// In Unix milliseconds.
        until_ms: Option<u64>,
    },
    /// A crash cut its deletion before it went out of sight. It stays there, and is pending no more.
    NeverHidden,
}

/// Where a copy of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where everybody sees it.
    Current,
    /// Pending in a batch.
    Hidden(BatchId),
    /// Kept beside the store because the visible copy was damaged when a host sent it again.
    Rescued,
    /// Keys of a draft that were set aside when its initialisation was repeated; the text tells one from another.
    Aside(String),
    /// A version that the store itself kept when it was overwritten or marked as deleted, by the store's name for it.
    Noncurrent(String),
}

/// One copy of a file. There may be several under one name, and some may be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Where it is.
    pub place: Place,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is known of it.
    pub facts: Facts,
    /// For `config`, which has no id: the SHA-256 that was recorded when it was stored.
    pub recorded: Option<FileId>,
}

/// A version of a name that the store itself keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The store's name for it.
    pub id: String,
    /// Whether it is the one that everybody sees.
    pub is_shown: bool,
}

/// Where copies of some names may be. It says where to look: what was brought back or purged since is no longer there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// Batches, in their order.
    batches: BTreeMap<Handle, Vec<BatchId>>,
    /// Names of which good bytes were kept.
    rescued: BTreeSet<Handle>,
    /// The versions that the store keeps of all these names, the newest first, if that was looked up.
    kept: Option<BTreeMap<Handle, Vec<Kept>>>,
}

impl Holders {
    /// Notes that a batch holds a name; batches are noted in their order.
    pub(crate) fn note(&mut self, handle: Handle, batch: &BatchId) {
        self.batches.entry(handle).or_default().push(batch.clone());
    }

    /// Notes of which names good bytes were kept.
    pub(crate) fn note_rescued(&mut self, handles: impl Iterator<Item = Handle>) {
        self.rescued.extend(handles);
    }

    /// Notes which versions the store keeps.
    pub(crate) fn note_kept(&mut self, kept: Option<BTreeMap<Handle, Vec<Kept>>>) {
        self.kept = kept;
    }

    /// The versions that the store keeps of a name; `None` if that was not looked up.
    pub(crate) fn kept(&self, handle: &Handle) -> Option<&[Kept]> {
        Some(self.kept.as_ref()?.get(handle).map_or(&[], Vec::as_slice))
    }

    /// The batches that hold a name.
    #[must_use]
    pub fn of(&self, handle: &Handle) -> &[BatchId] {
        self.batches.get(handle).map_or(&[], Vec::as_slice)
    }

    /// Whether good bytes were kept of it.
    #[must_use]
    pub fn are_rescued(&self, handle: &Handle) -> bool {
        self.rescued.contains(handle)
    }
}

/// What lies in a repository's part of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file of restic's.
    File {
        /// Which.
        handle: Handle,
        /// Its size in bytes.
        bytes: u64,
        /// What is known of it.
        facts: Facts,
        /// What of it is not as Pawl leaves it, in words: somebody could write to it, it has no facts.
        unusual: Option<String>,
        /// Whether a process has it open for writing at this moment.
        being_written: bool,
    },
    /// A version or a mark that the store keeps, which no batch explains: another hand overwrote or deleted a file.
    Unexplained {
        /// Which file.
        handle: Handle,
        /// What was found, in words.
        what: String,
    },
    /// Something else, by its path in the repository.
    Foreign {
        /// The path, escaped where it is not printable.
        path: String,
        /// Its size in bytes.
        bytes: u64,
    },
}

/// Why a file was not put back.
#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy does not hash to its name, or to what was recorded of it.
    #[error("the copy is damaged: its content does not hash to its name")]
    Damaged,
    /// Another file stands there, which is not what this copy is.
    #[error("a file with other content stands in its place; see `{verify}`", verify = hint::pawl("maintain verify"))]
    Occupied,
}

/// A store seen by maintenance.
pub trait MaintenanceStore: Send + Sync + 'static {
    /// A copy of a file, opened.
    type File: StoredFile;

    /// Every repository that there is.
    fn repositories(&self) -> impl Future<Output = Result<Vec<RepositoryName>, StoreError>> + Send;

    /// Everything that lies in a repository, in batches, foreign names among it. An error ends the stream.
    fn walk(
        &self,
        repository: &RepositoryName,
    ) -> impl Future<
        Output = Result<impl Stream<Item = Result<Vec<Found>, StoreError>> + Send + 'static, StoreError>,
    > + Send;

    /// What is known of a visible file; nothing if there is none. A bucket is not asked again
    /// about what this store has listed.
    fn facts(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> impl Future<Output = Result<Option<Facts>, StoreError>> + Send;

    /// The SHA-256 that the store itself computed over what it holds now, where it does that; else the file has to be
    /// read to be verified.
    fn stored_sha256(
        &self,
        _repository: &RepositoryName,
        _handle: &Handle,
    ) -> impl Future<Output = Result<Option<FileId>, StoreError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Files that maintenance deleted and hosts must not bring back. Not those whose deletion was cut before it took them out
    /// of sight.
    fn tombstones(
        &self,
        repository: &RepositoryName,
    ) -> impl Future<Output = Result<BTreeSet<Handle>, StoreError>> + Send;

    /// Files of which good bytes were kept, because the visible copy was damaged when a host sent it again.
    fn rescued(
        &self,
        repository: &RepositoryName,
    ) -> impl Future<Output = Result<BTreeSet<Handle>, StoreError>> + Send;

    /// When the newest file of a repository was received, in Unix milliseconds; at least index and snapshots count. One that
    /// says so of a moment more than an hour ahead is not believed.
    fn newest_received_ms(
        &self,
        repository: &RepositoryName,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    // --- Hiding -------------------------------------------------------------------------------------

    /// Begins a batch: its header is durable before anything is hidden. Its name sorts after every other.
    fn begin_batch(
        &self,
        repository: &RepositoryName,
        principal: &PrincipalName,
        reason: Reason,
    ) -> impl Future<Output = Result<Batch, StoreError>> + Send;

    /// Takes a file out of sight, into a batch that was begun with [`Reason::Deleted`] in its repository.
    fn hide(
        &self,
        permit: &Permitted<Delete>,
        batch: &BatchId,
    ) -> impl Future<Output = Result<Hid, StoreError>> + Send;

    /// Takes a file out of sight whose bytes are not what its name says, into a batch that was begun with
    /// [`Reason::Damaged`] in its repository. A file that is right stays, which is an error.
    fn displace(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        batch: &BatchId,
    ) -> impl Future<Output = Result<Hid, StoreError>> + Send;

    /// All batches whose headers can be read, in their order.
    fn batches(&self) -> impl Future<Output = Result<Vec<Batch>, StoreError>> + Send;

    /// The batches whose headers cannot be read. Of which repository they are is not known; what they hold stays.
    fn unreadable_batches(&self) -> impl Future<Output = Result<Vec<UnreadableBatch>, StoreError>> + Send;

    /// What is pending in a batch, in batches. An error ends the stream.
    fn hidden(
        &self,
        batch: &BatchId,
    ) -> impl Future<
        Output = Result<impl Stream<Item = Result<Vec<Hidden>, StoreError>> + Send + 'static, StoreError>,
    > + Send;

    /// Notes, durably, that maintenance saw the batch on this day.
    fn note_seen(&self, batch: &BatchId, day: Date) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The days that were noted.
    fn days_seen(&self, batch: &BatchId) -> impl Future<Output = Result<BTreeSet<Date>, StoreError>> + Send;

    // --- Bringing back ------------------------------------------------------------------------------

    /// Brings a file of a batch back into sight, once its content was hashed. If the same file is visible already, the
    /// hidden copy stays where it is. Its tombstone goes.
    fn bring_back(
        &self,
        batch: &BatchId,
        handle: &Handle,
    ) -> impl Future<Output = Result<Created, PutBackError>> + Send;

    /// Every copy that there is of a name, the visible one first.
    fn versions(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> impl Future<Output = Result<Vec<Version>, StoreError>> + Send;

    /// Which batches of a repository hold these names. One look at the batches for all of them.
    fn holders(
        &self,
        repository: &RepositoryName,
        handles: &BTreeSet<Handle>,
    ) -> impl Future<Output = Result<Holders, StoreError>> + Send;

    /// The same as [`Self::versions`], for one of many names whose holders were looked up.
    fn versions_among(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        holders: &Holders,
    ) -> impl Future<Output = Result<Vec<Version>, StoreError>> + Send;

    /// Opens a copy.
    fn open_version(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> impl Future<Output = Result<Self::File, StoreError>> + Send;

    /// Makes a copy the visible one, once its content was hashed, with the facts that it has. The name must be free:
    /// what stands there wrongly is displaced first.
    fn put_back(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> impl Future<Output = Result<Created, PutBackError>> + Send;

    /// Stores a file that comes from elsewhere, with these facts, as [`AppendStore::create`](super::AppendStore::create)
    /// does. The name must be free: what stands there wrongly is displaced first.
    fn put_in(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        facts: &Facts,
        upload: &mut Upload,
        caps: &Caps,
    ) -> impl Future<Output = Result<Created, CreateError>> + Send;

    // --- Purging, and what else ---------------------------------------------------------------------

    /// Removes a file of a ripe batch for good; done as well if it is not there. Whether it can be spared is for the
    /// caller to have proved. Its tombstone stays.
    fn purge(
        &self,
        permit: &PurgePermit,
        handle: &Handle,
    ) -> impl Future<Output = Result<Purged, StoreError>> + Send;

    /// Removes a batch in which nothing is pending; one in which something is stays, which is an error.
    fn end_batch(&self, batch: &BatchId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Changes who may see a key.
    fn set_audience(
        &self,
        repository: &RepositoryName,
        key: &FileId,
        audience: Audience,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Changes when a visible file says that it was received. Only where the store believes files that say so of moments
    /// to come is there anything to change.
    fn amend_received(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        received_ms: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
