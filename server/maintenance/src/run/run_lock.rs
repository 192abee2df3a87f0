//! A run as a whole: that there is one at a time, and whether the last one came to its end.
//!
//! Invariant: safe to lose; the next run then begins anew.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use pawl_config::files::{self, FileError};
use pawl_store::now_ms;
use serde::{Deserialize, Serialize};

use crate::state_file;

/// A run that was cut longer ago is not gone on with: what it did is another night's work.
const RESUMED_WITHIN_MS: u64 = 12 * 60 * 60 * 1000;

/// A run.
#[derive(Debug)]
pub(super) struct RunLock {
    /// Where it is written down; nothing if it is only some steps.
    path: Option<PathBuf>,
    pub(super) began_ms: u64,
    /// Whether it goes on with one that was cut.
    pub(super) resumed: bool,
}

/// What is written down of it.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    began_ms: u64,
    ended: bool,
}

impl RunLock {
    /// Begins one, or goes on with one that was cut.
    pub(super) fn begin(data: &Path) -> Result<Self, FileError> {
        let path = path(data);
        let now_ms = now_ms();
        let cut = state_file::load::<Written>(&path)?.filter(|last| {
            !last.ended && now_ms.checked_sub(last.began_ms).is_some_and(|ago| ago < RESUMED_WITHIN_MS)
        });
        let resumed = cut.is_some();
        let whole = Self { path: Some(path), began_ms: cut.map_or(now_ms, |last| last.began_ms), resumed };
        whole.write(false)?;
        Ok(whole)
    }

    /// Begins one of some steps, of which no other run needs to know.
    pub(super) fn partial() -> Self {
        Self { path: None, began_ms: now_ms(), resumed: false }
    }

    /// Nothing is left of it.
    pub(super) fn end(self) -> Result<(), FileError> {
        self.write(true)
    }

    fn write(&self, ended: bool) -> Result<(), FileError> {
        let Some(path) = &self.path else { return Ok(()) };
        state_file::save(path, &Written { began_ms: self.began_ms, ended })
    }
}

/// When the last run began, if there was one.
pub(crate) fn last_began_ms(data: &Path) -> Result<Option<u64>, FileError> {
    Ok(state_file::load::<Written>(&path(data))?.map(|last| last.began_ms))
}

/// Keeps a second run away as long as it is held; nothing if there is one.
pub(super) fn lock(data: &Path) -> Result<Option<File>, FileError> {
    let directory = directory(data);
    files::make_directory(&directory, 0o700)?;
    let path = directory.join(",lock");
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = open.map_err(|error| FileError::new("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(FileError::new("lock", &path, error)),
    }
}

fn path(data: &Path) -> PathBuf {
    directory(data).join(",run.json") // no name of a repository has a comma
}

fn directory(data: &Path) -> PathBuf {
    state_file::directory(data).join("run")
}
