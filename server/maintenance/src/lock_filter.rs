//! Which locks our own restic sees through private servers, and which indexes it stored there.
//!
//! Invariant: all of them, but while hosts' locks are suspended and those of before are gone: then it sees those that it
//! stored through one of these, whatever facts others have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::Either;
use futures_util::{Stream, TryStreamExt};
use pawl_policy::{
    Caps, Create, CreateRepository, FileId, FileType, Handle, List, Permitted, PrincipalName, Read,
    RemoveLock, RepositoryName, Stat, Usage, locks_are_suspended,
};

use pawl_store::body::Upload;
use pawl_store::either::{EitherFile, EitherStore};
use pawl_store::{AppendStore, CreateError, Created, Entry, Facts, Part, StoreError, UploadContext, now_ms};

/// What is seen of locks. All clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct LockFilter(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Locks that were stored through a server.
    own: BTreeSet<FileId>,
    /// Repositories in which no others are seen, and until when.
    only_own: BTreeMap<RepositoryName, u64>,
    /// Indexes that were stored through a server.
    indexes: BTreeMap<RepositoryName, BTreeSet<FileId>>,
    /// Indexes that are not seen.
    hidden_indexes: BTreeMap<RepositoryName, BTreeSet<FileId>>,
    /// Locks that were not shown.
    ignored: BTreeMap<RepositoryName, BTreeSet<FileId>>,
}

impl LockFilter {
    /// The store as it is seen.
    pub(crate) const fn over(self, store: EitherStore) -> FilteredStore {
        FilteredStore { store, sight: self }
    }

    /// Whether a lock was stored through a server.
    pub(super) fn is_own(&self, id: &FileId) -> bool {
        self.known().own.contains(id)
    }

    /// Lets no other lock of a repository be seen until then.
    pub(super) fn only_own(&self, repository: &RepositoryName, until_ms: u64) {
        self.known().only_own.insert(repository.clone(), until_ms);
    }

    /// The same for longer, where it is so already.
    pub(super) fn prolong(&self, repository: &RepositoryName, until_ms: u64) {
        if let Some(until) = self.known().only_own.get_mut(repository) {
            *until = until_ms;
        }
    }

    /// Lets all locks of a repository be seen again.
    pub(super) fn see_all(&self, repository: &RepositoryName) {
        self.known().only_own.remove(repository);
    }

    /// Locks that were not shown since this was asked last.
    pub(super) fn ignored(&self, repository: &RepositoryName) -> BTreeSet<FileId> {
        self.known().ignored.remove(repository).unwrap_or_default()
    }

    /// Indexes of a repository that were stored through a server.
    pub(crate) fn own_indexes(&self, repository: &RepositoryName) -> BTreeSet<FileId> {
        self.known().indexes.get(repository).cloned().unwrap_or_default()
    }

    /// Lets these indexes of a repository, and no others, not be seen.
    pub(crate) fn hide_indexes(&self, repository: &RepositoryName, ids: BTreeSet<FileId>) {
        self.known().hidden_indexes.insert(repository.clone(), ids);
    }

    /// Whether a file is seen.
    fn lists(&self, repository: &RepositoryName, file_type: FileType, id: FileId) -> bool {
        match file_type {
            FileType::Locks => self.shows(repository, id),
            FileType::Index => {
                let known = self.known();
                known.hidden_indexes.get(repository).is_none_or(|hidden| !hidden.contains(&id))
            }
            FileType::Data | FileType::Keys | FileType::Snapshots => true,
        }
    }

