//! A bucket seen by maintenance: files go out of sight behind delete markers, and come back by being stored again.
//!
//! Invariant: nothing here replaces an object, and a version is removed only for a batch that is ripe, if the credential
//! may at all. What acts tells the audit log, through the keeper of maintenance; a store without one can only be read.

mod audience;
mod back;
mod batch;
mod config;
mod copies;
mod hide;
mod histories;
mod lease_timing;
mod lock;
mod lock_ticket;
mod locks;
mod notes;
mod pending;
mod repositories;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, TryStreamExt};
use jiff::civil::Date;
use pawl_keeper::{Act, KeeperClient};
use pawl_policy::{
    Audience, BatchId, Caps, Delete, FileId, FileType, Handle, Permitted, PrincipalName, PurgePermit,
    RepositoryName,
};

use super::{OpenError, S3File, S3Store, names, read};
use crate::auditor::Auditor;
use crate::body::Upload;
use crate::maintenance::{
    Batch, Found, Hid, Hidden, Holders, MaintenanceStore, Place, Purged, PutBackError, Reason,
    UnreadableBatch, Version,
};
use crate::{CreateError, Created, Facts, Observed, StoreError};
use hide::Moved;
pub use lock::MaintenanceLock;
use pending::Pending;

/// Small requests at a time.
const PARALLEL: usize = 16;

/// A bucket, seen by maintenance.
#[derive(Debug, Clone)]
pub struct S3Maintenance {
    store: S3Store,
    auditor: Auditor,
    headers: Arc<batch::Headers>,
    pending: Arc<Pending>,
}

impl S3Maintenance {
    /// The same bucket as `store`, which has a credential of maintenance. What is done there is told to `keeper`, which
    /// is one of maintenance; without one nothing can be done.
    pub fn new(store: S3Store, keeper: Option<KeeperClient>) -> Result<Self, OpenError> {
        if !store.findings.keeps_versions() {
            return Err(OpenError::NoVersions);
        }
        Ok(Self { store, auditor: Auditor::new(keeper), headers: Arc::default(), pending: Arc::default() })
    }

    /// The same, which does not ask what earlier runs have asked. They left the answers in this file.
    #[must_use]
    pub fn remembering(self, file: &Path) -> Self {
        let settings = &self.store.settings;
        let bucket = format!("{:?} {} {}", settings.endpoint, settings.bucket, settings.prefix);
        Self { pending: Arc::new(Pending::recall(file, bucket)), ..self }
    }

    /// The files of a repository that everybody sees, locks apart.
    pub async fn visible(&self, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        self.visible_names(repository).await
    }

    /// Which versions the bucket keeps of these names, whatever batches hold.
    pub async fn kept(
        &self,
        repository: &RepositoryName,
        handles: &BTreeSet<Handle>,
    ) -> Result<Holders, StoreError> {
        let mut holders = Holders::default();
        holders.note_kept(self.histories(repository, handles).await?);
        Ok(holders)
    }

    /// The files whose names lie directly beneath `root`.
    async fn named(&self, root: &str) -> Result<BTreeSet<Handle>, StoreError> {
        let objects = names::all(&self.store, &self.store.settings.bucket, root).await?;
        Ok(objects.iter().filter_map(|object| object.key.strip_prefix(root)?.parse().ok()).collect())
    }
}

impl MaintenanceStore for S3Maintenance {
    type File = S3File;

    async fn repositories(&self) -> Result<Vec<RepositoryName>, StoreError> {
        repositories::beneath(&self.store, String::new()).await
    }

