//! The files of an audit log, and the checkpoint that stands for those that were archived.
//!
//! Invariant: while a [`Log`] lives, no file of it is removed: who archives waits until nobody reads.

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pawl_config::files::{self, FileError};
use pawl_config::format::Version;
use serde::{Deserialize, Serialize};

use super::Head;

/// The two logs, as [`super::directories`] orders them.
pub const LOGS: [&str; 2] = ["hosts", "maintenance"];

const CHECKPOINT: &str = "checkpoint.json";
/// It tells no more than the log does.
const CHECKPOINT_MODE: u32 = 0o640;

/// The last record that was archived: what is left of the log follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    #[serde(default)]
    version: Version<1>,
    /// The number of that record.
    pub number: u64,
    /// Its SHA-256 in hexadecimal.
    pub hash: String,
    /// The latest time that an archived record bears.
    pub time: Timestamp,
    /// When it was archived.
    pub archived: Timestamp,
    /// Into which directory.
    pub to: PathBuf,
}

impl Checkpoint {
    /// The record `last`, archived into `to` now.
    #[must_use]
    pub fn new(last: Head, time: Timestamp, to: &Path) -> Self {
        let Head { number, hash } = last;
        Self { version: Version, number, hash, time, archived: Timestamp::now(), to: to.to_owned() }
    }

    /// The checkpoint of the log in this directory; nothing if nothing was archived.
    pub fn read(directory: &Path) -> Result<Option<Self>, FileError> {
        let path = directory.join(CHECKPOINT);
        let Some(text) = files::read(&path)? else { return Ok(None) };
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|error| FileError::new("understand", &path, error.into()))
    }

    /// Writes it into the directory of the log.
    pub fn write(&self, directory: &Path) -> Result<(), FileError> {
        let path = directory.join(CHECKPOINT);
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| FileError::new("write", &path, error.into()))?;
        files::replace(&path, &format!("{text}\n"), CHECKPOINT_MODE)
    }
}

/// The files of a log, in order.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    /// Their paths.
    pub files: Vec<PathBuf>,
    /// Whether the files that were archived are among them.
    pub has_archive: bool,
    /// Shared with others who read.
    _reading: Option<File>,
}

impl Log {
    /// Finds the files of the log in this directory.
    pub fn open(directory: &Path) -> std::io::Result<Self> {
        let reading = File::open(directory).ok();
        if let Some(reading) = &reading {
            // Where a file system has no locks, a file that is archived meanwhile is an error.
            let _ = reading.lock_shared();
        }
        let directory = directory.to_owned();
        Ok(Self { files: files_in(&directory)?, directory, has_archive: false, _reading: reading })
    }

    /// Puts the files of an archive in front.
    pub fn with_archive(mut self, directories: &[PathBuf]) -> std::io::Result<Self> {
        for directory in directories {
            for path in files_in(directory)? {
                // A crash while files were archived left both.
                self.files.retain(|kept| kept.file_name() != path.file_name());
                self.files.push(path);
            }
        }
        self.files.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        self.has_archive = !directories.is_empty();
        Ok(self)
    }

    /// All files of the log, the oldest first.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The last record that was archived.
    pub fn archived(&self) -> Result<Option<Head>, FileError> {
        let checkpoint = Checkpoint::read(&self.directory)?;
        Ok(checkpoint.map(|Checkpoint { number, hash, .. }| Head { number, hash }))
    }
}

/// All files of a log that are in this directory, in order.
fn files_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
