//! How far a repository has come, and how one begins.
//!
//! Invariant: a repository in which a `config`, a snapshot, an index or data ever existed counts as
//! initialised for good, so its keys are never set aside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pawl_policy::{FileId, FileType, Handle, PrincipalName, RepositoryName, RepositoryState};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::facts::{self, Facts};
use super::{directory, layout};

/// How a directory is opened that the frontend looks into as well.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// An initialisation takes seconds; one begun an hour ago is over.
const INITIALISATION_TAKES_MS_MAX: u64 = 60 * 60 * 1000;

/// Finds out how far a repository has come. Changes nothing.
pub fn state(data: BorrowedFd<'_>, repository: &RepositoryName) -> rustix::io::Result<RepositoryState> {
    open(data, repository)?.map_or(Ok(RepositoryState::Absent), |root| state_in(root.as_fd()))
}

/// Opens a repository's directory, if there is one.
fn open(data: BorrowedFd<'_>, repository: &RepositoryName) -> rustix::io::Result<Option<OwnedFd>> {
    match rustix::fs::openat(data, repository.as_str(), DIRECTORY, Mode::empty()) {
        Ok(root) => Ok(Some(root)),
        // Only this is absence. Something else under the name, such as a symbolic link, must not look like it.
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn state_in(root: BorrowedFd<'_>) -> rustix::io::Result<RepositoryState> {
    if exists(root, "config")? || facts::is_initialised(root)? {
        return Ok(RepositoryState::Initialised);
    }
    let mut is_repository = false;
    for file_type in FileType::ALL {
        match rustix::fs::openat(root, file_type.as_str(), DIRECTORY, Mode::empty()) {
            Ok(directory) => {
                is_repository = true;
                let initialises = !matches!(file_type, FileType::Keys | FileType::Locks);
                if initialises && holds_file(directory.as_fd(), file_type)? {
                    return Ok(RepositoryState::Initialised);
                }
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(if is_repository { RepositoryState::Draft } else { RepositoryState::Absent })
}

/// What there was to do to have a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// There was none.
    New,
    /// It was a draft with keys, which were set aside.
    Again,
    /// Nothing.
    Before,
}

/// Makes a repository's directories. A draft's key files of the same creator are set aside, so that an interrupted
/// initialisation can be repeated: restic refuses a new repository that has keys.
pub(crate) fn create(
    data: BorrowedFd<'_>,
    repository: &RepositoryName,
    creator: &PrincipalName,
) -> rustix::io::Result<Begun> {
    let begun = match state(data, repository)? {
        RepositoryState::Absent => Begun::New,
        RepositoryState::Draft if set_keys_aside(data, repository, creator)? => Begun::Again,
        RepositoryState::Draft | RepositoryState::Initialised => Begun::Before,
    };
    for file_type in FileType::ALL {
        directory::open_or_make(data, &layout::type_directory(repository, file_type))?;
    }
    Ok(begun)
}

fn set_keys_aside(
    data: BorrowedFd<'_>,
    repository: &RepositoryName,
    creator: &PrincipalName,
) -> rustix::io::Result<bool> {
    let keys = match directory::open(data, &layout::type_directory(repository, FileType::Keys)) {
        Ok(keys) => keys,
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error),
    };
    let now_ms = facts::now_ms();
    let mut left_over = Vec::new();
    for id in file_ids(keys.as_fd())? {
        if is_left_over(keys.as_fd(), &id, creator, now_ms)? {
            left_over.push(id.to_string());
        }
    }
    if left_over.is_empty() {
        return Ok(false);
    }
    let aside = directory::open_or_make(data, &layout::aside_directory(repository, now_ms))?;
    for name in left_over {
        directory::move_file(&keys, &name, &aside, &name)?;
    }
    rustix::fs::fsync(&aside)?;
    rustix::fs::fsync(&keys)?;
    Ok(true)
}

/// Whether a draft's key comes from an initialisation that is over. Another principal's, stored just now, belongs to
/// one that is under way: taking it would leave a repository without keys.
fn is_left_over(
    keys: BorrowedFd<'_>,
    id: &FileId,
    creator: &PrincipalName,
    now_ms: u64,
) -> rustix::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let facts = Facts::read(rustix::fs::openat(keys, id.to_string(), flags, Mode::empty())?)?;
    let of_another = facts.creator.as_ref().is_some_and(|other| other != creator);
    Ok(!of_another || facts.age_ms(now_ms) >= INITIALISATION_TAKES_MS_MAX)
}

/// Marks the repository as initialised once a file that makes it so was stored.
pub fn note_stored(
    data: BorrowedFd<'_>,
    repository: &RepositoryName,
    handle: &Handle,
) -> rustix::io::Result<()> {
    note_stored_in(directory::open(data, repository.as_str())?.as_fd(), handle)
}

/// The same in a repository whose directory is open.
pub(crate) fn note_stored_in(root: BorrowedFd<'_>, handle: &Handle) -> rustix::io::Result<()> {
    match handle {
        Handle::File(FileType::Keys | FileType::Locks, _) => Ok(()),
        Handle::Config | Handle::File(FileType::Data | FileType::Index | FileType::Snapshots, _) => {
            if facts::is_initialised(root)? {
                return Ok(());
            }
            facts::mark_initialised(root)?;
            rustix::fs::fsync(root)
        }
    }
}

fn exists(directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn holds_file(directory: BorrowedFd<'_>, file_type: FileType) -> rustix::io::Result<bool> {
    if file_type != FileType::Data {
        return Ok(!file_ids(directory)?.is_empty());
    }
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        match rustix::fs::openat(directory, entry.file_name(), DIRECTORY, Mode::empty()) {
            // "." is among them, so a flat `data` directory counts too.
            Ok(inner) if entry.file_name() != c".." && !file_ids(inner.as_fd())?.is_empty() => {
                return Ok(true);
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn file_ids(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<FileId>> {
    let mut ids = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if let Some(id) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
            ids.push(id);
        }
    }
    Ok(ids)
}
