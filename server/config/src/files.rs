//! Pawl's own small files: read whole, replaced whole.
//!
//! Invariant: a reader sees the old content or the new, never a part, and what was replaced is on disk. Stored
//! files of repositories never pass through here.

use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::print;

/// How much of a file that is copied is compared at a time.
const COPY_BYTES: usize = 64 << 10;

/// A small file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {cause}", path.display())]
pub struct FileError {
    verb: &'static str,
    path: PathBuf,
    cause: std::io::Error,
}

impl FileError {
    /// Whether the disk is full or read-only.
    #[must_use]
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(
            self.cause.kind(),
            std::io::ErrorKind::StorageFull
                | std::io::ErrorKind::QuotaExceeded
                | std::io::ErrorKind::ReadOnlyFilesystem
        )
    }

    /// The error `cause` on the attempt to `verb` the file.
    #[must_use]
    pub fn new(verb: &'static str, path: &Path, cause: std::io::Error) -> Self {
        Self { verb, path: path.to_owned(), cause }
    }
}

/// Reads a text file; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<String>, FileError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path, error)),
    }
}

/// Makes a directory and those above it, if they are missing. Its entry in the one above is on disk.
pub fn make_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    try_make_directory(path, mode).map_err(|error| FileError::new("make the directory", path, error))
}

fn try_make_directory(path: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let directory = std::fs::File::open(path)?;
    adopt(&directory, parent)?;
    directory.sync_all()?;
    std::fs::File::open(parent)?.sync_all()
}

/// Puts `content` in place of the file, durably.
pub fn replace(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    try_replace(path, content, mode).map_err(|error| FileError::new("write", path, error))
}

#[expect(clippy::disallowed_methods, reason = "replaces Pawl's own state, never a stored file")]
fn try_replace(path: &Path, content: &str, mode: u32) -> std::io::Result<()> {
    let Some(directory) = path.parent() else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(new);
    let written = write_new(&new, directory, content, mode).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new); // what matters is the first error
    }
    written?;
    std::fs::File::open(directory)?.sync_all()
}

#[expect(clippy::disallowed_methods, reason = "removes Pawl's own state, never a stored file")]
fn write_new(new: &Path, directory: &Path, content: &str, mode: u32) -> std::io::Result<()> {
    let _ = std::fs::remove_file(new); // what a run of the same number left
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
    adopt(&file, directory)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Takes room on the disk, an inode and so many bytes, unless there is a file of this name.
pub fn take_room(path: &Path, bytes: u64) -> Result<(), FileError> {
    let failed = |error: std::io::Error| FileError::new("write", path, error);
    let file = match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let taken = match bytes {
        0 => Ok(()),
        bytes => rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes),
    };
    let taken = taken
        .map_err(std::io::Error::from)
        .and_then(|()| path.parent().map_or(Ok(()), |at| adopt(&file, at)));
    if taken.is_err() {
        remove(path)?;
    }
    taken.map_err(failed)
}

/// Removes a file, if it is there.
#[expect(clippy::disallowed_methods, reason = "removes Pawl's own state, never a stored file")]
pub fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::new("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Removes a Unix socket; anything else stays, and is an error.
#[expect(clippy::disallowed_methods, reason = "removes a socket, never a stored file")]
pub fn remove_socket(path: &Path) -> std::io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(std::io::Error::other("there is something else, which is no socket"));
    }
    std::fs::remove_file(path)
}

/// Gives a new file to the owner of its directory, so that `sudo pawl …` leaves nothing that the server cannot read. Where
/// root may give nothing away, as in some containers, the server is root as well, or finds out what it cannot read.
fn adopt(file: &std::fs::File, directory: &Path) -> std::io::Result<()> {
    let (own, above) = (file.metadata()?, std::fs::metadata(directory)?);
    if (own.uid(), own.gid()) == (above.uid(), above.gid()) || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    if own.is_file() && own.nlink() > 1 {
        return Err(std::io::Error::other("it has several names, and could be another's"));
    }
    match std::os::unix::fs::fchown(file, Some(above.uid()), Some(above.gid())) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let (directory, uid) = (directory.display(), above.uid());
            print::warning(&format!(
                "{directory}: what is new there cannot be given to uid {uid}, which owns it ({error}); it stays root's"
            ));
            Ok(())
        }
        given_or_failed => given_or_failed,
    }
}

/// Copies a file under its name into another directory, durably, and returns how many bytes it has. A copy that is there
/// already has to be the same.
pub fn copy(from: &Path, to: &Path) -> Result<u64, FileError> {
    try_copy(from, to).map_err(|error| FileError::new("write the copy", to, error))
}

