//! Waiting until what was written to a file is with the disk.
//!
//! Invariant: nothing of it is durable for that; who calls it syncs afterwards.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Has all of the file's content written, and waits for it, without a commit of a journal.
#[expect(unsafe_code, reason = "no crate in use wraps sync_file_range")]
pub(super) fn wait(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let all =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the descriptor is open for the whole call, because `file` is borrowed. The call takes numbers by value, of
    // which 0 and 0 mean the whole file, and reads or writes no memory of ours.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, all) };
    if result == -1 {
        let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(code));
    }
    Ok(())
}
