//! A file of Pawl's own that is stored like any other, for a frontend to try what it must not be able to do.
//!
//! Invariant: it holds nothing and lies where no repository is, so that nothing is lost if a try should succeed.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::commit::{self, STORED_MODE};
use super::directory;
use super::message::{Refusal, StagingCapabilities};
use super::staging::{Staged, Staging};
use crate::confine::{AFTER, BEFORE, CANARY};

const CONTENT: &[u8] = b"A confined server tries at its start whether it could remove this file.\n";

/// Stores a new one in place of those of the last start. Returns whether there is one: on a full or read-only disk
/// there may not be.
pub(super) fn renew(data: BorrowedFd<'_>, staging: &Staging) -> std::io::Result<bool> {
    match try_renew(data, staging) {
        Ok(()) => Ok(true),
        Err(error) if is_for_want_of_room(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn try_renew(data: BorrowedFd<'_>, staging: &Staging) -> std::io::Result<()> {
    let directory = directory::open_or_make(data, CANARY)?;
    for name in [BEFORE, AFTER] {
        remove(&directory, name)?;
    }
    let (writer, staged) = staging.open()?;
    let mut writer = std::fs::File::from(writer);
    writer.write_all(CONTENT)?;
    drop(writer);
    Ok(store(&directory, BEFORE, &staged)?)
}

/// Stores what a frontend has filled.
pub(super) fn publish(
    data: BorrowedFd<'_>,
    footing: StagingCapabilities,
    staged: &Staged,
) -> Result<(), Refusal> {
    commit::check_final(footing, staged)?;
    let directory = directory::open(data, CANARY)?;
    Ok(store(&directory, AFTER, staged)?)
}

fn store(directory: &OwnedFd, name: &str, staged: &Staged) -> rustix::io::Result<()> {
    rustix::fs::fchmod(staged.file(), STORED_MODE)?;
    rustix::fs::fsync(staged.file())?;
    staged.publish(directory, name)?;
    rustix::fs::fsync(directory.as_fd())
}

#[expect(clippy::disallowed_methods, reason = "removes a file of Pawl's own that holds nothing")]
fn remove(directory: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        removed_or_failed => removed_or_failed,
    }
}

fn is_for_want_of_room(error: &std::io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS))
}
