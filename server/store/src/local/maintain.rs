//! A directory seen by maintenance: files move out of sight and back by one `rename` each, facts and all.
//!
//! Invariant: no call here replaces a file, and a file is removed only out of a batch that is ripe. What acts tells the
//! audit log, through the keeper of maintenance; a store without one can only be read.

mod back;
mod batch;
mod content;
mod hide;
mod locks;
mod put_in;
mod versions;
mod walk;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{Stream, stream};
use jiff::civil::Date;
use pawl_keeper::{Act, KeeperClient, MaintenanceUsage, layout};
use pawl_policy::{
    Audience, BatchId, Caps, Delete, FileId, FileType, Handle, Permitted, PrincipalName, PurgePermit,
    RepositoryName,
};
use rustix::fs::{Mode, OFlags};

use super::{LocalFile, join, open_file};
use crate::auditor::Auditor;
use crate::body::Upload;
use crate::maintenance::{
    Batch, Found, Hid, Hidden, Holders, MaintenanceStore, Place, Purged, PutBackError, Reason,
    UnreadableBatch, Version,
};
use crate::{CreateError, Created, Facts, StoreError};

/// A local directory, seen by maintenance.
#[derive(Debug, Clone)]
pub struct LocalMaintenance {
    disk: Arc<Disk>,
    auditor: Auditor,
}

/// Where it all lies.
#[derive(Debug)]
struct Disk {
    data: OwnedFd,
    path: PathBuf,
    usage: MaintenanceUsage,
}

impl LocalMaintenance {
    /// The store in the directory `data`; what is done there is told to `keeper`, which is one of maintenance.
    pub fn open(data: &Path, keeper: KeeperClient) -> std::io::Result<Self> {
        Ok(Self { auditor: Auditor::new(Some(keeper)), ..Self::open_for_reading(data)? })
    }

    /// The same store, in which nothing can be done.
    pub fn open_for_reading(data: &Path) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(data, flags, Mode::empty())?;
        let usage = MaintenanceUsage::of(directory.as_fd());
        let disk = Disk { data: directory, path: data.to_owned(), usage };
        Ok(Self { disk: Arc::new(disk), auditor: Auditor::new(None) })
    }

    /// Runs `work`, which waits for the disk, where waiting is allowed.
    async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let disk = Arc::clone(&self.disk);
        let joined = tokio::task::spawn_blocking(move || work(&disk)).await;
        joined.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string()).into()))
    }
}

impl MaintenanceStore for LocalMaintenance {
    type File = LocalFile;

    async fn repositories(&self) -> Result<Vec<RepositoryName>, StoreError> {
        self.blocking(walk::repositories).await
    }

