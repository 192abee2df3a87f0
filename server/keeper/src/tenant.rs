//! For whom a keeper works: for the frontend, or for maintenance. Both may work on one DATA at a time.
//!
//! Invariant: there is one keeper of each side to a DATA, and the two write no file in common but attributes of usage.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use pawl_policy::{Audience, FileType, Handle};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{directory, layout};

/// How long a keeper whose frontend was killed may take to finish.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(20);
/// A lock file holds a line about who has it.
const HOLDER_BYTES_MAX: u64 = 200;

/// For whom a keeper works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenant {
    /// For the frontend.
    Hosts,
    /// For maintenance, which hides and brings back besides.
    Maintenance,
}

impl Tenant {
    /// Its audit log.
    #[must_use]
    pub const fn audit(self) -> &'static str {
        match self {
            Self::Hosts => layout::AUDIT,
            Self::Maintenance => layout::MAINTENANCE_AUDIT,
        }
    }

    /// Where its files wait under a name, if they have to have one.
    #[must_use]
    pub const fn staging(self) -> &'static str {
        match self {
            Self::Hosts => layout::STAGING,
            Self::Maintenance => layout::MAINTENANCE_STAGING,
        }
    }

    /// Who may see a file that is stored on this side.
    #[must_use]
    pub const fn audience(self, handle: &Handle) -> Audience {
        match (self, handle) {
            (Self::Maintenance, Handle::File(FileType::Keys, _)) => Audience::Maintenance,
            _ => Audience::All,
        }
    }

    const fn lock_name(self) -> &'static str {
        match self {
            Self::Hosts => "lock",
            Self::Maintenance => "maintenance.lock",
        }
    }

    fn taken(self, holder: &str) -> std::io::Error {
        std::io::Error::other(match self {
            Self::Hosts => "another pawl is serving this directory; stop it first".to_owned(),
            Self::Maintenance => format!(
                "other maintenance is at work in this directory ({holder}), and only one may be; wait until it has \
                 ended, or stop it"
            ),
        })
    }

    /// Keeps a second keeper of this side away from the same DATA as long as the returned file is open. One that is
    /// about to end, its frontend having been killed, is waited for.
    pub fn lock(self, data: BorrowedFd<'_>) -> std::io::Result<std::fs::File> {
        let state = directory::open_or_make(data, layout::STATE)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = match rustix::fs::openat(&state, self.lock_name(), flags, Mode::from_raw_mode(0o600)) {
            // What is there can be read, and a lock needs no writing.
            Err(Errno::ROFS) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&state, self.lock_name(), flags, Mode::empty())?
            }
            opened_or_failed => opened_or_failed?,
        };
        let mut lock = std::fs::File::from(lock);
        let started = Instant::now();
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if started.elapsed() < LOCK_WAIT_MAX => std::thread::sleep(LOCK_POLL),
                Err(Errno::WOULDBLOCK) => return Err(self.taken(&holder(&mut lock))),
                Err(error) => return Err(error.into()),
            }
        }
        if self == Self::Maintenance {
            let _ = write_holder(&mut lock); // a help for people; a full disk must not keep anybody from reading
        }
        Ok(lock)
    }
}

fn write_holder(lock: &mut std::fs::File) -> std::io::Result<()> {
    let parent = rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    writeln!(lock, "process {parent}")
}

fn holder(lock: &mut std::fs::File) -> String {
    let mut text = String::new();
    let read =
        lock.seek(SeekFrom::Start(0)).and_then(|_| lock.take(HOLDER_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().escape_default().to_string(),
        _ => "of an unknown process".to_owned(),
    }
}
