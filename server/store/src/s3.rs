//! A bucket with versioning, in restic's own layout, so that `restic -r s3:…` reads it.
//!
//! Invariant: no call replaces an object: every PUT carries `If-None-Match: *`, and of several versions of `config`,
//! which alone can differ, the oldest is the true one. The only call that hides anything is for locks. What is stored is
//! the only state; any number of servers may share a bucket.

mod client;
mod create;
mod direct;
mod facts;
mod failure;
mod finding;
mod layout;
mod lifecycle;
mod list;
pub mod maintain;
mod names;
mod object;
mod observe;
mod probe;
mod put;
mod read;
mod repository;
mod signs;
mod usage;
mod versions;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::Stream;
use pawl_config::s3::S3Settings;
use pawl_keeper::{Account, KeeperClient, Tenant};
use pawl_policy::{
    Caps, Create, CreateRepository, FileType, Handle, List, Permitted, PrincipalName, Read, RemoveLock,
    RepositoryName, RepositoryState, Stat, Usage,
};
use tokio::sync::Semaphore;

use super::locks::end_of_suspension;
use super::{AppendStore, CreateError, Created, Entry, Facts, Part, StoreError, UploadContext, now_ms};
use crate::body::Upload;
use client::Clients;
pub use client::SetUpError;
pub use direct::Direct;
use facts::NewFacts;
use failure::{Failure, failure, store_error};
pub use finding::{Finding, Findings, ProbeError, Sort};
use layout::Layout;
pub use read::S3File;
use repository::Views;
pub use signs::{Other, SIGNS_EVERY_MINUTES, Server, Sign};
use usage::Counts;

/// Stored files that are hashed at a time, where the store does not know their SHA-256.
const HASHING_MAX: usize = 2;

/// A store in a bucket.
#[derive(Debug, Clone)]
pub struct S3Store {
    shared: Arc<Shared>,
}

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    clients: Clients,
    settings: S3Settings,
    layout: Layout,
    findings: Findings,
    views: Views,
    usage: Counts,
    fullness: observe::Fullness,
    facts: list::KnownFacts,
    names: create::NameLocks,
    damaged: create::Damaged,
    hashing: Semaphore,
    /// For whom it was opened.
    side: Tenant,
    /// None if the store was opened for reading only.
    keeper: Option<KeeperClient>,
}

impl std::ops::Deref for S3Store {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be spoken to.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    /// It was tried and does not do.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Nothing in it can be brought back.
    #[error(
        "the bucket keeps no versions, without which nothing that is deleted could be brought back: switch them on, or, where \
         the store has none, use one that has (AWS, Ceph RGW, Backblaze B2) or a directory"
    )]
    NoVersions,
}

/// Whether a bucket is tried out when it is opened.
#[derive(Debug)]
enum Trial {
    Now,
    /// It was, and this was found.
    Before(Findings),
    /// Not at all: nothing is going to be stored there.
    None,
}

/// Tries a bucket out, whatever the settings accept.
pub async fn examine(settings: &S3Settings) -> Result<Findings, OpenError> {
    let clients = Clients::new(settings).await?;
    Ok(probe::probe(&clients, settings, &Layout::new(settings), Tenant::Hosts).await?)
}

impl S3Store {
    /// The store in this bucket, tried out. What each principal has stored is noted by `keeper`.
    pub async fn open(settings: S3Settings, keeper: KeeperClient) -> Result<Self, OpenError> {
        Self::open_with(settings, Tenant::Hosts, Some(keeper), Trial::Now).await
    }

    /// The same store for maintenance, whose keys hosts do not see. It is tried out unless that was done before, with these
    /// findings.
    pub async fn open_for_maintenance(
        settings: S3Settings,
        keeper: KeeperClient,
        known: Option<Findings>,
    ) -> Result<Self, OpenError> {
        let trial = known.map_or(Trial::Now, Trial::Before);
        Self::open_with(settings, Tenant::Maintenance, Some(keeper), trial).await
    }

    /// The same store, in which nothing can be stored.
    pub async fn open_for_reading(settings: S3Settings, known: Option<Findings>) -> Result<Self, OpenError> {
        let trial = known.map_or(Trial::Now, Trial::Before);
        Self::open_with(settings, Tenant::Maintenance, None, trial).await
    }

    /// The same store, which is not tried out: all that is done there is to look for copies of files, which a credential that
    /// only reads can do, too.
    pub async fn open_untried(settings: S3Settings) -> Result<Self, OpenError> {
        Self::open_with(settings, Tenant::Maintenance, None, Trial::None).await
    }

    async fn open_with(
        settings: S3Settings,
        side: Tenant,
        keeper: Option<KeeperClient>,
        trial: Trial,
    ) -> Result<Self, OpenError> {
        let clients = Clients::new(&settings).await?;
        let layout = Layout::new(&settings);
        let findings = match trial {
            Trial::None => Findings::not_tried(),
            Trial::Before(known) => known.check(&settings)?,
            Trial::Now => probe::probe(&clients, &settings, &layout, side).await?.check(&settings)?,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                clients,
                settings,
                layout,
                findings,
                views: Views::default(),
                usage: Counts::default(),
                fullness: observe::Fullness::default(),
                facts: list::KnownFacts::default(),
                names: create::NameLocks::default(),
                damaged: create::Damaged::default(),
                hashing: Semaphore::new(HASHING_MAX),
                side,
                keeper,
            }),
        })
    }

    fn keeper(&self) -> Result<&KeeperClient, StoreError> {
        self.keeper
            .as_ref()
            .ok_or_else(|| StoreError::Unavailable("this store was opened for reading only".to_owned()))
    }

    /// What was found out about the store.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The bucket that holds files of this kind.
    fn bucket(&self, handle: &Handle) -> &str {
        self.bucket_of(handle.file_type())
    }

    fn bucket_of(&self, file_type: Option<FileType>) -> &str {
        match (file_type, &self.settings.locks_bucket) {
            (Some(FileType::Locks), Some(bucket)) => bucket,
            _ => &self.settings.bucket,
        }
    }
}