    async fn walk(
        &self,
        repository: &RepositoryName,
    ) -> Result<impl Stream<Item = Result<Vec<Found>, StoreError>> + Send + 'static, StoreError> {
        let repository = repository.clone();
        let walker = self.blocking(move |disk| walk::Walker::new(disk, &repository)).await?;
        Ok(stream::try_unfold(walker, |walker| async move {
            join(tokio::task::spawn_blocking(move || walker.next_batch()).await)
        }))
    }

    async fn facts(&self, repository: &RepositoryName, handle: &Handle) -> Result<Option<Facts>, StoreError> {
        let path = layout::file(repository, handle);
        self.blocking(move |disk| super::facts(&disk.data, &path)).await
    }

    async fn tombstones(&self, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        let repository = repository.clone();
        self.blocking(move |disk| hide::buried(disk, &repository)).await
    }

    async fn rescued(&self, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        let path = layout::rescued(repository);
        self.blocking(move |disk| walk::marked(disk.data.as_fd(), &path)).await
    }

    async fn newest_received_ms(&self, repository: &RepositoryName) -> Result<Option<u64>, StoreError> {
        let repository = repository.clone();
        self.blocking(move |disk| {
            let mut newest = None;
            for file_type in [FileType::Index, FileType::Snapshots, FileType::Keys, FileType::Locks] {
                let path = layout::type_directory(&repository, file_type);
                newest = newest.max(super::observe::last_received(&disk.data, &path)?);
            }
            Ok(newest)
        })
        .await
    }

    async fn begin_batch(
        &self,
        repository: &RepositoryName,
        principal: &PrincipalName,
        reason: Reason,
    ) -> Result<Batch, StoreError> {
        self.auditor.check()?;
        let (repository, principal) = (repository.clone(), principal.clone());
        self.blocking(move |disk| batch::begin(disk, repository, principal, reason)).await
    }

    async fn hide(&self, permit: &Permitted<Delete>, batch: &BatchId) -> Result<Hid, StoreError> {
        self.auditor.check()?;
        let (Delete { repository, handle }, id) = (permit.action().clone(), batch.clone());
        let (hid, batch) = self
            .blocking(move |disk| {
                let batch = batch::for_reason(disk, &id, &repository, Reason::Deleted)?;
                Ok::<_, StoreError>((hide::hide(disk, &batch, &handle)?, batch))
            })
            .await?;
        if let hide::Moved::Now { bytes } = hid {
            self.auditor.tell(Act::Hide, &batch, &handle, Some(bytes)).await?;
        }
        Ok(hid.into())
    }

    async fn displace(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        batch: &BatchId,
    ) -> Result<Hid, StoreError> {
        self.auditor.check()?;
        let (repository, handle, id) = (repository.clone(), *handle, batch.clone());
        let (hid, batch) = self
            .blocking(move |disk| {
                let batch = batch::for_reason(disk, &id, &repository, Reason::Damaged)?;
                Ok::<_, StoreError>((hide::displace(disk, &batch, &handle)?, batch))
            })
            .await?;
        if let hide::Moved::Now { bytes } = hid {
            self.auditor.tell(Act::Displace, &batch, &handle, Some(bytes)).await?;
        }
        Ok(hid.into())
    }

    async fn batches(&self) -> Result<Vec<Batch>, StoreError> {
        self.blocking(|disk| batch::all(disk).map(|all| all.into_iter().flatten().collect())).await
    }

    async fn unreadable_batches(&self) -> Result<Vec<UnreadableBatch>, StoreError> {
        self.blocking(|disk| batch::all(disk).map(|all| all.into_iter().filter_map(Result::err).collect()))
            .await
    }

    async fn hidden(
        &self,
        batch: &BatchId,
    ) -> Result<impl Stream<Item = Result<Vec<Hidden>, StoreError>> + Send + 'static, StoreError> {
        let id = batch.clone();
        let entries = self.blocking(move |disk| batch::Entries::new(disk, &id)).await?;
        Ok(stream::try_unfold(entries, |entries| async move {
            join(tokio::task::spawn_blocking(move || entries.next_batch()).await)
        }))
    }

    async fn note_seen(&self, batch: &BatchId, day: Date) -> Result<(), StoreError> {
        self.auditor.check()?;
        let id = batch.clone();
        self.blocking(move |disk| batch::note_seen(disk, &id, day)).await
    }

    async fn days_seen(&self, batch: &BatchId) -> Result<BTreeSet<Date>, StoreError> {
        let id = batch.clone();
        self.blocking(move |disk| batch::days_seen(disk, &id)).await
    }

    async fn bring_back(&self, batch: &BatchId, handle: &Handle) -> Result<Created, PutBackError> {
        self.auditor.check()?;
        let (id, handle) = (batch.clone(), *handle);
        let (created, bytes, batch) = self
            .blocking(move |disk| {
                let batch = batch::read(disk, &id)?;
                let place = Place::Hidden(id);
                let (created, bytes) = back::put_back(disk, &batch.repository, &handle, &place)?;
                Ok::<_, PutBackError>((created, bytes, batch))
            })
            .await?;
        if created == Created::Stored {
            self.auditor.tell(Act::BringBack, &batch, &handle, Some(bytes)).await?;
        }
        Ok(created)
    }

    async fn versions(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Vec<Version>, StoreError> {
        let (repository, handle) = (repository.clone(), *handle);
        self.blocking(move |disk| {
            versions::among(disk, &repository, &handle, versions::batches(disk, &repository)?)
        })
        .await
    }

    async fn holders(
        &self,
        repository: &RepositoryName,
        handles: &BTreeSet<Handle>,
    ) -> Result<Holders, StoreError> {
        let (repository, handles) = (repository.clone(), handles.clone());
        self.blocking(move |disk| versions::holders(disk, &repository, &handles)).await
    }

    async fn versions_among(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        holders: &Holders,
    ) -> Result<Vec<Version>, StoreError> {
        let (repository, handle, batches) = (repository.clone(), *handle, holders.of(handle).to_vec());
        self.blocking(move |disk| versions::among(disk, &repository, &handle, batches)).await
    }

    async fn open_version(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<LocalFile, StoreError> {
        let (path, name) = versions::path(repository, handle, place)?;
        self.blocking(move |disk| LocalFile::new(open_file(&disk.data, &format!("{path}/{name}"))?)).await
    }

    async fn put_back(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<Created, PutBackError> {
        self.auditor.check()?;
        let (owned, at, from) = (repository.clone(), *handle, place.clone());
        let (created, bytes) = self.blocking(move |disk| back::put_back(disk, &owned, &at, &from)).await?;
        if created == Created::Stored {
            self.auditor.tell_of_file(Act::BringBack, repository, handle, Some(bytes)).await?;
        }
        Ok(created)
    }

    async fn put_in(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        facts: &Facts,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        self.auditor.check()?;
        let (created, bytes) = put_in::put_in(self, repository, handle, facts, upload, caps).await?;
        if created == Created::Stored {
            self.auditor.tell_of_file(Act::BringBack, repository, handle, Some(bytes)).await?;
        }
        Ok(created)
    }

    async fn purge(&self, permit: &PurgePermit, handle: &Handle) -> Result<Purged, StoreError> {
        self.auditor.check()?;
        let (id, at) = (permit.batch().clone(), *handle);
        let batch = self
            .blocking(move |disk| {
                let batch = batch::read(disk, &id)?;
                hide::purge(disk, &id, &at)?;
                Ok::<_, StoreError>(batch)
            })
            .await?;
        self.auditor.tell(Act::Purge, &batch, handle, None).await?;
        Ok(Purged::Gone)
    }

    async fn end_batch(&self, batch: &BatchId) -> Result<(), StoreError> {
        self.auditor.check()?;
        let id = batch.clone();
        self.blocking(move |disk| batch::end(disk, &id)).await
    }

    async fn set_audience(
        &self,
        repository: &RepositoryName,
        key: &FileId,
        audience: Audience,
    ) -> Result<(), StoreError> {
        self.auditor.check()?;
        let handle = Handle::File(FileType::Keys, *key);
        let path = layout::file(repository, &handle);
        self.blocking(move |disk| hide::set_audience(disk, &path, audience)).await?;
        let act = match audience {
            Audience::All => Act::Expose,
            Audience::Maintenance => Act::Conceal,
        };
        self.auditor.tell_of_file(act, repository, &handle, None).await
    }

    async fn amend_received(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        received_ms: u64,
    ) -> Result<(), StoreError> {
        self.auditor.check()?;
        let path = layout::file(repository, handle);
        self.blocking(move |disk| hide::amend_received(disk, &path, received_ms)).await?;
        self.auditor.tell_of_file(Act::AmendReceived, repository, handle, None).await
    }
}

#[cfg(test)]
mod tests;
