//! Files on their way to a name.
//!
//! Invariant: a staged file is in no directory that is listed, and [`Staged::publish`] fails if the name is
//! taken. A file that is dropped without a name is gone.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{directory, facts, layout};

/// While it is filled, a file is its owner's alone.
const STAGED_MODE: Mode = Mode::from_raw_mode(0o600);

/// Where files wait for their name.
#[derive(Debug)]
pub enum Staging {
    /// Nowhere: they have no name (`O_TMPFILE`). Holds `.pawl`, whose file system they are made on.
    Unnamed(OwnedFd),
    /// In `.pawl/staging` or its like, for file systems without unnamed files.
    Named(Arc<OwnedFd>, AtomicU64),
}

/// A file without a place among the stored ones, opened for reading.
#[derive(Debug)]
pub struct Staged {
    file: File,
    named: Option<(Arc<OwnedFd>, String)>,
}

impl Staging {
    /// Finds out whether the file system has unnamed files, and prepares; where it has none, they wait at this path.
    pub fn prepare(data: BorrowedFd<'_>, named_at: &str) -> rustix::io::Result<Self> {
        let state = directory::open_or_make(data, layout::STATE)?;
        match open_unnamed(&state) {
            // A full or read-only disk says nothing of what it could do; let it be read from.
            Ok(_) | Err(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => Ok(Self::Unnamed(state)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => Self::named(data, named_at),
            Err(error) => Err(error),
        }
    }

    /// The same beside another process that prepared it, whose files stay.
    pub fn beside(data: BorrowedFd<'_>, named_at: &str) -> rustix::io::Result<Self> {
        let state = directory::open_or_make(data, layout::STATE)?;
        match open_unnamed(&state) {
            Ok(_) => Ok(Self::Unnamed(state)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                let staging = directory::open_or_make(data, named_at)?;
                Ok(Self::Named(Arc::new(staging), AtomicU64::new(facts::now_ms())))
            }
            Err(error) => Err(error),
        }
    }

    /// Staging under names at this path, whatever the file system has.
    pub fn named(data: BorrowedFd<'_>, path: &str) -> rustix::io::Result<Self> {
        let staging = directory::open_or_make(data, path)?;
        remove_leftovers(&staging)?;
        Ok(Self::Named(Arc::new(staging), AtomicU64::new(0)))
    }

    /// Whether staged files have no name.
    pub const fn is_unnamed(&self) -> bool {
        matches!(self, Self::Unnamed(_))
    }

    /// Whether a staged file gets its name by being renamed, where it has one. An error says that it cannot get any.
    pub fn renames(&self) -> rustix::io::Result<bool> {
        let Self::Named(staging, _) = self else { return Ok(true) };
        let (_, mut staged) = match self.open() {
            Err(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => return Ok(true), // nothing is stored there for now
            opened => opened?,
        };
        let Some((_, name)) = &mut staged.named else { return Ok(true) };
        let moved = format!("{name}-moved");
        let renames = directory::rename_if_possible((staging.as_fd(), name), (staging.as_fd(), &moved))?;
        if !renames {
            directory::move_file(staging, name, staging, &moved)?;
        }
        *name = moved; // which goes with the file
        Ok(renames)
    }

    /// Makes a new file: the end that can write, to be handed away, and the keeper's own, which cannot.
    pub fn open(&self) -> rustix::io::Result<(OwnedFd, Staged)> {
        match self {
            Self::Unnamed(state) => {
                let writer = open_unnamed(state)?;
                let file = reopen_for_reading(&writer)?;
                Ok((writer, Staged { file, named: None }))
            }
            Self::Named(staging, counter) => {
                let name = format!(
                    "{}-{}",
                    rustix::process::getpid().as_raw_nonzero(),
                    counter.fetch_add(1, Ordering::Relaxed)
                );
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let writer = rustix::fs::openat(staging, &name, flags, STAGED_MODE)?;
                let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = File::from(rustix::fs::openat(staging, &name, reading, Mode::empty())?);
                Ok((writer, Staged { file, named: Some((Arc::clone(staging), name)) }))
            }
        }
    }
}

fn open_unnamed(directory: impl AsFd) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, ".", OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC, STAGED_MODE)
}

fn reopen_for_reading(writer: &OwnedFd) -> rustix::io::Result<File> {
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    Ok(File::from(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?))
}

/// Linux 6.10 and newer link what is open to whoever opened it, in less than half the time that the way by `/proc`
/// takes. Older ones ask for a capability, and say that there is nothing if it is missing.
#[expect(clippy::disallowed_methods, reason = "names a stored file, and does not replace")]
fn link_unnamed(file: &File, directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)
        }
        linked_or_failed => linked_or_failed,
    }
}

impl Staged {
    /// The file, open for reading only.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Links expected of a file that nobody else has given a name.
    #[must_use]
    pub const fn links_expected(&self) -> u64 {
        if self.named.is_some() { 1 } else { 0 }
    }

    /// Gives the file a name in `directory`. Fails with `EXIST` if it is taken.
    pub fn publish(&self, directory: impl AsFd, name: &str) -> rustix::io::Result<()> {
        match &self.named {
            None => link_unnamed(&self.file, directory.as_fd(), name),
            Some((staging, staged_name)) => directory::move_file(staging, staged_name, directory, name),
        }
    }
}

impl Drop for Staged {
    #[expect(clippy::disallowed_methods, reason = "removes the name of a file that was never stored")]
    fn drop(&mut self) {
        if let Some((staging, name)) = &self.named {
            // After publishing, the name is gone from staging and this does nothing.
            let _ = rustix::fs::unlinkat(staging, name, AtFlags::empty());
        }
    }
}

/// Removes what a crash left behind. The caller holds the lock on DATA, so nobody is using it.
#[expect(clippy::disallowed_methods, reason = "removes files that were never stored")]
fn remove_leftovers(staging: &OwnedFd) -> rustix::io::Result<()> {
    for entry in rustix::fs::Dir::read_from(staging)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            rustix::fs::unlinkat(staging, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}
