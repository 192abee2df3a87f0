//! Moving the old files of a log to another directory.
//!
//! Invariant: a file is removed after its copy is whole and on disk, and after the checkpoint that names its last record is
//! on disk. Whatever stops the move, the log verifies, and the next move goes on.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pawl_config::files::{self, FileError};

use super::{Broken, Checkpoint, Head, Line, Log, verify_whole};

/// The archive is as private as the log.
const DIRECTORY_MODE: u32 = 0o750;

/// Why nothing was archived, or not all.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The log is not what was written.
    #[error("nothing was archived, for the log is not what was written: {0}")]
    Broken(#[from] Broken),
    /// A file could not be copied or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory of the log cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The log's own directory.
        path: PathBuf,
        /// As the system says it.
        cause: std::io::Error,
    },
    /// Somebody reads the log.
    #[error(
        "{}: another process reads the log, so that no file was removed; run the command again when it has ended",
        path.display()
    )]
    Read {
        /// The log's own directory.
        path: PathBuf,
    },
}

/// What was archived of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Files that were moved.
    pub files: usize,
    /// What these take on the disk, in bytes.
    pub bytes: u64,
    /// The last record of them.
    pub last: Option<Head>,
}

/// A file of the log, with the files before it that hold nothing but a line that a crash cut.
struct Part {
    path: PathBuf,
    last: Head,
    newest: Timestamp,
}

/// Moves the files of the log in `directory` to the directory `to`: those of which all records are from before this moment
/// and have a number up to `told`, and which another file follows.
pub fn archive(
    directory: &Path,
    to: &Path,
    before: Timestamp,
    told: Option<u64>,
) -> Result<Archived, ArchiveError> {
    let unreadable = |cause| ArchiveError::Unreadable { path: directory.to_owned(), cause };
    let log = Log::open(directory).map_err(unreadable)?;
    let mut parts = Vec::<Part>::new();
    verify_whole(&log, None, |path, line, hash| note(&mut parts, path, &line, hash))?;
    let is_old = |part: &&Part| part.newest < before && told.is_none_or(|told| part.last.number <= told);
    let old = parts.split_last().map_or(&[][..], |(_, closed)| closed);
    let old: Vec<_> = old.iter().take_while(is_old).collect();
    let (Some(last), Some(newest)) = (old.last(), old.iter().map(|part| part.newest).max()) else {
        return Ok(Archived::default());
    };
    files::make_directory(to, DIRECTORY_MODE)?;
    let end = log.files.iter().position(|path| *path == last.path).map_or(0, |at| at + 1);
    let moved: Vec<_> = log.files.iter().take(end).cloned().collect();
    let mut archived = Archived { files: moved.len(), bytes: 0, last: Some(last.last.clone()) };
    for path in &moved {
        archived.bytes += files::copy(path, &to.join(path.file_name().unwrap_or_default()))?;
    }
    drop(log);
    let _alone = alone(directory)?;
    let known = Checkpoint::read(directory)?;
    if known.is_none_or(|known| known.number < last.last.number) {
        Checkpoint::new(last.last.clone(), newest, to).write(directory)?;
    }
    // The oldest first: what is left is a chain up to the checkpoint, and goes on behind it.
    for path in &moved {
        files::remove(path)?;
    }
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(unreadable)?;
    Ok(archived)
}

/// Notes a record of a file. One whose time cannot be read is none of ours, and as old as the others.
fn note(parts: &mut Vec<Part>, path: &Path, line: &Line, hash: &str) {
    let time = line.time.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let last = Head { number: line.number, hash: hash.to_owned() };
    match parts.last_mut() {
        Some(part) if part.path == path => (part.last, part.newest) = (last, part.newest.max(time)),
        _ => parts.push(Part { path: path.to_owned(), last, newest: time }),
    }
}

/// Keeps others from reading the log as long as the file is open.
fn alone(directory: &Path) -> Result<File, ArchiveError> {
    let opened = File::open(directory);
    let opened = opened.map_err(|cause| ArchiveError::Unreadable { path: directory.to_owned(), cause })?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::Read { path: directory.to_owned() }),
        Err(TryLockError::Error(cause)) => {
            Err(ArchiveError::Unreadable { path: directory.to_owned(), cause })
        }
    }
}
