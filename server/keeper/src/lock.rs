//! Removing a lock, the only stored file that is ever removed.
//!
//! Invariant: what is removed is a regular file in `locks/` that hosts could have stored. A lock that maintenance holds
//! stays until it has expired, whatever a frontend says.

use std::os::fd::{AsFd, BorrowedFd};

use pawl_policy::{FileId, FileType, RepositoryName, lock_has_expired};
use rustix::fs::{AtFlags, FileType as Kind, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::facts::{self, Facts};
use super::message::Refusal;
use super::tenant::Tenant;
use super::{directory, layout};

/// Returns whether there was one.
#[expect(clippy::disallowed_methods, reason = "the one place that removes a stored file: a lock")]
pub(super) fn remove(
    data: BorrowedFd<'_>,
    side: Tenant,
    repository: &RepositoryName,
    id: &FileId,
) -> Result<bool, Refusal> {
    let locks = match directory::open(data, &layout::type_directory(repository, FileType::Locks)) {
        Ok(locks) => locks,
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let name = id.to_string();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = match rustix::fs::openat(&locks, &name, flags, Mode::empty()) {
        Ok(lock) => lock,
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    // Not what FUSE remembers: a lock that was stored a moment ago may have had two names then.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    let stat = rustix::fs::statx(&lock, "", flags, StatxFlags::TYPE | StatxFlags::NLINK)?;
    if !Kind::from_raw_mode(u32::from(stat.stx_mode)).is_file() || stat.stx_nlink > 1 {
        return Err(Refusal::Failed(format!("locks/{name} is no file with this one name; it stays")));
    }
    if side == Tenant::Hosts && is_held_by_maintenance(lock.as_fd())? {
        return Err(Refusal::Failed(format!("locks/{name} is held by maintenance; it stays")));
    }
    match rustix::fs::unlinkat(&locks, &name, AtFlags::empty()) {
        Ok(()) => Ok(rustix::fs::fsync(&locks).map(|()| true)?),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_held_by_maintenance(lock: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    Ok(facts::is_of_maintenance(lock)? && !lock_has_expired(Facts::read(lock)?.age_ms(facts::now_ms())))
}