    async fn walk(
        &self,
        repository: &RepositoryName,
    ) -> Result<impl Stream<Item = Result<Vec<Found>, StoreError>> + Send + 'static, StoreError> {
        walk::walk(self, repository).await
    }

    async fn facts(&self, repository: &RepositoryName, handle: &Handle) -> Result<Option<Facts>, StoreError> {
        match self.looked_at(repository, handle).await? {
            Some(head) => Ok(Some(head.facts)),
            None => Ok(self.store.file(repository, handle).await?.map(|head| head.facts)),
        }
    }

    async fn stored_sha256(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Option<FileId>, StoreError> {
        let head = match self.looked_at(repository, handle).await? {
            Some(head) => head,
            None => self.shown(repository, handle).await?.ok_or(StoreError::NotFound)?,
        };
        let decoded = head.checksum.and_then(|checksum| STANDARD.decode(checksum).ok());
        Ok(decoded.and_then(|sha256| sha256.try_into().ok()).map(FileId::from_sha256))
    }

    async fn tombstones(&self, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        self.buried(repository).await
    }

    async fn rescued(&self, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        self.named(&self.store.layout.all_rescued(repository)).await
    }

    async fn newest_received_ms(&self, repository: &RepositoryName) -> Result<Option<u64>, StoreError> {
        let mut newest = None;
        for file_type in [FileType::Index, FileType::Snapshots, FileType::Keys, FileType::Locks] {
            newest = newest.max(self.store.last_received(repository, file_type).await?);
        }
        Ok(newest)
    }

    async fn begin_batch(
        &self,
        repository: &RepositoryName,
        principal: &PrincipalName,
        reason: Reason,
    ) -> Result<Batch, StoreError> {
        self.auditor.check()?;
        self.begin(repository, principal, reason).await
    }

    async fn hide(&self, permit: &Permitted<Delete>, batch: &BatchId) -> Result<Hid, StoreError> {
        self.auditor.check()?;
        let Delete { repository, handle } = permit.action();
        let batch = self.batch_for(batch, repository, Reason::Deleted).await?;
        let moved = self.hide_file(&batch, handle).await?;
        if let Moved::Now { bytes } = moved {
            self.auditor.tell(Act::Hide, &batch, handle, Some(bytes)).await?;
        }
        Ok(moved.into())
    }

    async fn displace(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        batch: &BatchId,
    ) -> Result<Hid, StoreError> {
        self.auditor.check()?;
        let batch = self.batch_for(batch, repository, Reason::Damaged).await?;
        let moved = self.displace_file(&batch, handle).await?;
        if let Moved::Now { bytes } = moved {
            self.auditor.tell(Act::Displace, &batch, handle, Some(bytes)).await?;
        }
        Ok(moved.into())
    }

    async fn batches(&self) -> Result<Vec<Batch>, StoreError> {
        Ok(self.all_batches().await?.into_iter().flatten().collect())
    }

    async fn unreadable_batches(&self) -> Result<Vec<UnreadableBatch>, StoreError> {
        self.unreadable().await
    }

    async fn hidden(
        &self,
        batch: &BatchId,
    ) -> Result<impl Stream<Item = Result<Vec<Hidden>, StoreError>> + Send + 'static, StoreError> {
        let batch = self.batch(batch).await?;
        let pages = self.entries(&batch);
        Ok(pages.map_ok(|page| page.into_iter().map(|(hidden, _)| hidden).collect::<Vec<_>>()))
    }

    async fn note_seen(&self, batch: &BatchId, day: Date) -> Result<(), StoreError> {
        self.auditor.check()?;
        self.see(batch, day).await
    }

    async fn days_seen(&self, batch: &BatchId) -> Result<BTreeSet<Date>, StoreError> {
        self.seen(batch).await
    }

    async fn bring_back(&self, batch: &BatchId, handle: &Handle) -> Result<Created, PutBackError> {
        self.auditor.check()?;
        let batch = self.batch(batch).await?;
        let goods = back::GoodCopy::hidden(self, &batch, handle).await?;
        let (created, bytes) = self.bring(&batch.repository, handle, &goods).await?;
        let shown = self.shown(&batch.repository, handle).await?;
        // A crash after the note and before the marker left it in sight; then, too, the note has had its day.
        let never_went = shown.is_some_and(|shown| shown.version == goods.version);
        if created == Created::Stored || never_went {
            self.take_entry_back(&batch.id, handle).await?;
        }
        if created == Created::Stored {
            self.auditor.tell(Act::BringBack, &batch, handle, Some(bytes)).await?;
        }
        Ok(created)
    }

    async fn versions(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Vec<Version>, StoreError> {
        self.copies(repository, handle, None).await
    }

    async fn holders(
        &self,
        repository: &RepositoryName,
        handles: &BTreeSet<Handle>,
    ) -> Result<Holders, StoreError> {
        self.find_holders(repository, handles).await
    }

    async fn versions_among(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        holders: &Holders,
    ) -> Result<Vec<Version>, StoreError> {
        self.copies(repository, handle, Some(holders)).await
    }

    async fn open_version(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<S3File, StoreError> {
        if *place == Place::Current && self.store.is_aside(repository, handle).await? {
            return Err(StoreError::NotFound);
        }
        let (bucket, key, version) = self.whereabouts(repository, handle, place).await?;
        read::open_version(&self.store, &bucket, &key, version).await
    }

    async fn put_back(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        place: &Place,
    ) -> Result<Created, PutBackError> {
        self.auditor.check()?;
        if let Place::Hidden(batch) = place {
            return self.bring_back(batch, handle).await;
        }
        copies::refuse_aside(handle, place)?;
        let goods = self.goods(repository, handle, place).await?;
        let (created, bytes) = self.bring(repository, handle, &goods).await?;
        if *place == Place::Rescued {
            self.forget_rescued(repository, handle).await?;
        }
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
        match self.must_be_there(repository).await {
            // It vanished as a whole, and this is its first file again.
            Err(StoreError::NotFound) => {
                self.store.mark(&self.store.layout.repository(repository)).await?;
            }
            looked => looked?,
        }
        let created = self.place(repository, handle, facts, None, upload, caps).await?;
        if created == Created::Stored {
            self.auditor
                .tell_of_file(Act::BringBack, repository, handle, Some(upload.received_bytes()))
                .await?;
        }
        Ok(created)
    }

    async fn purge(&self, permit: &PurgePermit, handle: &Handle) -> Result<Purged, StoreError> {
        self.auditor.check()?;
        let batch = self.batch(permit.batch()).await?;
        let purged = self.purge_file(&batch, handle).await?;
        if purged == Purged::Gone {
            self.auditor.tell(Act::Purge, &batch, handle, None).await?;
        }
        Ok(purged)
    }

    async fn end_batch(&self, batch: &BatchId) -> Result<(), StoreError> {
        self.auditor.check()?;
        self.end(batch).await
    }

    async fn set_audience(
        &self,
        repository: &RepositoryName,
        key: &FileId,
        audience: Audience,
    ) -> Result<(), StoreError> {
        self.auditor.check()?;
        self.change_audience(repository, *key, audience).await?;
        let act = match audience {
            Audience::All => Act::Expose,
            Audience::Maintenance => Act::Conceal,
        };
        self.auditor.tell_of_file(act, repository, &Handle::File(FileType::Keys, *key), None).await
    }

    /// The store's own time stands in for one that is ahead of it.
    async fn amend_received(&self, _: &RepositoryName, handle: &Handle, _: u64) -> Result<(), StoreError> {
        Err(StoreError::Unavailable(format!(
            "{handle} was received in the future by this machine's clock, and not by the store's; set the clock"
        )))
    }
}
