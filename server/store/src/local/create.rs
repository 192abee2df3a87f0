//! Storing a file, and comparing one that is sent again.
//!
//! Invariant: what is committed came out of a verified body, in full; the keeper syncs it before it has its name.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use pawl_keeper::{KeeperError, StagedFile, layout};
use pawl_policy::{Caps, Create, FileId, Handle, Permitted};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::{LocalStore, join, open_file};
use crate::body::{CHUNK_BYTES, ConfigBody, Upload, VerifiedBody};
use crate::{CreateError, Created, StoreError};

/// So much is synced here first: the keeper has few threads, and a host's large files are not to keep them all waiting.
const LARGE_BYTES: u64 = 64 << 20;

/// Stores the file, unless its name is taken; then compares.
pub(super) async fn create(
    store: &LocalStore,
    permit: &Permitted<Create>,
    upload: &mut Upload,
    caps: &Caps,
) -> Result<Created, CreateError> {
    let mut draft = store.keeper.draft().await.map_err(StoreError::from)?;
    let config = match permit.action().handle {
        Handle::Config => {
            let body = ConfigBody::read(upload, caps).await?;
            fill_config(&mut draft, &body)?;
            Some(body)
        }
        Handle::File(file_type, id) => {
            fill(&mut draft, &mut VerifiedBody::new(upload, file_type, id, caps)?).await?;
            None
        }
    };
    let Create { repository, handle } = permit.action();
    match store.keeper.commit(draft, repository, handle, permit.principal()).await {
        Ok(()) => Ok(Created::Stored),
        Err(KeeperError::NameTaken(draft)) => match config {
            Some(body) => compare_config(store, permit, &body).await,
            None if stored_copy_is_good(store, permit).await? => Ok(Created::AlreadyThere),
            None => rescue(store, permit, draft).await,
        },
        Err(error) => Err(StoreError::from(error).into()),
    }
}

/// Compares what was sent with what is stored. If the stored copy is damaged, what was sent is kept aside.
///
/// The body comes first: whoever makes the server read a stored file has to send as much.
pub(super) async fn confirm(
    store: &LocalStore,
    permit: &Permitted<Create>,
    upload: &mut Upload,
    caps: &Caps,
) -> Result<Created, CreateError> {
    let Handle::File(file_type, id) = permit.action().handle else {
        let body = ConfigBody::read(upload, caps).await?;
        return compare_config(store, permit, &body).await;
    };
    let mut body = VerifiedBody::new(upload, file_type, id, caps)?;
    let kept = keep_if_there_is_room(store, &mut body).await?;
    if stored_copy_is_good(store, permit).await? {
        return Ok(Created::AlreadyThere);
    }
    match kept {
        Some(draft) => rescue(store, permit, draft).await,
        None => Err(StoreError::Full.into()),
    }
}

