//! A store in memory that notes what reaches it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{Stream, stream};
use pawl_policy::{
    Audience, Caps, Create, CreateRepository, FileType, Handle, List, Permitted, PrincipalName, Read,
    RemoveLock, RepositoryName, RepositoryState, Stat, Usage,
};
use pawl_store::body::{ConfigBody, Upload, VerifiedBody};
use pawl_store::{
    AppendStore, CreateError, Created, Entry, Facts, Part, Span, StoreError, StoredFile, UploadContext,
    now_ms,
};

/// Clones hold the same files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The files of the one repository that there is, `web1`.
    pub(crate) files: BTreeMap<Handle, Vec<u8>>,
    /// What was looked for, asked or done, and where.
    pub(crate) reached: Vec<(RepositoryName, Option<Handle>)>,
}

impl Store {
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    fn reach(&self, repository: &RepositoryName, handle: Option<&Handle>) -> MutexGuard<'_, Held> {
        let mut held = self.held();
        held.reached.push((repository.clone(), handle.copied()));
        held
    }

    fn find(&self, repository: &RepositoryName, handle: &Handle) -> Result<Vec<u8>, StoreError> {
        self.reach(repository, Some(handle)).files.get(handle).cloned().ok_or(StoreError::NotFound)
    }
}

fn known(_: &Vec<u8>) -> Facts {
    Facts { creator: "web1".parse().ok(), received_ms: now_ms(), audience: Audience::All }
}

impl AppendStore for Store {
    type File = Content;

    async fn survey(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<UploadContext, StoreError> {
        let held = self.reach(repository, Some(handle));
        Ok(UploadContext {
            repository: RepositoryState::Initialised,
            file: held.files.get(handle).map(known),
            is_file_known: true,
            tombstone: false,
            locks_suspended_until_ms: None,
            room_bytes: u64::MAX,
        })
    }

    async fn usage(&self, repository: &RepositoryName) -> Result<Usage, StoreError> {
        drop(self.reach(repository, None));
        Ok(Usage { bytes: 0, files: 0 })
    }

    async fn total_usage(&self, _: &PrincipalName) -> Result<Usage, StoreError> {
        Ok(Usage { bytes: 0, files: 0 })
    }

    async fn facts(&self, repository: &RepositoryName, handle: &Handle) -> Result<Option<Facts>, StoreError> {
        Ok(self.reach(repository, Some(handle)).files.get(handle).map(known))
    }

    async fn all_facts(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> Result<Vec<Facts>, StoreError> {
        let held = self.reach(repository, None);
        let of_type = held.files.iter().filter(|(handle, _)| handle.file_type() == Some(file_type));
        Ok(of_type.map(|(_, content)| known(content)).collect())
    }

    async fn stat(&self, permit: &Permitted<Stat>) -> Result<u64, StoreError> {
        let Stat { repository, handle } = permit.action();
        self.find(repository, handle).map(|content| content.len() as u64)
    }

    async fn open(&self, permit: &Permitted<Read>, _: Part) -> Result<Content, StoreError> {
        let Read { repository, handle } = permit.action();
        self.find(repository, handle).map(|content| Content(content.into()))
    }

    async fn list(
        &self,
        permit: Permitted<List>,
    ) -> Result<impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static, StoreError> {
        let List { repository, file_type } = permit.action();
        let held = self.reach(repository, None);
        let entries = held.files.iter().filter_map(|(handle, content)| match handle {
            Handle::File(of, id) if of == file_type => Some(Entry { id: *id, size: content.len() as u64 }),
            Handle::File(..) | Handle::Config => None,
        });
        Ok(stream::iter([Ok(entries.collect())]))
    }

    async fn create_repository(&self, permit: &Permitted<CreateRepository>) -> Result<(), StoreError> {
        drop(self.reach(&permit.action().repository, None));
        Ok(())
    }

    async fn create(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        let Create { repository, handle } = permit.action();
        let mut content = Vec::new();
        match handle {
            Handle::Config => content.extend(ConfigBody::read(upload, caps).await?.content()),
            Handle::File(file_type, id) => {
                let mut body = VerifiedBody::new(upload, *file_type, *id, caps)?;
                while let Some(chunk) = body.next().await? {
                    content.extend(chunk);
                }
            }
        }
        let mut held = self.reach(repository, Some(handle));
        match held.files.get(handle) {
            Some(stored) if *stored == content => Ok(Created::AlreadyThere),
            Some(_) => Err(CreateError::Differs),
            None => {
                held.files.insert(*handle, content);
                Ok(Created::Stored)
            }
        }
    }

    async fn confirm(
        &self,
        permit: &Permitted<Create>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        self.create(permit, upload, caps).await
    }

    async fn remove_lock(&self, permit: &Permitted<RemoveLock>) -> Result<(), StoreError> {
        let RemoveLock { repository, id } = permit.action();
        let handle = Handle::File(FileType::Locks, *id);
        self.reach(repository, Some(&handle)).files.remove(&handle);
        Ok(())
    }
}

/// A file, opened.
#[derive(Debug)]
pub(crate) struct Content(Bytes);

impl StoredFile for Content {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(self, span: Span) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
        let start = usize::try_from(span.start).unwrap();
        let end = start + usize::try_from(span.len).unwrap();
        stream::iter([Ok(self.0.slice(start..end))])
    }
}