#[expect(
    clippy::disallowed_methods,
    reason = "gives a copy of Pawl's own state its name, never a stored file"
)]
fn try_copy(from: &Path, to: &Path) -> std::io::Result<u64> {
    let Some(directory) = to.parent() else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    if std::fs::symlink_metadata(to).is_err() {
        let mut new = to.as_os_str().to_owned();
        new.push(format!(".new-{}", std::process::id()));
        let new = PathBuf::from(new);
        let copied = copy_new(from, &new, directory).and_then(|()| std::fs::rename(&new, to));
        if copied.is_err() {
            let _ = std::fs::remove_file(&new); // what matters is the first error
        }
        copied?;
        std::fs::File::open(directory)?.sync_all()?;
    }
    let (original, copy) = (sha256(from)?, sha256(to)?);
    if original != copy {
        return Err(std::io::Error::other(format!(
            "expected the content of {}, found another; name a directory without this file",
            from.display()
        )));
    }
    Ok(original.1)
}

#[expect(clippy::disallowed_methods, reason = "removes Pawl's own state, never a stored file")]
fn copy_new(from: &Path, new: &Path, directory: &Path) -> std::io::Result<()> {
    let _ = std::fs::remove_file(new); // what a run of the same number left
    let mut copy = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o440).open(new)?;
    adopt(&copy, directory)?;
    std::io::copy(&mut std::fs::File::open(from)?, &mut copy)?;
    copy.sync_all()
}

/// The SHA-256 of a file and its size.
fn sha256(path: &Path) -> std::io::Result<([u8; 32], u64)> {
    let (mut file, mut hasher, mut size) = (std::fs::File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hasher.finalize().into(), size));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        size += read as u64;
    }
}

/// Makes a file that must not be there yet, durably. It belongs to whoever runs the command.
pub fn create(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    try_create(path, content, mode).map_err(|error| FileError::new("make the new file", path, error))
}

fn try_create(path: &Path, content: &str, mode: u32) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Makes a file that must not be there yet: whole and durable, or not at all. It belongs to the owner of its directory. The
/// caller keeps others from making it.
pub fn make(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    try_make(path, content, mode).map_err(|error| FileError::new("make the new file", path, error))
}

#[expect(clippy::disallowed_methods, reason = "removes Pawl's own state, never a stored file")]
fn try_make(path: &Path, content: &str, mode: u32) -> std::io::Result<()> {
    let Some(directory) = path.parent() else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let new = unfinished(path);
    let linked = write_new(&new, directory, content, mode).and_then(|()| std::fs::hard_link(&new, path));
    let _ = std::fs::remove_file(&new); // what matters is the first error
    linked?;
    std::fs::File::open(directory)?.sync_all()
}

/// Where a file is until [`make`] has finished it, and after a cut.
#[must_use]
pub fn unfinished(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    new.into()
}

/// What tells one version of a file from the next.
pub type Stamp = (u64, u64, i64, u64, i64, i64, u64);

/// The stamp of the file as it is now; `None` if there is none.
pub fn stamp(path: &Path) -> Result<Option<Stamp>, FileError> {
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(Some((
            stat.st_dev,
            stat.st_ino,
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_size,
            stat.st_ctime,
            stat.st_ctime_nsec,
        ))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(FileError::new("look at", path, error.into())),
    }
}

/// Holds other processes off while a file is read, changed and replaced. Released on drop.
pub fn lock(path: &Path) -> Result<std::fs::File, FileError> {
    try_lock(path).map_err(|error| FileError::new("lock", path, error))
}

fn try_lock(path: &Path) -> std::io::Result<std::fs::File> {
    // No symbolic link: the directory's owner could lead root to another's file, which it would be given below.
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)?;
    if let Some(directory) = path.parent() {
        adopt(&file, directory)?;
    }
    file.lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_whole_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        make(&path, "first", 0o600).unwrap();
        assert!(make(&path, "second", 0o600).is_err());
        assert_eq!(read(&path).unwrap().as_deref(), Some("first"));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_that_lies_in_the_way_leads_nobody_to_anothers_file() {
        let dir = tempfile::tempdir().unwrap();
        let others = dir.path().join("others");
        create(&others, "theirs", 0o600).unwrap();
        let (linked, new) = (dir.path().join("hosts.lock"), dir.path().join("hosts.toml"));
        std::os::unix::fs::symlink(&others, &linked).unwrap();
        assert!(lock(&linked).is_err());
        let waiting = dir.path().join(format!("hosts.toml.new-{}", std::process::id()));
        std::os::unix::fs::symlink(&others, waiting).unwrap();
        replace(&new, "ours", 0o600).unwrap();
        assert_eq!(read(&others).unwrap().as_deref(), Some("theirs"));
        assert_eq!(read(&new).unwrap().as_deref(), Some("ours"));
    }
}
