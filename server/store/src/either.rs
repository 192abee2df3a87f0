//! A store of either kind, for commands that work on a directory and on a bucket alike.
//!
//! Invariant: each call goes to the one store that there is, and nothing is decided here.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::Either;
use jiff::civil::Date;
use pawl_policy::{
    Audience, BatchId, Caps, Create, CreateRepository, Delete, FileId, FileType, Handle, List, Permitted,
    PrincipalName, PurgePermit, Read, RemoveLock, RepositoryName, Stat, Usage,
};

use super::local::{LocalMaintenance, LocalStore};
use super::locks::{Lock, LockStore};
use super::maintenance::{
    Batch, Found, Hid, Hidden, Holders, MaintenanceStore, Place, Purged, PutBackError, Reason,
    UnreadableBatch, Version,
};
use super::s3::maintain::S3Maintenance;
use super::s3::{S3File, S3Store};
use super::{
    AppendStore, CreateError, Created, Entry, Facts, Part, Span, StoreError, StoredFile, UploadContext,
};
use crate::body::Upload;
use crate::local::LocalFile;

/// A directory or a bucket, as hosts use it.
#[derive(Debug, Clone)]
pub enum EitherStore {
    /// A directory.
    Local(LocalStore),
    /// A bucket.
    S3(S3Store),
}

/// A directory or a bucket, as maintenance sees it.
#[derive(Debug, Clone)]
pub enum EitherMaintenance {
    /// A directory.
    Local(LocalMaintenance),
    /// A bucket.
    S3(S3Maintenance),
}

/// A file of either.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each request, not many in a row")]
pub enum EitherFile {
    /// In a directory.
    Local(LocalFile),
    /// In a bucket.
    S3(S3File),
}

impl StoredFile for EitherFile {
    fn size(&self) -> u64 {
        match self {
            Self::Local(file) => file.size(),
            Self::S3(file) => file.size(),
        }
    }

    fn read(self, span: Span) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
        match self {
            Self::Local(file) => Either::Left(file.read(span)),
            Self::S3(file) => Either::Right(file.read(span)),
        }
    }
}

impl EitherStore {
    /// Whether the store itself compares content with its SHA-256 and keeps that, so that nobody has to read it to know.
    #[must_use]
    pub fn vouches_for_content(&self) -> bool {
        match self {
            Self::Local(_) => false,
            Self::S3(store) => store.findings().vouches_for_content(),
        }
    }
}

/// The same call to whichever store it is.
macro_rules! each {
    ($this:expr, $store:ident => $call:expr) => {
        match $this {
            Self::Local($store) => $call,
            Self::S3($store) => $call,
        }
    };
}

impl AppendStore for EitherStore {
    type File = EitherFile;

