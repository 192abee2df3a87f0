//! Whether something keeps this machine's clock right.
//!
//! Invariant: what cannot be found out is unknown, never right.

use std::io;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};

use pawl_policy::Clock;

/// The kernel adds to its largest error as long as nothing corrects the clock, and counts it as unsynchronised from this
/// many microseconds on.
const ERROR_MAX_US: i64 = 16_000_000;

/// Asks the kernel, which answers in a container as well. Where a filter of system calls keeps that away, as
/// `ProtectClock=` does, systemd is asked, which asks the same.
#[must_use]
pub(crate) fn state() -> Clock {
    match largest_error_us() {
        Ok(error_us) if error_us < ERROR_MAX_US => Clock::Synchronised,
        Ok(_) => Clock::Unsynchronised,
        Err(_) => by_systemd(),
    }
}

/// The same, for somebody who says that the clock is right: of what keeps it so the machine may not know.
pub(super) fn believed(is_right: bool) -> Clock {
    if is_right { Clock::Synchronised } else { state() }
}

fn by_systemd() -> Clock {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match asked {
        Ok(output) if output.status.success() => match output.stdout.trim_ascii() {
            b"yes" => Clock::Synchronised,
            b"no" => Clock::Unsynchronised,
            _ => Clock::Unknown,
        },
        Ok(_) | Err(_) => Clock::Unknown,
    }
}

/// By how much the clock can be wrong at most, in microseconds, as adjtimex(2) says it. Not its flag `STA_UNSYNC`: chrony
/// sets that only to keep the kernel from the hardware clock.
#[expect(unsafe_code, reason = "no crate in use wraps adjtimex")]
fn largest_error_us() -> io::Result<i64> {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: `timex` consists of integers, so all zeros are a value of it. Its `modes` are 0, with which the call changes
    // nothing and needs no privilege. The pointer is to memory of ours of that type, which the kernel fills, and does not
    // keep.
    let (answer, state) = unsafe { (libc::adjtimex(state.as_mut_ptr()), state.assume_init()) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(state.maxerror) }
}
