//! A directory in restic's own layout, read by the frontend and written through the keeper.
//!
//! Invariant: a [`LocalStore`] opens files for reading only. It creates, names and removes nothing itself; what moves
//! files is [`LocalMaintenance`], which no frontend has.

mod create;
mod list;
mod maintain;
mod observe;
mod read;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use futures_util::Stream;
use pawl_keeper::{Account, KeeperClient, KeeperError, commit::HIDDEN_MODE, layout, repository_state};
use pawl_policy::{
    Caps, Create, CreateRepository, FileId, FileType, Handle, List, Permitted, PrincipalName, Read,
    RemoveLock, RepositoryName, RepositoryState, Stat, Usage,
};
use pawl_policy::{RESERVE_BYTES_MAX, RESERVE_FILES_MAX, RESERVE_PARTS};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::locks::end_of_suspension;
use super::{AppendStore, CreateError, Created, Entry, Facts, Part, Space, StoreError, UploadContext};
use crate::body::Upload;
pub use maintain::LocalMaintenance;
pub use read::LocalFile;

/// A store in a local directory.
#[derive(Debug, Clone)]
pub struct LocalStore {
    data: Arc<OwnedFd>,
    keeper: KeeperClient,
    /// Stored files that are hashed at a time, each for up to 4 GiB.
    hashing: Arc<Semaphore>,
}

/// Half of a small machine, and no more of the disk than two readers take.
const HASHING_MAX: usize = 2;

impl LocalStore {
    /// The store in the directory `data`, written through `keeper`.
    pub fn open(data: &Path, keeper: KeeperClient) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let data = Arc::new(rustix::fs::openat(CWD, data, flags, Mode::empty())?);
        Ok(Self { data, keeper, hashing: Arc::new(Semaphore::new(HASHING_MAX)) })
    }

    /// Looks at a few files. Not by another thread: what is looked at is most often in memory, and then handing it over
    /// would take several times as long. There are threads enough to go on where the disk has to be waited for.
    fn look<T>(&self, look: impl FnOnce(&OwnedFd) -> Result<T, StoreError>) -> Result<T, StoreError> {
        look(&self.data)
    }

    /// Runs `work`, which waits for the disk, where waiting is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&OwnedFd) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let data = Arc::clone(&self.data);
        join(tokio::task::spawn_blocking(move || work(&data)).await)
    }
}

/// The result of blocking work; a panic in it is an error, not an answer.
fn join<T>(joined: Result<Result<T, StoreError>, tokio::task::JoinError>) -> Result<T, StoreError> {
    joined.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
}

/// Not blocking, in case that somebody put a FIFO there.
const READING: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens a regular file beneath DATA for reading.
fn open_file(data: impl AsFd, path: &str) -> Result<std::fs::File, StoreError> {
    let file = rustix::fs::openat(data, path, READING, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(StoreError::NotFound);
    }
    Ok(std::fs::File::from(file))
}

fn stat_file(data: impl AsFd, path: &str) -> Result<u64, StoreError> {
    let stat = rustix::fs::statat(data, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(StoreError::NotFound);
    }
    u64::try_from(stat.st_size).map_err(|_| StoreError::Unavailable("negative size".to_owned()))
}

/// What is known of a file. Where the keeper has a user of its own, a key that it hides cannot even be read here.
fn facts(data: impl AsFd, path: &str) -> Result<Option<Facts>, StoreError> {
    let data = data.as_fd();
    match open_file(data, path) {
        Ok(file) => Ok(Some(Facts::read(&file)?)),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => match rustix::fs::statat(data, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_hidden(stat.st_mode) => Ok(Some(Facts::of_hidden())),
            _ => Err(error),
        },
    }
}

fn is_hidden(mode: u32) -> bool {
    rustix::fs::FileType::from_raw_mode(mode).is_file() && Mode::from_raw_mode(mode) == HIDDEN_MODE
}

