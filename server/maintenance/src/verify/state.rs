//! What verification remembers: when which part was last read, and what is damaged. A small readable file for each
//! repository.
//!
//! Invariant: it is safe to lose. Without it everything counts as never read, and damage is found again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pawl_config::files::{self, FileError};
use pawl_policy::{FileId, Handle, RepositoryName};
use pawl_store::now_ms;
use serde::{Deserialize, Serialize};

use super::finding::{Finding, Severity};
use crate::state_file::{self, load, save};

/// What is remembered of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// When it was first verified.
    #[serde(default)]
    since: String,
    /// By the first two digits of their ids: when the reading of these files last began that came to its end.
    #[serde(default)]
    read: BTreeMap<String, String>,
    /// The SHA-256 of its config, since it was first seen good.
    #[serde(default)]
    pub(crate) config: Option<String>,
    /// What is damaged, by the file's name.
    #[serde(default)]
    pub(crate) damaged: BTreeMap<String, Finding>,
    /// Damaged files without a good copy that were set aside, and that the repaired index does not name any more.
    #[serde(default)]
    pub(crate) set_aside: BTreeSet<String>,
    /// What else the last verification found, notes aside; nothing if none has written it down.
    #[serde(default)]
    pub(crate) found: Option<Vec<Finding>>,
}

/// Findings beside damaged files that are remembered, the gravest first: more say no more.
const FOUND_MAX: usize = 1000;

impl State {
    /// When all files whose ids begin so were last read, in Unix milliseconds.
    /// What a clock that was set forward wrote down counts as never.
    pub(super) fn read_ms(&self, first: u8) -> Option<u64> {
        self.read.get(&digits(first)).and_then(|text| millis(text)).filter(|read_ms| *read_ms <= now_ms())
    }

    /// Notes that they were read.
    pub(super) fn note_read(&mut self, first: u8, begun_ms: u64) {
        self.read.insert(digits(first), text(begun_ms));
    }

    /// When the repository was first verified, in Unix milliseconds.
    pub(super) fn since_ms(&self) -> Option<u64> {
        millis(&self.since)
    }

    /// Notes when that was, the first time.
    pub(super) fn begin(&mut self, now_ms: u64) {
        if self.since_ms().is_none() {
            self.since = text(now_ms);
        }
    }

    /// The config's hash that was noted.
    pub(crate) fn config_id(&self) -> Option<FileId> {
        self.config.as_deref().and_then(|hash| hash.parse().ok())
    }

    /// Forgets that a file is damaged.
    pub(crate) fn note_right(&mut self, handle: &Handle) {
        self.damaged.remove(&handle.to_string());
        self.set_aside.remove(&handle.to_string());
        self.note_explained(handle);
    }

    /// Notes that a damaged file without a good copy is set aside.
    pub(crate) fn note_set_aside(&mut self, handle: &Handle) {
        self.damaged.remove(&handle.to_string());
        self.note_explained(handle);
        self.set_aside.insert(handle.to_string());
    }

    /// Notes what a verification found beside damaged files. Notes are not remembered.
    pub(super) fn note_found<'a>(&mut self, findings: impl Iterator<Item = &'a Finding>) {
        let mut found: Vec<_> =
            findings.filter(|finding| finding.kind.severity() != Severity::Note).cloned().collect();
        found.sort_by_key(|finding| finding.kind.severity());
        found.truncate(FOUND_MAX);
        self.found = Some(found);
    }

    fn note_explained(&mut self, handle: &Handle) {
        if let Some(found) = &mut self.found {
            found.retain(|finding| {
                finding.kind.severity() != Severity::Damage || finding.handle() != Some(*handle)
            });
        }
    }
}

/// A run that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The share that it reads.
    pub(super) share: String,
    /// In which repositories.
    pub(super) repositories: Vec<String>,
    /// Whether files are read that need not be.
    pub(super) read_data: bool,
    begun: String,
    finished: bool,
}

impl Run {
    pub(super) fn begin(share: String, repositories: Vec<String>, read_data: bool, now_ms: u64) -> Self {
        Self { share, repositories, read_data, begun: text(now_ms), finished: false }
    }

    pub(super) fn begun_ms(&self) -> u64 {
        millis(&self.begun).unwrap_or(0)
    }

    /// Whether this run is an earlier attempt at that one.
    pub(super) fn is_continued_by(&self, other: &Self) -> bool {
        let same = self.share == other.share
            && self.repositories == other.repositories
            && self.read_data == other.read_data;
        same && !self.finished && other.begun_ms().saturating_sub(self.begun_ms()) < CONTINUED_WITHIN_MS
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

/// After so long a run begins anew.
const CONTINUED_WITHIN_MS: u64 = 24 * 60 * 60 * 1000;

/// Where it is all kept.
#[derive(Debug, Clone)]
pub(crate) struct States {
    directory: PathBuf,
}

impl States {
    /// In this directory, which is made if it is missing.
    pub(crate) fn open(directory: &Path) -> Result<Self, FileError> {
        files::make_directory(directory, 0o700)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// In this directory, which may be missing.
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Where it is remembered of a repository.
    pub(super) fn path(&self, repository: &RepositoryName) -> PathBuf {
        self.directory.join(state_file::file_name(repository))
    }

    /// Repositories that were verified once, whether they are there still or not.
    pub(crate) fn known(&self) -> Result<BTreeSet<RepositoryName>, FileError> {
        let failed = |error| FileError::new("list", &self.directory, error);
        let mut known = BTreeSet::new();
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(known),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let repository = name.to_str().and_then(|name| name.strip_suffix(".json"));
            known.extend(repository.and_then(|name| name.replace(',', "/").parse().ok()));
        }
        Ok(known)
    }

    /// Remembers nothing of a repository any more.
    pub(crate) fn forget(&self, repository: &RepositoryName) -> Result<(), FileError> {
        files::remove(&self.path(repository))
    }

    /// What is remembered of a repository; nothing if it cannot be understood.
    pub(crate) fn load(&self, repository: &RepositoryName) -> Result<State, FileError> {
        load(&self.path(repository)).map(Option::unwrap_or_default)
    }

    /// What is remembered of a repository; nothing if it was never verified.
    pub(crate) fn understand(&self, repository: &RepositoryName) -> Result<Option<State>, FileError> {
        state_file::understand(&self.path(repository))
    }

    pub(crate) fn save(&self, repository: &RepositoryName, state: &State) -> Result<(), FileError> {
        save(&self.path(repository), state)
    }

    fn run_path(&self) -> PathBuf {
        self.directory.join(",run.json")
    }

    pub(super) fn load_run(&self) -> Result<Option<Run>, FileError> {
        load(&self.run_path())
    }

    pub(super) fn save_run(&self, run: &Run) -> Result<(), FileError> {
        save(&self.run_path(), run)
    }

    /// Keeps a second verification away as long as it is held; nothing if there is one.
    pub(super) fn lock(&self) -> Result<Option<std::fs::File>, FileError> {
        let path = self.directory.join(",lock");
        let open = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|error| FileError::new("open", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(FileError::new("lock", &path, error)),
        }
    }
}

fn digits(first: u8) -> String {
    format!("{first:02x}")
}

/// A moment for people to read.
pub(super) fn text(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

fn millis(text: &str) -> Option<u64> {
    let moment: Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok()
}