    /// Whether a lock is seen.
    pub(super) fn shows(&self, repository: &RepositoryName, id: FileId) -> bool {
        let mut known = self.known();
        let until_ms = known.only_own.get(repository).copied().unwrap_or(0);
        if known.own.contains(&id) || !locks_are_suspended(until_ms, now_ms()) {
            return true;
        }
        known.ignored.entry(repository.clone()).or_default().insert(id);
        false
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store in which locks are seen so.
#[derive(Debug)]
pub(crate) struct FilteredStore {
    store: EitherStore,
    sight: LockFilter,
}

impl AppendStore for FilteredStore {
    type File = EitherFile;

    async fn list(
        &self,
        permit: Permitted<List>,
    ) -> Result<impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static, StoreError> {
        let List { repository, file_type } = permit.action().clone();
        let batches = self.store.list(permit).await?;
        if !matches!(file_type, FileType::Locks | FileType::Index) {
            return Ok(Either::Left(batches));
        }
        let sight = self.sight.clone();
        Ok(Either::Right(batches.map_ok(move |mut batch| {
            batch.retain(|entry| sight.lists(&repository, file_type, entry.id));
            batch
        })))
    }

    async fn create(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        let created = self.store.create(permit, upload, caps).await?;
        let Create { repository, handle } = permit.action();
        match *handle {
            Handle::File(FileType::Locks, id) => drop(self.sight.known().own.insert(id)),
            Handle::File(FileType::Index, id) => {
                self.sight.known().indexes.entry(repository.clone()).or_default().insert(id);
            }
            _ => {}
        }
        Ok(created)
    }

    // Everything else is as it is.

    async fn survey(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<UploadContext, StoreError> {
        self.store.survey(repository, handle).await
    }

    async fn usage(&self, repository: &RepositoryName) -> Result<Usage, StoreError> {
        self.store.usage(repository).await
    }

    async fn total_usage(&self, principal: &PrincipalName) -> Result<Usage, StoreError> {
        self.store.total_usage(principal).await
    }

    async fn facts(&self, repository: &RepositoryName, handle: &Handle) -> Result<Option<Facts>, StoreError> {
        self.store.facts(repository, handle).await
    }

    async fn all_facts(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> Result<Vec<Facts>, StoreError> {
        self.store.all_facts(repository, file_type).await
    }

    async fn stat(&self, permit: &Permitted<Stat>) -> Result<u64, StoreError> {
        self.store.stat(permit).await
    }

    async fn open(&self, permit: &Permitted<Read>, part: Part) -> Result<EitherFile, StoreError> {
        self.store.open(permit, part).await
    }

    async fn create_repository(&self, permit: &Permitted<CreateRepository>) -> Result<(), StoreError> {
        self.store.create_repository(permit).await
    }

    async fn confirm(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        self.store.confirm(permit, upload, caps).await
    }

    async fn remove_lock(&self, permit: &Permitted<RemoveLock>) -> Result<(), StoreError> {
        self.store.remove_lock(permit).await?;
        // Whoever stores the same bytes again is somebody else.
        self.sight.known().own.remove(&permit.action().id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER_MS: u64 = 10 * 60 * 1000;

    #[test]
    fn locks_of_others_are_out_of_sight_while_a_suspension_holds_and_no_longer() {
        let sight = LockFilter::default();
        let (web1, web2) = ("web1".parse().unwrap(), "web2".parse().unwrap());
        let [own, other] = [1, 2].map(|id| FileId::from_sha256([id; 32]));
        sight.known().own.insert(own);
        let seen = |repository| (sight.shows(repository, own), sight.shows(repository, other));
        sight.prolong(&web1, now_ms() + LATER_MS); // of what never began
        assert_eq!(seen(&web1), (true, true));
        sight.only_own(&web1, now_ms() + LATER_MS);
        assert_eq!((seen(&web1), seen(&web2)), ((true, false), (true, true)));
        sight.prolong(&web1, now_ms() - 1);
        assert_eq!(seen(&web1), (true, true), "hosts may have locked again");
        sight.prolong(&web1, now_ms() + LATER_MS);
        assert_eq!(seen(&web1), (true, false));
        sight.see_all(&web1);
        assert_eq!(seen(&web1), (true, true));
        assert_eq!(sight.ignored(&web1), [other].into());
        assert!(sight.ignored(&web1).is_empty());
    }
}
