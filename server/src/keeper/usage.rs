//! How much each repository holds and each principal has stored, kept in attributes of directories.
//!
//! Invariant: a file is counted before it has its name, so that usage is never less than what is visible. A failed
//! commit is taken back. Locks are not counted. Several processes may keep it at once: whoever reads and writes holds
//! a lock that they share.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pawl_policy::{FileType, Handle, PrincipalName, RepositoryName, Usage};
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::ended::Ended;
use super::named::Named;
use super::{directory, facts, layout, named, order};

/// How soon a repository is counted that was asked for. restic tries again after a second.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// The usage of all repositories.
#[derive(Debug, Default)]
pub(crate) struct UsageBook {
    /// Held while attributes are read and written: by the thread, and in the file by the process.
    writing: Mutex<Option<OwnedFd>>,
    /// Repositories that are to be counted.
    asked_for: Mutex<VecDeque<RepositoryName>>,
    keeps_order: bool,
}

/// The right to read and write attributes, until it is dropped.
pub(crate) struct Turn<'a>(MutexGuard<'a, Option<OwnedFd>>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.0.as_ref() {
            let _ = rustix::fs::flock(file, FlockOperation::Unlock); // or when the process ends
        }
    }
}

/// Reads a repository's usage; `None` if it was never counted.
pub(crate) fn read(data: BorrowedFd<'_>, repository: &RepositoryName) -> rustix::io::Result<Option<Usage>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(data, repository.as_str(), flags, Mode::empty()) {
        Ok(root) => facts::usage(root),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what a principal has stored in all repositories.
pub(crate) fn read_total(data: BorrowedFd<'_>, principal: &PrincipalName) -> rustix::io::Result<Usage> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(data, layout::principal_usage(principal), flags, Mode::empty()) {
        Ok(directory) => facts::total_usage(directory),
        Err(Errno::NOENT) => Ok(Usage::default()),
        Err(error) => Err(error),
    }
}

/// Whether a file of this kind counts.
pub(crate) const fn counts(handle: &Handle) -> bool {
    !matches!(handle, Handle::File(FileType::Locks, _))
}

impl UsageBook {
    /// The usage of what lies beneath this directory.
    pub(crate) fn of(data: BorrowedFd<'_>) -> Self {
        Self { keeps_order: order::is_kept(data), ..Self::default() }
    }

    /// Whether usage that was changed after something else is not on disk before it. Otherwise whoever lowers it syncs
    /// that something first.
    pub(crate) const fn keeps_order(&self) -> bool {
        self.keeps_order
    }

    /// A repository that was just made holds nothing.
    pub(super) fn begin(&self, data: BorrowedFd<'_>, repository: &RepositoryName) -> rustix::io::Result<()> {
        let _turn = self.turn(data)?;
        facts::write_usage(directory::open(data, repository.as_str())?, Usage::default())
    }

    /// Counts a file that is about to become visible. Of some files it was never recorded who stored them.
    pub(crate) fn add(
        &self,
        data: BorrowedFd<'_>,
        repository: &RepositoryName,
        creator: Option<&PrincipalName>,
        bytes: u64,
    ) -> rustix::io::Result<()> {
        let root = directory::open(data, repository.as_str())?;
        self.add_in(data, root.as_fd(), creator, bytes)
    }

    /// The same in a repository whose directory is open.
    pub(super) fn add_in(
        &self,
        data: BorrowedFd<'_>,
        root: BorrowedFd<'_>,
        creator: Option<&PrincipalName>,
        bytes: u64,
    ) -> rustix::io::Result<()> {
        let one = Usage { bytes, files: 1 };
        let turn = self.turn(data)?;
        // For a count that is going on, in whichever process.
        facts::write_added(root, facts::added(root)?.plus(one))?;
        change(data, root, creator, |usage| usage.plus(one))?;
        drop(turn);
        // A repository is counted anew at the next start, what a principal stored is not.
        let Some(creator) = creator.filter(|_| !self.keeps_order) else { return Ok(()) };
        bring_to_disk(data, creator).inspect_err(|_| {
            let _ = self.take_back_in(data, root, Some(creator), bytes); // then it counts as stored, which it will not be
        })
    }

