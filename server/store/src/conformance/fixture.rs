//! A store under test, and how to ask it what the frontend would ask.
//!
//! Invariant: every call carries a permit that the policy gave.

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use pawl_policy::{
    Action, Audience, Caps, Context, Create, CreateRepository, Delete, FileId, FileState, FileType, Grant,
    Handle, List, Permit, PrincipalName, Read, RepositoryName, RepositoryState, Role, Stat, decide,
};
use sha2::{Digest, Sha256};

use crate::body::Upload;
use crate::{AppendStore, CreateError, Created, Entry, Part, Span, StoreError, StoredFile};

/// A store, and the place that it needs as long as it is used.
pub(crate) struct Fixture<S, P> {
    pub(crate) store: S,
    pub(crate) place: P,
}

/// What came of sending a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    AlreadyThere,
    BadBody,
    Differs,
    Damaged,
    Failed,
}

/// Bytes that look random and differ by `seed`.
pub(crate) fn content(seed: u8, len: usize) -> Vec<u8> {
    let blocks = (0_u64..).map(|block| Sha256::digest([&block.to_le_bytes()[..], &[seed]].concat()));
    blocks.flatten().take(len).collect()
}

pub(crate) fn id_of(content: &[u8]) -> FileId {
    FileId::from_sha256(Sha256::digest(content).into())
}

pub(crate) fn repository() -> RepositoryName {
    "web1".parse().unwrap()
}

pub(crate) fn principal() -> PrincipalName {
    "host-1".parse().unwrap()
}

/// A permit as the frontend would have it, in circumstances that allow everything.
pub(crate) fn permit(action: Action, file: FileState) -> Permit {
    let grant = Grant { may_add_keys: true, ..Grant::new(action.repository().clone(), Role::Backup) };
    let facts = Context { repository: RepositoryState::Draft, file, ..Context::NOTHING_KNOWN };
    decide(&principal(), &grant, action, &facts).unwrap()
}

/// An upload that arrives in pieces of odd sizes.
pub(crate) fn upload(content: &[u8]) -> Upload {
    let pieces: Vec<_> = content.chunks(40_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Upload::new(Box::pin(stream::iter(pieces)), Some(content.len() as u64))
}

impl<S: AppendStore, P> Fixture<S, P> {
    pub(crate) async fn create_repository(&self) {
        let action = Action::CreateRepository(CreateRepository { repository: repository() });
        let Permit::CreateRepository(permit) = permit(action, FileState::Absent) else { unreachable!() };
        self.store.create_repository(&permit).await.unwrap();
    }

    pub(crate) async fn initialised(&self) {
        self.create_repository().await;
        assert_eq!(self.send(Handle::Config, upload(b"the config")).await, Outcome::Stored);
    }

    pub(crate) async fn create(&self, file_type: FileType, content: &[u8]) -> Outcome {
        self.send(Handle::File(file_type, id_of(content)), upload(content)).await
    }

    pub(crate) async fn send(&self, handle: Handle, mut upload: Upload) -> Outcome {
        let action = Action::Create(Create { repository: repository(), handle });
        let Permit::Create(permit) = permit(action, FileState::Absent) else { unreachable!() };
        outcome(&self.store.create(&permit, &mut upload, &Caps::default()).await)
    }

    pub(crate) async fn confirm(&self, file_type: FileType, content: &[u8]) -> Outcome {
        let handle = Handle::File(file_type, id_of(content));
        let there = FileState::Present { creator: None, age_ms: 0, audience: Audience::All };
        let action = Action::Create(Create { repository: repository(), handle });
        let Permit::Confirm(permit) = permit(action, there) else { unreachable!() };
        outcome(&self.store.confirm(&permit, &mut upload(content), &Caps::default()).await)
    }

    /// The whole file; `None` if it is not there.
    pub(crate) async fn read(&self, file_type: FileType, id: FileId) -> Option<Vec<u8>> {
        self.read_handle(Handle::File(file_type, id), None).await
    }

    /// Opens a file for reading.
    pub(crate) async fn open(&self, file_type: FileType, id: FileId) -> Result<S::File, StoreError> {
        self.open_handle(Handle::File(file_type, id)).await
    }

    async fn open_handle(&self, handle: Handle) -> Result<S::File, StoreError> {
        let action = Action::Read(Read { repository: repository(), handle });
        let Permit::Read(permit) = permit(action, FileState::Absent) else { unreachable!() };
        self.store.open(&permit, Part::Whole).await
    }

    pub(crate) async fn read_handle(&self, handle: Handle, span: Option<Span>) -> Option<Vec<u8>> {
        let file = match self.open_handle(handle).await {
            Ok(file) => file,
            Err(StoreError::NotFound) => return None,
            Err(error) => unreachable!("{error}"),
        };
        let span = span.unwrap_or(Span { start: 0, len: file.size() });
        Some(file.read(span).map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap())
    }

    pub(super) async fn size(&self, handle: Handle) -> Option<u64> {
        let action = Action::Stat(Stat { repository: repository(), handle });
        let Permit::Stat(permit) = permit(action, FileState::Absent) else { unreachable!() };
        self.store.stat(&permit).await.ok()
    }

    /// The listing, sorted; `None` if there is no repository.
    pub(crate) async fn list(&self, file_type: FileType) -> Option<Vec<(FileId, u64)>> {
        let action = Action::List(List { repository: repository(), file_type });
        let Permit::List(permit) = permit(action, FileState::Absent) else { unreachable!() };
        let batches = match self.store.list(permit).await {
            Ok(batches) => batches,
            Err(StoreError::NotFound) => return None,
            Err(error) => unreachable!("{error}"),
        };
        let entries: Vec<Entry> = batches.try_concat().await.unwrap();
        let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.id, entry.size)).collect();
        entries.sort_unstable();
        Some(entries)
    }

    pub(crate) async fn remove_lock(&self, id: FileId) {
        let handle = Handle::File(FileType::Locks, id);
        let action = Action::Delete(Delete { repository: repository(), handle });
        let Permit::RemoveLock(permit) = permit(action, FileState::Absent) else { unreachable!() };
        self.store.remove_lock(&permit).await.unwrap();
    }
}

fn outcome(created: &Result<Created, CreateError>) -> Outcome {
    match created {
        Ok(Created::Stored) => Outcome::Stored,
        Ok(Created::AlreadyThere) => Outcome::AlreadyThere,
        Err(CreateError::Body(_)) => Outcome::BadBody,
        Err(CreateError::Differs) => Outcome::Differs,
        Err(CreateError::Damaged) => Outcome::Damaged,
        Err(CreateError::Store(_)) => Outcome::Failed,
    }
}

pub(crate) fn key() -> Vec<u8> {
    let salt = "A".repeat(86) + "==";
    let data = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB";
    format!(r#"{{"kdf":"scrypt","N":32768,"r":8,"p":5,"salt":"{salt}","data":"{data}"}}"#).into_bytes()
}
