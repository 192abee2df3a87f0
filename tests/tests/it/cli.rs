//! The command line as a user meets it: commands, exit codes, errors, what is printed.
//!
//! Invariant: what changes by a command shows at a server that was running all the time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod configuration;
mod hints;
mod hosts;
mod starting;
mod tls;
mod usage;
mod users;

use std::path::Path;

/// Writes a file that is the test's own.
fn write(path: &Path, text: &str) {
    pawl_tests::store::plant(path, text.as_bytes());
}