    async fn survey(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<UploadContext, StoreError> {
        each!(self, store => store.survey(repository, handle).await)
    }

    async fn usage(&self, repository: &RepositoryName) -> Result<Usage, StoreError> {
        each!(self, store => store.usage(repository).await)
    }

    async fn total_usage(&self, principal: &PrincipalName) -> Result<Usage, StoreError> {
        each!(self, store => store.total_usage(principal).await)
    }

    async fn facts(&self, repository: &RepositoryName, handle: &Handle) -> Result<Option<Facts>, StoreError> {
        each!(self, store => store.facts(repository, handle).await)
    }

    async fn all_facts(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> Result<Vec<Facts>, StoreError> {
        each!(self, store => store.all_facts(repository, file_type).await)
    }

    async fn stat(&self, permit: &Permitted<Stat>) -> Result<u64, StoreError> {
        each!(self, store => store.stat(permit).await)
    }

    async fn open(&self, permit: &Permitted<Read>, part: Part) -> Result<EitherFile, StoreError> {
        match self {
            Self::Local(store) => store.open(permit, part).await.map(EitherFile::Local),
            Self::S3(store) => store.open(permit, part).await.map(EitherFile::S3),
        }
    }

    async fn list(
        &self,
        permit: Permitted<List>,
    ) -> Result<impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static, StoreError> {
        match self {
            Self::Local(store) => store.list(permit).await.map(Either::Left),
            Self::S3(store) => store.list(permit).await.map(Either::Right),
        }
    }

    async fn create_repository(&self, permit: &Permitted<CreateRepository>) -> Result<(), StoreError> {
        each!(self, store => store.create_repository(permit).await)
    }

    async fn create(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        each!(self, store => store.create(permit, upload, caps).await)
    }

    async fn confirm(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        each!(self, store => store.confirm(permit, upload, caps).await)
    }

    async fn remove_lock(&self, permit: &Permitted<RemoveLock>) -> Result<(), StoreError> {
        each!(self, store => store.remove_lock(permit).await)
    }
}

impl MaintenanceStore for EitherMaintenance {
    type File = EitherFile;

    async fn repositories(&self) -> Result<Vec<RepositoryName>, StoreError> {
        each!(self, store => store.repositories().await)
    }

    async fn walk(
        &self,
        repository: &RepositoryName,
    ) -> Result<impl Stream<Item = Result<Vec<Found>, StoreError>> + Send + 'static, StoreError> {
        match self {
            Self::Local(store) => store.walk(repository).await.map(Either::Left),
            Self::S3(store) => store.walk(repository).await.map(Either::Right),
        }
    }

    async fn facts(&self, repository: &RepositoryName, handle: &Handle) -> Result<Option<Facts>, StoreError> {
        each!(self, store => store.facts(repository, handle).await)
    }

    async fn stored_sha256(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Option<FileId>, StoreError> {
        each!(self, store => store.stored_sha256(repository, handle).await)
    }

    async fn tombstones(&self, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        each!(self, store => store.tombstones(repository).await)
    }

    async fn rescued(&self, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        each!(self, store => store.rescued(repository).await)
    }

    async fn newest_received_ms(&self, repository: &RepositoryName) -> Result<Option<u64>, StoreError> {
        each!(self, store => store.newest_received_ms(repository).await)
    }

    async fn begin_batch(
        &self,
        repository: &RepositoryName,
        principal: &PrincipalName,
        reason: Reason,
    ) -> Result<Batch, StoreError> {
        each!(self, store => store.begin_batch(repository, principal, reason).await)
    }

    async fn hide(&self, permit: &Permitted<Delete>, batch: &BatchId) -> Result<Hid, StoreError> {
        each!(self, store => store.hide(permit, batch).await)
    }

    async fn displace(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        batch: &BatchId,
    ) -> Result<Hid, StoreError> {
        each!(self, store => store.displace(repository, handle, batch).await)
    }

    async fn batches(&self) -> Result<Vec<Batch>, StoreError> {
        each!(self, store => store.batches().await)
    }

    async fn unreadable_batches(&self) -> Result<Vec<UnreadableBatch>, StoreError> {
        each!(self, store => store.unreadable_batches().await)
    }

    async fn hidden(
        &self,
        batch: &BatchId,
    ) -> Result<impl Stream<Item = Result<Vec<Hidden>, StoreError>> + Send + 'static, StoreError> {
        match self {
            Self::Local(store) => store.hidden(batch).await.map(Either::Left),
            Self::S3(store) => store.hidden(batch).await.map(Either::Right),
        }
    }

    async fn note_seen(&self, batch: &BatchId, day: Date) -> Result<(), StoreError> {
        each!(self, store => store.note_seen(batch, day).await)
    }

    async fn days_seen(&self, batch: &BatchId) -> Result<BTreeSet<Date>, StoreError> {
        each!(self, store => store.days_seen(batch).await)
    }

    async fn bring_back(&self, batch: &BatchId, handle: &Handle) -> Result<Created, PutBackError> {
        each!(self, store => store.bring_back(batch, handle).await)
    }

    async fn versions(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Vec<Version>, StoreError> {
        each!(self, store => store.versions(repository, handle).await)
    }

    async fn holders(
        &self,
        repository: &RepositoryName,
        handles: &BTreeSet<Handle>,
    ) -> Result<Holders, StoreError> {
        each!(self, store => store.holders(repository, handles).await)
    }

    async fn versions_among(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        holders: &Holders,
    ) -> Result<Vec<Version>, StoreError> {
        each!(self, store => store.versions_among(repository, handle, holders).await)
    }

    async fn open_version(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<EitherFile, StoreError> {
        match self {
            Self::Local(store) => store.open_version(repository, handle, place).await.map(EitherFile::Local),
            Self::S3(store) => store.open_version(repository, handle, place).await.map(EitherFile::S3),
        }
    }

    async fn put_back(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<Created, PutBackError> {
        each!(self, store => store.put_back(repository, handle, place).await)
    }

    async fn put_in(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        facts: &Facts,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        each!(self, store => store.put_in(repository, handle, facts, upload, caps).await)
    }

    async fn purge(&self, permit: &PurgePermit, handle: &Handle) -> Result<Purged, StoreError> {
        each!(self, store => store.purge(permit, handle).await)
    }

    async fn end_batch(&self, batch: &BatchId) -> Result<(), StoreError> {
        each!(self, store => store.end_batch(batch).await)
    }

    async fn set_audience(
        &self,
        repository: &RepositoryName,
        key: &FileId,
        audience: Audience,
    ) -> Result<(), StoreError> {
        each!(self, store => store.set_audience(repository, key, audience).await)
    }

    async fn amend_received(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        received_ms: u64,
    ) -> Result<(), StoreError> {
        each!(self, store => store.amend_received(repository, handle, received_ms).await)
    }
}

impl LockStore for EitherMaintenance {
    async fn locks(&self, repository: &RepositoryName) -> Result<Vec<Lock>, StoreError> {
        each!(self, store => store.locks(repository).await)
    }

    async fn suspend_locks(&self, repository: &RepositoryName, until_ms: u64) -> Result<(), StoreError> {
        each!(self, store => store.suspend_locks(repository, until_ms).await)
    }

    async fn resume_locks(&self, repository: &RepositoryName) -> Result<(), StoreError> {
        each!(self, store => store.resume_locks(repository).await)
    }
}
