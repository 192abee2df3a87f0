//! Directories beneath DATA: opened without leaving it, made durably.
//!
//! Invariant: a path is resolved beneath DATA, through no symbolic link and onto no other file system; whoever makes a
//! directory syncs its entry in its parent before using it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Directories are readable by the group, which in a deployment is the door's.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o750);
/// Nobody writes to a mark.
const MARK_MODE: Mode = Mode::from_raw_mode(0o440);

/// Opens a directory beneath `data`.
pub(crate) fn open(data: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(data, path, flags, Mode::empty(), resolve)
}

/// Opens a directory beneath `data`, making each level that is missing.
pub(crate) fn open_or_make(data: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let data = data.as_fd();
    match open(data, path) {
        Err(Errno::NOENT) => {}
        opened_or_failed => return opened_or_failed,
    }
    let mut current = open(data, ".")?;
    for name in path.split('/') {
        current = open_or_make_one(&current, name)?;
    }
    Ok(current)
}

#[expect(clippy::disallowed_methods, reason = "the one place that makes directories")]
fn open_or_make_one(parent: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match open(parent, name) {
        Err(Errno::NOENT) => {}
        opened_or_failed => return opened_or_failed,
    }
    match rustix::fs::mkdirat(parent, name, DIRECTORY_MODE) {
        // Another worker was first; sync all the same, for its sync may still be under way.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    rustix::fs::fsync(parent)?;
    open(parent, name)
}

/// Makes an empty file that says something by its name, durably. One that is there stays, and is not opened: it may be
/// read-only.
pub(crate) fn mark(directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, MARK_MODE) {
        // An earlier call may have been cut before its sync.
        Ok(_) | Err(Errno::EXIST) => rustix::fs::fsync(directory),
        Err(error) => Err(error),
    }
}