/// How much room there is in a directory.
pub fn space_of(data: &Path) -> Result<Space, StoreError> {
    space(&rustix::fs::openat(
        CWD,
        data,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn space(data: &OwnedFd) -> Result<Space, StoreError> {
    let stat = rustix::fs::fstatvfs(data)?;
    let (free_bytes, size_bytes) =
        (stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize));
    let room_bytes = free_bytes.saturating_sub(RESERVE_BYTES_MAX.min(size_bytes / RESERVE_PARTS));
    // A file system that makes inodes as they are needed says that it has none.
    let reserve_files = RESERVE_FILES_MAX.min(stat.f_files / RESERVE_PARTS);
    let lacks_inodes = stat.f_files > 0 && stat.f_favail <= reserve_files;
    Ok(Space { free_bytes, room_bytes: if lacks_inodes { 0 } else { room_bytes }, size_bytes, lacks_inodes })
}

fn exists(data: &OwnedFd, path: &str) -> Result<bool, StoreError> {
    match rustix::fs::statat(data, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Until when maintenance has suspended the making of locks.
fn locks_suspended_until(data: &OwnedFd, repository: &RepositoryName) -> Result<Option<u64>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let marks = match rustix::fs::openat(data, layout::suspension(repository), flags, Mode::empty()) {
        Ok(marks) => marks,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut until_ms = None;
    for entry in Dir::read_from(&marks)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if !matches!(&*name, "." | "..") {
            until_ms = until_ms.max(Some(end_of_suspension(&name)?));
        }
    }
    Ok(until_ms)
}

impl AppendStore for LocalStore {
    type File = LocalFile;

    async fn survey(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<UploadContext, StoreError> {
        self.look(|data| {
            Ok(UploadContext {
                repository: repository_state(data.as_fd(), repository)?,
                file: facts(data, &layout::file(repository, handle))?,
                is_file_known: true,
                tombstone: exists(data, &layout::tombstone(repository, handle))?,
                locks_suspended_until_ms: match handle.file_type() {
                    Some(FileType::Locks) => locks_suspended_until(data, repository)?,
                    _ => None,
                },
                room_bytes: space(data)?.room_bytes,
            })
        })
    }

    async fn usage(&self, repository: &RepositoryName) -> Result<Usage, StoreError> {
        Ok(self.keeper.usage(Account::Repository(repository.clone())).await?)
    }

    async fn total_usage(&self, principal: &PrincipalName) -> Result<Usage, StoreError> {
        Ok(self.keeper.usage(Account::Principal(principal.clone())).await?)
    }

    async fn facts(&self, repository: &RepositoryName, handle: &Handle) -> Result<Option<Facts>, StoreError> {
        let path = layout::file(repository, handle);
        self.look(|data| facts(data, &path))
    }

    async fn all_facts(
        &self,
        repository: &RepositoryName,
        file_type: FileType,
    ) -> Result<Vec<Facts>, StoreError> {
        let path = layout::type_directory(repository, file_type);
        self.blocking(move |data| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = match rustix::fs::openat(data, &path, flags, Mode::empty()) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let mut all = Vec::new();
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                let Some(id) = entry.file_name().to_str().ok().and_then(|name| name.parse::<FileId>().ok())
                else {
                    continue;
                };
                match facts(&directory, &id.to_string()) {
                    Ok(Some(facts)) => all.push(facts),
                    Ok(None) => {} // removed meanwhile
                    Err(error) => return Err(error),
                }
            }
            Ok(all)
        })
        .await
    }

    async fn stat(&self, permit: &Permitted<Stat>) -> Result<u64, StoreError> {
        let path = layout::file(&permit.action().repository, &permit.action().handle);
        self.look(|data| stat_file(data, &path))
    }

    async fn open(&self, permit: &Permitted<Read>, _part: Part) -> Result<LocalFile, StoreError> {
        let path = layout::file(&permit.action().repository, &permit.action().handle);
        self.look(|data| LocalFile::new(open_file(data, &path)?))
    }

    async fn list(
        &self,
        permit: Permitted<List>,
    ) -> Result<impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static, StoreError> {
        let repository = permit.action().repository.clone();
        match self.blocking(move |data| Ok(repository_state(data.as_fd(), &repository)?)).await? {
            RepositoryState::Absent => Err(StoreError::NotFound),
            RepositoryState::Draft | RepositoryState::Initialised => {
                Ok(list::entries(Arc::clone(&self.data), permit))
            }
        }
    }

    async fn create_repository(&self, permit: &Permitted<CreateRepository>) -> Result<(), StoreError> {
        Ok(self.keeper.create_repository(&permit.action().repository, permit.principal()).await?)
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
        Ok(self
            .keeper
            .remove_lock(&permit.action().repository, permit.action().id, permit.principal())
            .await?)
    }
}

impl From<Errno> for StoreError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::NotFound,
            // Not absence, which restic would take for "empty", but a store that is not as it should be.
            Errno::NOTDIR | Errno::LOOP => {
                Self::Unavailable(format!("{error}: a symbolic link, or no directory"))
            }
            Errno::NOSPC | Errno::DQUOT => Self::Full,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        error.raw_os_error().map_or_else(
            || Self::Unavailable(error.to_string()),
            |code| Self::from(Errno::from_raw_os_error(code)),
        )
    }
}

impl From<KeeperError> for StoreError {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::NotFound => Self::NotFound,
            KeeperError::Full => Self::Full,
            KeeperError::NameTaken(_) | KeeperError::Failed(_) | KeeperError::Gone => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests;