impl AppendStore for S3Store {
    type File = S3File;

    async fn survey(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<UploadContext, StoreError> {
        let key = self.layout.file(repository, handle);
        // Whether a pack is there its PUT tells as well, and most requests of a backup are for packs.
        let is_told_by_put = handle.file_type() == Some(FileType::Data) && !self.damaged.includes(&key);
        let head =
            async { if is_told_by_put { Ok(None) } else { self.head(self.bucket(handle), &key).await } };
        let (view, head, tombstone, locks_suspended_until_ms) = tokio::try_join!(
            self.view(repository),
            head,
            self.is_deleted(repository, handle),
            self.locks_suspended_until(repository, handle)
        )?;
        usage::renew(self, repository);
        Ok(UploadContext {
            repository: view.state,
            file: head.filter(|_| !view.hides(handle)).map(|head| head.facts),
            is_file_known: !is_told_by_put,
            tombstone,
            locks_suspended_until_ms,
            room_bytes: u64::MAX,
        })
    }

    async fn usage(&self, repository: &RepositoryName) -> Result<Usage, StoreError> {
        match self.usage.known(repository) {
            Some(usage) => Ok(usage),
            None => usage::count(self, repository).await,
        }
    }

    async fn total_usage(&self, principal: &PrincipalName) -> Result<Usage, StoreError> {
        Ok(self.keeper()?.usage(Account::Principal(principal.clone())).await?)
    }

    async fn facts(&self, repository: &RepositoryName, handle: &Handle) -> Result<Option<Facts>, StoreError> {
        Ok(self.file(repository, handle).await?.map(|head| head.facts))
    }

    async fn all_facts(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> Result<Vec<Facts>, StoreError> {
        let known = list::with_facts(self, repository, file_type).await?;
        Ok(known.into_iter().map(|(_, facts)| facts).collect())
    }

    async fn stat(&self, permit: &Permitted<Stat>) -> Result<u64, StoreError> {
        let Stat { repository, handle } = permit.action();
        self.file(repository, handle).await?.map(|head| head.size).ok_or(StoreError::NotFound)
    }

    async fn open(&self, permit: &Permitted<Read>, part: Part) -> Result<S3File, StoreError> {
        read::open(self, permit, part).await
    }

    async fn list(
        &self,
        permit: Permitted<List>,
    ) -> Result<impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static, StoreError> {
        match self.view(&permit.action().repository).await?.state {
            RepositoryState::Absent => Err(StoreError::NotFound),
            RepositoryState::Draft | RepositoryState::Initialised => list::entries(self, permit).await,
        }
    }

    async fn create_repository(&self, permit: &Permitted<CreateRepository>) -> Result<(), StoreError> {
        self.make_repository(permit).await
    }

    async fn create(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        create::create(self, permit, upload, caps).await
    }

    async fn confirm(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        create::confirm(self, permit, upload, caps).await
    }

    async fn remove_lock(&self, permit: &Permitted<RemoveLock>) -> Result<(), StoreError> {
        let RemoveLock { repository, id } = permit.action();
        let handle = Handle::File(FileType::Locks, *id);
        let (bucket, key) = (self.bucket(&handle), self.layout.file(repository, &handle));
        // Each removal leaves a marker, also of what is not there.
        if self.head(bucket, &key).await?.is_none() {
            return Ok(());
        }
        match self.clients.quick.delete_object().bucket(bucket).key(key).send().await {
            Ok(_) => Ok(()),
            Err(error) if failure(&error) == Failure::Absent => Ok(()),
            Err(error) => Err(store_error("cannot remove the lock", &error)),
        }
    }
}

impl S3Store {
    /// Whether maintenance has deleted a file of this name. It keeps that for snapshots and indexes, which make restic
    /// fail if they come back without their data, and for keys, which let in whom their removal was to keep out.
    async fn is_deleted(&self, repository: &RepositoryName, handle: &Handle) -> Result<bool, StoreError> {
        match handle.file_type() {
            Some(FileType::Snapshots | FileType::Index | FileType::Keys) => {
                let key = self.layout.tombstone(repository, handle);
                Ok(self.head(&self.settings.bucket, &key).await?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// For a lock: until when maintenance has suspended the making of locks.
    async fn locks_suspended_until(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Option<u64>, StoreError> {
        if handle.file_type() != Some(FileType::Locks) {
            return Ok(None);
        }
        let root = self.layout.suspension(repository);
        let mut until_ms = None;
        for mark in names::all(self, &self.settings.bucket, &root).await? {
            let name = mark.key.strip_prefix(&root).unwrap_or_default();
            until_ms = until_ms.max(Some(end_of_suspension(name)?));
        }
        Ok(until_ms)
    }

    /// The facts of a file that is stored now.
    fn new_facts(&self, creator: &PrincipalName, handle: &Handle) -> Result<NewFacts, StoreError> {
        Ok(NewFacts {
            creator: Some(creator.clone()),
            received_ms: now_ms(),
            audience: self.side.audience(handle),
            content: None,
            upload: facts::new_mark()?,
        })
    }
}
