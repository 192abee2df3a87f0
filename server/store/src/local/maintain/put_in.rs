//! Storing a file that comes from elsewhere, with the facts that it had.
//!
//! Invariant: what gets a name came out of a verified body, in full, and was synced first; the name was free.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use pawl_keeper::commit::seal_with;
use pawl_keeper::staging::{Staged, Staging};
use pawl_keeper::{directory, layout, note_stored};
use pawl_policy::{Caps, Handle, RepositoryName};
use rustix::io::Errno;

use super::{Disk, LocalMaintenance, back, hide};
use crate::body::{ConfigBody, Upload, VerifiedBody};
use crate::maintenance::PutBackError;
use crate::{CreateError, Created, Facts, StoreError};

/// Stores the file, unless its name is taken; then compares.
pub(super) async fn put_in(
    store: &LocalMaintenance,
    repository: &RepositoryName,
    handle: &Handle,
    facts: &Facts,
    upload: &mut Upload,
    caps: &Caps,
) -> Result<(Created, u64), CreateError> {
    let (writer, staged) = store.blocking(open).await?;
    let writer = Arc::new(File::from(writer));
    let bytes = match *handle {
        Handle::Config => {
            let body = ConfigBody::read(upload, caps).await?;
            write(store, &writer, body.content().clone(), 0).await?
        }
        Handle::File(file_type, id) => {
            let mut body = VerifiedBody::new(upload, file_type, id, caps)?;
            let mut offset = 0;
            while let Some(chunk) = body.next().await? {
                offset = write(store, &writer, chunk, offset).await?;
            }
            offset
        }
    };
    let (repository, handle, facts) = (repository.clone(), *handle, facts.clone());
    let created = store
        .blocking(move |disk| {
            writer.sync_data().map_err(StoreError::from)?;
            drop(writer);
            publish(disk, &staged, &repository, &handle, &facts)
        })
        .await?;
    Ok((created, bytes))
}

fn open(disk: &Disk) -> Result<(OwnedFd, Staged), StoreError> {
    let staging = Staging::beside(disk.data.as_fd(), layout::MAINTENANCE_STAGING)?;
    Ok(staging.open()?)
}

/// Writes a chunk and says where the next one goes.
async fn write(
    store: &LocalMaintenance,
    file: &Arc<File>,
    chunk: Bytes,
    offset: u64,
) -> Result<u64, StoreError> {
    let file = Arc::clone(file);
    store
        .blocking(move |_| {
            file.write_all_at(&chunk, offset)?;
            Ok(offset + chunk.len() as u64)
        })
        .await
}

fn publish(
    disk: &Disk,
    staged: &Staged,
    repository: &RepositoryName,
    handle: &Handle,
    facts: &Facts,
) -> Result<Created, CreateError> {
    let failed = |error: Errno| CreateError::Store(error.into());
    seal_with(staged, handle, facts).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let into = directory::open_or_make(&disk.data, &layout::directory(repository, handle)).map_err(failed)?;
    let bytes = staged.file().metadata().map_err(StoreError::from)?.len();
    hide::exhume(disk, repository, handle)?;
    let publish = || staged.publish(&into, &layout::file_name(handle));
    if let Err(error) = back::counted(disk, repository, handle, facts.creator.as_ref(), bytes, publish) {
        if error != Errno::EXIST {
            return Err(failed(error));
        }
        return back::compare(disk, repository, handle, staged.file()).map_err(|error| match error {
            PutBackError::Store(error) => error.into(),
            PutBackError::Damaged => CreateError::Damaged,
            PutBackError::Occupied if *handle == Handle::Config => CreateError::Differs,
            PutBackError::Occupied => CreateError::Damaged,
        });
    }
    let synced = rustix::fs::fsync(staged.file()).and_then(|()| rustix::fs::fsync(&into));
    synced.and_then(|()| note_stored(disk.data.as_fd(), repository, handle)).map_err(failed)?;
    Ok(Created::Stored)
}
