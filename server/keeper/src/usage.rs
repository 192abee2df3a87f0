//! How much each repository holds and how much each principal has stored, locks apart.
//!
//! Invariant: the keeper of the hosts and maintenance write attributes of their own, and a reader adds them up. So
//! neither waits for the other, and no upload waits for another process. A file counts before it has its name.

mod attributes;
mod count;
mod counting;
mod hosts;
mod maintenance;

use std::os::fd::{AsFd, BorrowedFd};

use pawl_policy::{FileType, Handle, PrincipalName, RepositoryName, Usage};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::account::Account;
use super::message::Refusal;
use super::naming::Naming;
use super::shutdown::Shutdown;
use super::tenant::Tenant;
use super::write_ordering;
use hosts::HostsUsage;
pub use maintenance::MaintenanceUsage;

/// Whether a file of this kind counts.
#[must_use]
pub const fn counts(handle: &Handle) -> bool {
    !matches!(handle, Handle::File(FileType::Locks, _))
}

/// Reads a repository's usage as it was last written; `None` if it was never counted. For a process that may open
/// nothing by `openat2`.
pub fn read(data: BorrowedFd<'_>, repository: &RepositoryName) -> rustix::io::Result<Option<Usage>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(data, repository.as_str(), flags, Mode::empty()) {
        Ok(root) => seen(root.as_fd()),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the attributes of this directory add up to; `None` if it was never counted, or is to be counted again.
fn seen(directory: BorrowedFd<'_>) -> rustix::io::Result<Option<Usage>> {
    match (attributes::own(directory), attributes::maintained(directory)) {
        (Err(Errno::BADMSG), _) | (_, Err(Errno::BADMSG)) => Ok(None),
        (own, maintained) => Ok(own?.zip(Some(maintained?)).map(|(own, maintained)| own.seen(maintained))),
    }
}

/// The usage as a keeper of either side counts it.
#[derive(Debug)]
pub(crate) enum KeeperUsage {
    Hosts(Box<HostsUsage>),
    Maintenance(MaintenanceUsage),
}

impl KeeperUsage {
    /// Looks at the file system beneath `data`, which a confined keeper cannot do any more.
    pub(crate) fn open(data: BorrowedFd<'_>, side: Tenant) -> Self {
        match side {
            Tenant::Hosts => Self::Hosts(Box::new(HostsUsage::open(data, write_ordering::is_kept(data)))),
            Tenant::Maintenance => Self::Maintenance(MaintenanceUsage::of(data)),
        }
    }

    /// Counts a file and has it linked to its name. Counts it no more if that fails.
    pub(crate) fn store(
        &self,
        data: BorrowedFd<'_>,
        naming: &Naming<'_>,
        bytes: u64,
        link: impl FnOnce() -> rustix::io::Result<()>,
    ) -> rustix::io::Result<()> {
        if !counts(naming.handle) {
            return link();
        }
        match self {
            Self::Hosts(usage) => usage.store(data, naming, bytes, link),
            Self::Maintenance(usage) => {
                usage.lock(data)?.add(naming.repository, Some(naming.creator), bytes, link)
            }
        }
    }

    /// Notes that a repository was just made, which holds nothing.
    pub(crate) fn begin(&self, repository: &RepositoryName) {
        if let Self::Hosts(usage) = self {
            usage.begin(repository);
        }
    }

    /// The usage of an account. An error until it was counted, which this asks for.
    pub(crate) fn of(&self, data: BorrowedFd<'_>, account: &Account) -> Result<Usage, Refusal> {
        match self {
            Self::Hosts(usage) => usage.of(data, account),
            Self::Maintenance(_) => {
                Err(Refusal::Failed("only the keeper of the hosts counts usage".to_owned()))
            }
        }
    }

    /// Counts a file that is stored elsewhere than beneath DATA, or takes it back.
    pub(crate) fn tally(
        &self,
        data: BorrowedFd<'_>,
        principal: &PrincipalName,
        bytes: u64,
        taken_back: bool,
    ) -> Result<(), Refusal> {
        match self {
            Self::Hosts(usage) => usage.tally(data, principal, bytes, taken_back),
            Self::Maintenance(usage) => Ok(usage.lock(data)?.tally(principal, bytes, taken_back)?),
        }
    }

    /// Whether what was counted gets written, without which a crash would hide it.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Hosts(usage) => usage.check(),
            Self::Maintenance(_) => Ok(()),
        }
    }

    /// Writes and counts in threads of this scope until the keeper ends.
    pub(crate) fn work<'scope>(
        &'scope self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        data: BorrowedFd<'scope>,
        ended: &'scope Shutdown,
    ) {
        if let Self::Hosts(usage) = self {
            scope.spawn(move || usage.write_behind(data, ended));
            scope.spawn(move || usage.count_asked_for(data, ended));
            scope.spawn(move || usage.count_all(data, ended));
        }
    }

    /// Writes all, and a mark that says so. Only then need the next start count nothing.
    pub(crate) fn close(&self, data: BorrowedFd<'_>) {
        if let Self::Hosts(usage) = self {
            usage.close(data);
        }
    }
}

/// Leaves the mark of a clean end that is still to come, so that the next keeper does not count all files by itself, in
/// the middle of a test.
#[cfg(feature = "testing")]
pub(crate) fn count_nothing_at_start(data: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let counted_ms = crate::facts::now_ms();
    let mark = attributes::Mark { ended_ms: counted_ms + pawl_policy::DAY_MS, counted_ms };
    attributes::write_mark(crate::directory::open_or_make(data, crate::layout::USAGE)?.as_fd(), mark)
}
