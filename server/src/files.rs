//! Pawl's own small files: read whole, replaced whole.
//!
//! Invariant: a reader sees the old content or the new, never a part, and what was replaced is on disk. Stored
//! files of repositories never pass through here.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A small file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {cause}", path.display())]
pub struct FileError {
    verb: &'static str,
    path: PathBuf,
    cause: std::io::Error,
}

impl FileError {
    /// The error `cause` on the attempt to `verb` the file.
    #[must_use]
    pub fn new(verb: &'static str, path: &Path, cause: std::io::Error) -> Self {
        Self {
            verb,
            path: path.to_owned(),
            cause,
        }
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

/// Makes a directory and those above it, if they are missing.
pub fn make_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| FileError::new("make the directory", path, error))
}

/// Puts `content` in place of the file, durably.
pub fn replace(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    try_replace(path, content, mode).map_err(|error| FileError::new("write", path, error))
}

#[expect(
    clippy::disallowed_methods,
    reason = "replaces Pawl's own state, never a stored file"
)]
fn try_replace(path: &Path, content: &str, mode: u32) -> std::io::Result<()> {
    let Some(directory) = path.parent() else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(new);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(directory)?.sync_all()
}

/// Holds other processes off while a file is read, changed and replaced. Released on drop.
pub fn lock(path: &Path) -> Result<std::fs::File, FileError> {
    let open = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = open.map_err(|error| FileError::new("open", path, error))?;
    file.lock().map_err(|error| FileError::new("lock", path, error))?;
    Ok(file)
}
