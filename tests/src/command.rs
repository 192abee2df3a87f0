//! Running `pawl` itself.
//!
//! Invariant: the binary is the one that was built next to the tests, unless `PAWL_BINARY` names another.

#![expect(clippy::panic, clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::program::Run;

/// What a finished command left behind.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code must be this one.
    ///
    /// # Panics
    ///
    /// When it is not, with all that was printed.
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}: {self:#?}");
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// When it is not one JSON document.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not JSON: {error}: {self:#?}"))
    }
}

/// Path of the binary under test.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn pawl_binary() -> PathBuf {
    let path = env::var_os("PAWL_BINARY").map_or_else(
        || {
            // target/debug/deps/protocol-0123 -> target/debug/pawl
            let mut path = env::current_exe().expect("the test's own path");
            path.pop();
            path.pop();
            path.join("pawl")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is missing: run scripts/test, which builds it (or set PAWL_BINARY)",
        path.display()
    );
    path
}

/// The built `pawl-keeper`, which lies beside `pawl`.
#[must_use]
pub fn keeper_binary() -> PathBuf {
    pawl_binary().with_file_name("pawl-keeper")
}

/// A `pawl` command that inherits nothing that could colour its output.
#[must_use]
pub fn pawl_command() -> Command {
    let mut command = Command::new(pawl_binary());
    command.env("NO_COLOR", "1").env_remove("RUST_LOG").env_remove("CLICOLOR_FORCE");
    command
}

/// Runs `pawl` with these arguments of a server that must refuse to start. One that serves instead would never end, and is
/// waited for no longer than for anything else.
///
/// # Panics
///
/// When it cannot be started, or serves.
pub fn pawl_in_vain<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Finished {
    let mut command = pawl_command();
    command.args(args);
    Run::start(command).end()
}

/// Runs `pawl` with these arguments to its end.
///
/// # Panics
///
/// When it cannot be started.
pub fn pawl<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Finished {
    let output = pawl_command().args(args).output().expect("pawl starts");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
