//! What maintenance adds and takes away.
//!
//! Invariant: a file and its usage change under one lock, which processes of maintenance share and a count tries to get at
//! its two ends. So no count falls between the two changes. No upload takes this lock.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pawl_policy::{PrincipalName, RepositoryName, Usage};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{self, Maintained};
use crate::account::Account;
use crate::shutdown::Shutdown;
use crate::{directory, layout, write_ordering};

/// How long a count waits for the lock. A change takes some milliseconds.
const TRY_FOR: Duration = Duration::from_secs(1);
const TRY_EVERY: Duration = Duration::from_millis(5);

/// A lock between processes, and between the threads of each.
#[derive(Debug, Default)]
pub(crate) struct UsageLock(Mutex<Option<OwnedFd>>);

/// The lock, until it is dropped.
#[derive(Debug)]
pub struct UsageGuard<'a> {
    file: MutexGuard<'a, Option<OwnedFd>>,
    data: BorrowedFd<'a>,
}

impl Drop for UsageGuard<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file.as_ref() {
            let _ = rustix::fs::flock(file, FlockOperation::Unlock); // or when the process ends
        }
    }
}

impl UsageLock {
    /// Opens the file that is locked, which makes it. A frontend cannot open it.
    pub(crate) fn prepare(&self, data: BorrowedFd<'_>) -> rustix::io::Result<()> {
        self.open(data).map(drop)
    }

    fn open<'a>(&'a self, data: BorrowedFd<'a>) -> rustix::io::Result<UsageGuard<'a>> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            let state = directory::open_or_make(data, layout::STATE)?;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            *file = Some(rustix::fs::openat(&state, "usage.lock", flags, Mode::from_raw_mode(0o600))?);
        }
        Ok(UsageGuard { file, data })
    }

    fn wait<'a>(&'a self, data: BorrowedFd<'a>) -> rustix::io::Result<UsageGuard<'a>> {
        let guard = self.open(data)?;
        if let Some(file) = guard.file.as_ref() {
            rustix::fs::flock(file, FlockOperation::LockExclusive)?;
        }
        Ok(guard)
    }

    /// The lock, unless another process holds it for too long.
    pub(crate) fn try_get<'a>(&'a self, data: BorrowedFd<'a>, ended: &Shutdown) -> Option<UsageGuard<'a>> {
        let guard = self.open(data).ok()?;
        let began = Instant::now();
        while let Some(file) = guard.file.as_ref() {
            match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(guard),
                Err(Errno::WOULDBLOCK) if began.elapsed() < TRY_FOR && !ended.wait(TRY_EVERY) => {}
                Err(_) => break,
            }
        }
        None
    }
}

/// The usage as maintenance changes it.
#[derive(Debug)]
pub struct MaintenanceUsage {
    lock: UsageLock,
    keeps_order: bool,
}

impl MaintenanceUsage {
    /// The usage of what lies beneath `data`.
    #[must_use]
    pub fn of(data: BorrowedFd<'_>) -> Self {
        Self::new(write_ordering::is_kept(data))
    }

    /// Usage on a file system that keeps the order of changes, or does not.
    #[must_use]
    pub fn new(keeps_order: bool) -> Self {
        Self { lock: UsageLock::default(), keeps_order }
    }

    /// Whether usage that was changed after something else is not on disk before it. Otherwise whoever lowers it syncs
    /// that something first.
    pub const fn keeps_order(&self) -> bool {
        self.keeps_order
    }

    /// Waits until nobody else changes files and usage.
    pub fn lock<'a>(&'a self, data: BorrowedFd<'a>) -> rustix::io::Result<UsageGuard<'a>> {
        self.lock.wait(data)
    }
}

impl UsageGuard<'_> {
    /// Counts a file and has it named. Counts it no more if that fails. Of some files it was never recorded who stored
    /// them.
    pub fn add(
        &self,
        repository: &RepositoryName,
        creator: Option<&PrincipalName>,
        bytes: u64,
        name: impl FnOnce() -> rustix::io::Result<()>,
    ) -> rustix::io::Result<()> {
        let file = Usage::of_file(bytes);
        let accounts = accounts(repository, creator);
        change(self.data, &accounts, |usage| Maintained { added: usage.added.plus(file), ..usage })?;
        name().inspect_err(|_| {
            let taken =
                change(self.data, &accounts, |usage| Maintained { added: usage.added.minus(file), ..usage });
            if let Err(error) = taken {
                tracing::warn!(%error, %repository, "usage is too high until all files are counted again");
            }
        })
    }

    /// Takes away a file that this holder of the lock has just hidden.
    pub fn take(
        &self,
        repository: &RepositoryName,
        creator: Option<&PrincipalName>,
        bytes: u64,
    ) -> rustix::io::Result<()> {
        let file = Usage::of_file(bytes);
        change(self.data, &accounts(repository, creator), |usage| Maintained {
            taken: usage.taken.plus(file),
            ..usage
        })
    }

    /// Counts a file that is stored elsewhere than beneath DATA, or takes it away.
    pub fn tally(&self, principal: &PrincipalName, bytes: u64, taken_back: bool) -> rustix::io::Result<()> {
        let file = Usage::of_file(bytes);
        let account = Account::Principal(principal.clone());
        change(self.data, &[account], |Maintained { added, taken }| {
            if taken_back {
                Maintained { added, taken: taken.plus(file) }
            } else {
                Maintained { added: added.plus(file), taken }
            }
        })
    }
}

fn accounts(repository: &RepositoryName, creator: Option<&PrincipalName>) -> Vec<Account> {
    let repository = Account::Repository(repository.clone());
    [Some(repository), creator.cloned().map(Account::Principal)].into_iter().flatten().collect()
}

/// Changes all of these, or none.
fn change(
    data: BorrowedFd<'_>,
    accounts: &[Account],
    change: impl Fn(Maintained) -> Maintained,
) -> rustix::io::Result<()> {
    let mut changed = Vec::new();
    for account in accounts {
        let written = account.open_or_make(data).and_then(|directory| {
            // What cannot be read is begun anew. It moves, so whoever counts counts again.
            let before = attributes::maintained(&directory).or_else(unreadable)?;
            attributes::write_maintained(&directory, change(before))?;
            changed.push((directory, before));
            Ok(())
        });
        if let Err(error) = written {
            for (directory, before) in changed {
                attributes::write_maintained(directory, before)?;
            }
            return Err(error);
        }
    }
    Ok(())
}

fn unreadable(error: Errno) -> rustix::io::Result<Maintained> {
    if error == Errno::BADMSG { Ok(Maintained::default()) } else { Err(error) }
}
