//! The proof that nobody can write to a file any more.
//!
//! Invariant: a read lease is granted by the kernel only while no descriptor and no mapping of the file is
//! writable (fcntl(2), `F_SETLEASE`).

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// What is known about writers of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// There is none, and only the keeper holds the file.
    None,
    /// A descriptor that can write is still open somewhere.
    Some,
    /// The file system has no leases, so nothing is known.
    Unknown,
}

/// Asks the kernel whether any descriptor of this read-only opened file can write.
pub fn writers(file: impl AsFd) -> rustix::io::Result<Writers> {
    match set_lease(&file, libc::F_RDLCK) {
        Ok(()) => {
            set_lease(&file, libc::F_UNLCK)?;
            Ok(Writers::None)
        }
        Err(Errno::AGAIN) => Ok(Writers::Some),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(Writers::Unknown),
        Err(error) => Err(error),
    }
}

#[expect(unsafe_code, reason = "no crate in use wraps F_SETLEASE")]
fn set_lease(file: &impl AsFd, kind: libc::c_int) -> rustix::io::Result<()> {
    let descriptor = file.as_fd().as_raw_fd();
    // SAFETY: `descriptor` is open for the whole call, because `file` is borrowed. F_SETLEASE takes an int by
    // value and reads or writes no memory of ours. Its only side effect here is the lease, which the caller
    // gives back at once; the signal of a broken lease (SIGIO, which would end the process) is sent only to a
    // holder, and between the two calls only another opener could break it: of a still unnamed file there is none, and
    // commands that look at stored files ignore the signal.
    let result = unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, kind) };
    if result == -1 {
        let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(code));
    }
    Ok(())
}
