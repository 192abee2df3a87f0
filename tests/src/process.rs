//! Finding, watching and killing the server's processes.
//!
//! Invariant: a process is killed through a descriptor that was opened while it was known to be ours, never
//! through a number that may belong to another by now.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What a keeper is called.
pub(crate) const KEEPER: &str = "pawl-keeper";

/// A process of a server.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    descriptor: OwnedFd,
}

impl Process {
    /// The process with this number, if it is alive.
    #[must_use]
    pub fn open(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { pid, descriptor })
    }

    /// The child of `parent` that is called `name`, if there is one.
    #[must_use]
    pub fn child_of(parent: u32, name: &str) -> Option<Self> {
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            // 4711 (pawl-keeper) S 4710 …
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (before, after) = stat.rsplit_once(')')?;
            let (_, comm) = before.split_once('(')?;
            let parent_of_it: u32 = after.split_whitespace().nth(1)?.parse().ok()?;
            if comm == name && parent_of_it == parent { Self::open(pid) } else { None }
        })
    }

    /// Its number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether it still runs. One that has ended but was not waited for does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let mut ended = [PollFd::new(&self.descriptor, PollFlags::IN)];
        poll(&mut ended, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
    }

    /// Sends a signal. One that has ended already gets none.
    pub fn signal(&self, signal: Signal) {
        // The only failure is that the process has ended.
        let _ = pidfd_send_signal(&self.descriptor, signal);
    }
}