    /// Takes back a file that was not stored after all.
    pub(crate) fn take_back(
        &self,
        data: BorrowedFd<'_>,
        repository: &RepositoryName,
        creator: Option<&PrincipalName>,
        bytes: u64,
    ) -> rustix::io::Result<()> {
        take_back(&self.turn(data)?, data, repository, creator, bytes)
    }

    /// The same in a repository whose directory is open.
    pub(super) fn take_back_in(
        &self,
        data: BorrowedFd<'_>,
        root: BorrowedFd<'_>,
        creator: Option<&PrincipalName>,
        bytes: u64,
    ) -> rustix::io::Result<()> {
        let _turn = self.turn(data)?;
        change(data, root, creator, |usage| usage.minus(Usage { bytes, files: 1 }))
    }

    /// Counts a file that is stored elsewhere than beneath DATA, or takes it back.
    pub(super) fn tally(
        &self,
        data: BorrowedFd<'_>,
        principal: &PrincipalName,
        bytes: u64,
        taken_back: bool,
    ) -> rustix::io::Result<()> {
        let _turn = self.turn(data)?;
        let total = directory::open_or_make(data, &layout::principal_usage(principal))?;
        let before = facts::total_usage(&total)?;
        let file = Usage { bytes, files: 1 };
        facts::write_usage(&total, if taken_back { before.minus(file) } else { before.plus(file) })
    }

    /// Has a repository counted soon.
    pub(super) fn ask_for(&self, repository: RepositoryName) {
        let mut asked_for = self.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked_for.contains(&repository) {
            asked_for.push_back(repository);
        }
    }

    /// Counts what was asked for until the end, one repository at a time. With `all`, all that were ever counted are
    /// counted anew at first: somebody may have pruned them, or a crash may have come between counting a file and
    /// storing it.
    pub(super) fn tend(&self, data: BorrowedFd<'_>, all: bool, ended: &Ended) {
        if all {
            match counted_repositories(data) {
                Ok(repositories) => repositories.into_iter().for_each(|repository| self.ask_for(repository)),
                Err(error) => {
                    tracing::warn!(%error, "cannot list the data directory to count what repositories hold");
                }
            }
        }
        while !ended.wait(COUNT_EVERY) {
            let next = || self.asked_for.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(repository) = next() {
                match self.count(data, &repository, ended) {
                    Ok(()) | Err(Errno::CANCELED) => {}
                    Err(error) => {
                        tracing::error!(%error, %repository, "cannot count what the repository holds");
                    }
                }
            }
        }
    }

    /// Counts a repository. Stores go on meanwhile; what they add may be counted twice, never not at all.
    fn count(
        &self,
        data: BorrowedFd<'_>,
        repository: &RepositoryName,
        ended: &Ended,
    ) -> rustix::io::Result<()> {
        let root = directory::open(data, repository.as_str())?;
        let before = {
            let _turn = self.turn(data)?;
            facts::added(&root)?
        };
        let counted = walk(data, repository, ended)?;
        let _turn = self.turn(data)?;
        let after = facts::added(&root)?;
        let since = Usage {
            bytes: after.bytes.saturating_sub(before.bytes),
            files: after.files.saturating_sub(before.files),
        };
        facts::write_usage(&root, counted.plus(since))?;
        rustix::fs::fsync(&root)
    }

    /// Waits until nobody else reads and writes attributes, in this process or another. A count ends in a turn: whoever
    /// takes a file out of sight and takes it back in one is counted by none that ends in between, and not taken back twice.
    pub(crate) fn turn(&self, data: BorrowedFd<'_>) -> rustix::io::Result<Turn<'_>> {
        let mut file = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            *file = Some(open_lock(data)?);
        }
        let turn = Turn(file);
        if let Some(file) = turn.0.as_ref() {
            rustix::fs::flock(file, FlockOperation::LockExclusive)?;
        }
        Ok(turn)
    }
}

