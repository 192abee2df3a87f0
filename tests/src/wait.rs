//! Waiting for a condition.
//!
//! Invariant: every wait has the same deadline, far longer than anything takes that works; no test depends on
//! how long something took.

use std::thread;
use std::time::{Duration, Instant};

/// After this long, what is waited for will not come, on however slow and busy a machine.
pub const DEADLINE: Duration = Duration::from_mins(5);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Asks until `condition` yields a value, and returns that.
///
/// # Panics
///
/// When the deadline has passed; `what` says what was waited for.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(BETWEEN_LOOKS);
    }
}
