//! Where files are stored: what a store must promise.
//!
//! Invariant: an [`AppendStore`] has no call that replaces a file, and the only file it removes is a lock. Every
//! call that acts takes what [`pawl_policy::decide`] permitted, so nothing undecided can be carried out.
//!
//! What each implementation promises, and `conformance` checks:
//! - a file is visible only whole: its content hashed to its name when it was stored;
//! - a call that stores returns after file and directory entry are durable;
//! - of two that store one name at once, one stores and the other compares;
//! - a file once listed stays listed, with the same bytes;
//! - an error is never taken for absence.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")
)]

mod auditor;
pub mod body;
#[cfg(test)]
mod conformance;
pub mod deletions;
pub mod either;
pub mod local;
pub mod locks;
pub mod maintenance;
pub mod s3;

use std::future::Future;

use bytes::Bytes;
use futures_util::Stream;
pub use pawl_keeper::facts::{AHEAD_MAX_MS, Facts, now_ms};
use pawl_policy::{
    Caps, Create, CreateRepository, FileId, FileType, Handle, List, Permitted, PrincipalName, Read,
    RemoveLock, RepositoryName, RepositoryState, Stat, Usage,
};

use crate::body::{BodyError, Upload};

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file or repository.
    #[error("not found")]
    NotFound,
    /// No space is left.
    #[error("no space left")]
    Full,
    /// Anything else: whether the file exists is not known.
    #[error("store unavailable: {0}")]
    Unavailable(String),
}

/// Why a file was not stored, or not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The body is not acceptable.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Other content is stored under this name. Only `config` can differ: all others are named by content.
    #[error("the stored content differs")]
    Differs,
    /// The stored copy is damaged. The good bytes that just arrived are kept for restoration.
    #[error("the stored copy is damaged")]
    Damaged,
}

/// What became of a file that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was stored.
    Stored,
    /// The same content was there already.
    AlreadyThere,
}

/// One line of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which file.
    pub id: FileId,
    /// Its size in bytes.
    pub size: u64,
}

/// What is known of a name and its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadContext {
    /// How far the repository has come.
    pub repository: RepositoryState,
    /// The file of that name.
    pub file: Option<Facts>,
    /// Whether it was looked for. Whether a pack is in a bucket only storing it tells.
    pub is_file_known: bool,
    /// Whether maintenance has deleted a file of that name.
    pub tombstone: bool,
    /// For a lock: until when maintenance has suspended the making of locks here, in Unix milliseconds.
    pub locks_suspended_until_ms: Option<u64>,
    /// Bytes that files other than locks may still take; some are kept for locks and maintenance. All there are in a
    /// store without end.
    pub room_bytes: u64,
}

/// A part of a file: `start..start + len`, both in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
}

/// What is going to be read of a file: a hint, so that a store can ask for it in the same breath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From `start` on, and up to but not including `end`, or what there is.
    From {
        /// Offset of the first byte.
        start: u64,
        /// Offset behind the last byte; to the end of the file if absent.
        end: Option<u64>,
    },
    /// That depends on its size.
    Unknown,
}

/// Room in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be stored.
    pub free_bytes: u64,
    /// Of these, bytes that hosts can still store: the rest is kept for locks and maintenance.
    pub room_bytes: u64,
    /// Bytes there are in all.
    pub size_bytes: u64,
    /// Whether hosts can store nothing because the last inodes are kept for locks and maintenance.
    pub lacks_inodes: bool,
}

/// A stored file, opened.
pub trait StoredFile: Send + 'static {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// The bytes of `span`, which must lie within the file. Ends in an error rather than short.
    fn read(self, span: Span) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static;
}

/// A store to which files can be added.
pub trait AppendStore: Send + Sync + 'static {
    /// A stored file, opened.
    type File: StoredFile;

    /// What must be known before a file is stored under this name.
    fn survey(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> impl Future<Output = Result<UploadContext, StoreError>> + Send;

    /// How much the repository holds. If that was never counted, this asks for it, and is an error until it is done, which
    /// may take as long as looking at each of its files.
    fn usage(&self, repository: &RepositoryName) -> impl Future<Output = Result<Usage, StoreError>> + Send;

    /// How much the principal has stored in all repositories; an error as for a repository.
    fn total_usage(
        &self,
        principal: &PrincipalName,
    ) -> impl Future<Output = Result<Usage, StoreError>> + Send;

    /// What is known of a file; `None` only if it certainly does not exist.
    fn facts(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> impl Future<Output = Result<Option<Facts>, StoreError>> + Send;

    /// What is known of all locks or all keys.
    fn all_facts(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> impl Future<Output = Result<Vec<Facts>, StoreError>> + Send;

    /// A file's size in bytes.
    fn stat(&self, permit: &Permitted<Stat>) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Opens a file, of which `part` will probably be read.
    fn open(
        &self,
        permit: &Permitted<Read>,
        part: Part,
    ) -> impl Future<Output = Result<Self::File, StoreError>> + Send;

    /// The files of one type in batches, as far as the permit shows them. An error ends the stream.
    fn list(
        &self,
        permit: Permitted<List>,
    ) -> impl Future<
        Output = Result<impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static, StoreError>,
    > + Send;

    /// Makes a repository; if it is there already, sets aside the keys of a draft and else does nothing.
    fn create_repository(
        &self,
        permit: &Permitted<CreateRepository>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stores a file, unless its name is taken; then compares.
    fn create(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> impl Future<Output = Result<Created, CreateError>> + Send;

    /// Compares what was sent with what is stored, and stores nothing in the repository.
    fn confirm(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> impl Future<Output = Result<Created, CreateError>> + Send;

    /// Removes a lock; done as well if it is not there.
    fn remove_lock(
        &self,
        permit: &Permitted<RemoveLock>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A store of which can be told how it does. Needs no permit: none of it says what is stored, but for a time.
pub trait Observed: Send + Sync + 'static {
    /// How much room there is; `None` if there is no end to it.
    fn space(&self) -> impl Future<Output = Result<Option<Space>, StoreError>> + Send;

    /// Whether a file could be stored now, found out without storing one.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How much each of these repositories holds; `None` if that was never counted.
    fn usages(
        &self,
        repositories: Vec<RepositoryName>,
    ) -> impl Future<Output = Result<Vec<(RepositoryName, Option<Usage>)>, StoreError>> + Send;

    /// When the newest file of this type was received, in Unix milliseconds; `None` if there is none.
    fn last_received(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;
}