/// The file that is locked. The door cannot open it, and so cannot keep others waiting.
fn open_lock(data: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let state = directory::open_or_make(data, layout::STATE)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&state, "usage.lock", flags, Mode::from_raw_mode(0o600))
}

/// Syncs what a principal has stored, where no other sync does.
fn bring_to_disk(data: BorrowedFd<'_>, creator: &PrincipalName) -> rustix::io::Result<()> {
    rustix::fs::fsync(directory::open(data, &layout::principal_usage(creator))?)
}

/// Takes back a file that was not stored after all, or that went out of sight in this turn.
pub(crate) fn take_back(
    _turn: &Turn<'_>,
    data: BorrowedFd<'_>,
    repository: &RepositoryName,
    creator: Option<&PrincipalName>,
    bytes: u64,
) -> rustix::io::Result<()> {
    let root = directory::open(data, repository.as_str())?;
    change(data, root.as_fd(), creator, |usage| usage.minus(Usage { bytes, files: 1 }))
}

/// Changes what the principal has stored and what the repository holds, or neither.
fn change(
    data: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    creator: Option<&PrincipalName>,
    change: impl Fn(Usage) -> Usage,
) -> rustix::io::Result<()> {
    let Some(creator) = creator else { return change_repository(root, change) };
    let total = directory::open_or_make(data, &layout::principal_usage(creator))?;
    let before = facts::total_usage(&total)?;
    facts::write_usage(&total, change(before))?;
    let changed = change_repository(root, change);
    if changed.is_err() {
        facts::write_usage(&total, before)?;
    }
    changed
}

fn change_repository(root: BorrowedFd<'_>, change: impl Fn(Usage) -> Usage) -> rustix::io::Result<()> {
    match facts::usage(root)? {
        Some(usage) => facts::write_usage(root, change(usage)),
        None => Ok(()), // nobody has asked yet; a count will find the file
    }
}

/// Every repository that was ever counted. The log names each directory that cannot be served.
fn counted_repositories(data: BorrowedFd<'_>) -> rustix::io::Result<Vec<RepositoryName>> {
    let mut found = Vec::new();
    for Named { name, fault } in named::named_directories(data)? {
        let usage = match fault {
            Some(fault) => Err(fault),
            None => directory::open(data, name.as_str()).and_then(facts::usage),
        };
        match usage {
            Ok(Some(_)) => found.push(name),
            Ok(None) | Err(Errno::NOENT) => {}
            Err(fault) => {
                let why = named::reason(fault);
                tracing::error!(directory = %name, "a directory in the data directory cannot be served: {why}");
            }
        }
    }
    Ok(found)
}

fn walk(data: BorrowedFd<'_>, repository: &RepositoryName, ended: &Ended) -> rustix::io::Result<Usage> {
    let mut usage = Usage::default();
    let root = directory::open(data, repository.as_str())?;
    if let Ok(stat) = rustix::fs::statat(&root, "config", AtFlags::SYMLINK_NOFOLLOW) {
        usage = usage.plus(one(stat.st_size));
    }
    for file_type in [FileType::Index, FileType::Keys, FileType::Snapshots] {
        usage = usage.plus(walk_directory(data, &layout::type_directory(repository, file_type))?);
    }
    let packs = layout::type_directory(repository, FileType::Data);
    for first in 0..=u8::MAX {
        if ended.is_told() {
            return Err(Errno::CANCELED);
        }
        usage = usage.plus(walk_directory(data, &format!("{packs}/{first:02x}"))?);
    }
    Ok(usage)
}

fn walk_directory(data: BorrowedFd<'_>, path: &str) -> rustix::io::Result<Usage> {
    let directory = match directory::open(data, path) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(Usage::default()),
        Err(error) => return Err(error),
    };
    let mut usage = Usage::default();
    for entry in Dir::read_from(directory.as_fd())? {
        let entry = entry?;
        match rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() => {
                usage = usage.plus(one(stat.st_size));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(usage)
}

fn one(size: i64) -> Usage {
    Usage { bytes: u64::try_from(size).unwrap_or(0), files: 1 }
}
