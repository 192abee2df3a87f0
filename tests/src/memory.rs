//! How much memory a process takes.
//!
//! Invariant: what is measured is what the kernel counts (proc(5)), at its highest since the last reset.

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use std::fs::{self, OpenOptions};
use std::io::Write;

/// Watches a process from here on.
#[derive(Debug)]
pub struct Memory {
    pid: u32,
    before: u64,
}

impl Memory {
    /// Forgets what the process took before.
    #[must_use]
    pub fn watch(pid: u32) -> Self {
        let before = kibibytes(pid, "VmRSS:");
        OpenOptions::new()
            .write(true)
            .open(format!("/proc/{pid}/clear_refs"))
            .and_then(|mut file| file.write_all(b"5"))
            .expect("the peak is reset");
        Self { pid, before }
    }

    /// By how many KiB its resident memory has grown at the most.
    #[must_use]
    pub fn growth(&self) -> u64 {
        kibibytes(self.pid, "VmHWM:").saturating_sub(self.before)
    }
}

/// What a process takes now, in KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    kibibytes(pid, "VmRSS:")
}

fn kibibytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.trim().strip_suffix(" kB"));
    number.and_then(|number| number.parse().ok()).expect("a line of /proc/PID/status")
}