/// Writes the body to a draft, which is given up if the disk is full; the body is read and verified all the same.
async fn keep_if_there_is_room(
    store: &LocalStore,
    body: &mut VerifiedBody<'_>,
) -> Result<Option<StagedFile>, CreateError> {
    let filled = match store.keeper.draft().await {
        Ok(mut draft) => fill(&mut draft, body).await.map(|()| draft),
        Err(error) => Err(StoreError::from(error).into()),
    };
    match filled {
        Ok(draft) => Ok(Some(draft)),
        Err(CreateError::Store(StoreError::Full)) => {
            body.verify().await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Writes the body to the draft and closes every writing end, which the keeper insists on. It is the keeper that syncs.
///
/// This is done here and not by another thread: what is written goes into memory, and handing a chunk over takes longer
/// than writing it. Where the disk is so slow that a write has to wait, other threads of the runtime go on.
async fn fill(draft: &mut StagedFile, body: &mut VerifiedBody<'_>) -> Result<(), CreateError> {
    let file = draft.file().ok_or_else(closed)?;
    let mut offset = 0;
    while let Some(chunk) = body.next().await? {
        file.write_all_at(&chunk, offset).map_err(StoreError::from)?;
        offset += chunk.len() as u64;
    }
    if offset >= LARGE_BYTES {
        let large = Arc::clone(&file);
        join(tokio::task::spawn_blocking(move || Ok(large.sync_data()?)).await)?;
    }
    draft.close();
    Ok(())
}

fn fill_config(draft: &mut StagedFile, body: &ConfigBody) -> Result<(), CreateError> {
    let file = draft.file().ok_or_else(closed)?;
    file.write_all_at(body.content(), 0).map_err(StoreError::from)?;
    draft.close();
    Ok(())
}

fn closed() -> StoreError {
    StoreError::Unavailable("the draft is closed".to_owned())
}

/// Whether the stored file still hashes to its name. If so, it is durable as well: whoever stored it may have been
/// stopped before it was.
async fn stored_copy_is_good(store: &LocalStore, permit: &Permitted<Create>) -> Result<bool, CreateError> {
    let Create { repository, handle } = permit.action();
    let Handle::File(_, id) = *handle else {
        return Err(StoreError::Unavailable("config has no id".to_owned()).into());
    };
    let (path, directory) = (layout::file(repository, handle), layout::directory(repository, handle));
    let _turn = store.hashing.acquire().await.map_err(|_| closed())?;
    let checked = store.blocking(move |data| {
        let file = open_file(data, &path)?;
        match hash(&file) {
            Ok(hash) if hash == id => sync(data, &file, &directory).map(|()| true),
            Ok(_) => Ok(false),
            // The disk itself says that it cannot give the bytes back.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(false),
            Err(error) => Err(error.into()),
        }
    });
    Ok(checked.await.map_err(vanished)?)
}

fn sync(data: &OwnedFd, file: &File, directory: &str) -> Result<(), StoreError> {
    file.sync_all()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::fsync(rustix::fs::openat(data, directory, flags, Mode::empty())?)?)
}

/// The name was taken a moment ago. That it is free now, or held by what is no file, is not "not found".
fn vanished(error: StoreError) -> StoreError {
    match error {
        StoreError::NotFound => StoreError::Unavailable("the name was taken, but not by a file".to_owned()),
        other => other,
    }
}

/// The SHA-256 of a file's content.
pub(super) fn hash(file: &File) -> std::io::Result<FileId> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut hash = Sha256::new();
    let mut offset = 0;
    loop {
        let len = file.read_at(&mut chunk, offset)?;
        if len == 0 {
            return Ok(FileId::from_sha256(hash.finalize().into()));
        }
        hash.update(chunk.get(..len).unwrap_or_default());
        offset += len as u64;
    }
}

async fn rescue(
    store: &LocalStore,
    permit: &Permitted<Create>,
    draft: StagedFile,
) -> Result<Created, CreateError> {
    let Create { repository, handle } = permit.action();
    tracing::error!(%repository, file = %handle, "the stored copy does not hash to its name; good bytes are kept");
    let rescued = store.keeper.rescue(draft, repository, handle, permit.principal()).await;
    rescued.map_err(StoreError::from)?;
    Err(CreateError::Damaged)
}

async fn compare_config(
    store: &LocalStore,
    permit: &Permitted<Create>,
    body: &ConfigBody,
) -> Result<Created, CreateError> {
    let Create { repository, handle } = permit.action();
    let (path, directory) = (layout::file(repository, handle), layout::directory(repository, handle));
    let stored = store.blocking(move |data| {
        let file = open_file(data, &path)?;
        let len = file.metadata()?.len().min(Caps::IN_MEMORY_BYTES_MAX + 1);
        let mut content = vec![0; usize::try_from(len).unwrap_or_default()];
        file.read_exact_at(&mut content, 0)?;
        sync(data, &file, &directory)?;
        Ok(content)
    });
    let stored = stored.await.map_err(vanished)?;
    if stored == body.content().as_ref() { Ok(Created::AlreadyThere) } else { Err(CreateError::Differs) }
}
