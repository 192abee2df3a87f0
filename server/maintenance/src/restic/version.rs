//! Which restic it is, and what that one can do.
//!
//! Invariant: what is no restic, or is older than any that was tried, is never given a password.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::run_with_timeout;
use crate::stop::Stop;

/// A version of restic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32);

/// Its version is printed at once; a cold disk or a busy machine may delay that.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);
/// Debian 12's: the oldest that the tests know.
const OLDEST: Version = Version(0, 14);
/// From this one on it waits for others' locks.
const WAITS_FROM: Version = Version(0, 16);
/// From this one on it can repair an index after files were lost.
const REPAIRS_FROM: Version = Version(0, 16);
/// From this one on it speaks to Unix sockets.
const UNIX_SOCKETS_FROM: Version = Version(0, 17);

impl Version {
    /// Asks the program.
    pub(crate) fn of(program: &Path) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("version").stderr(Stdio::null());
        let shown = program.display();
        let output = run_with_timeout(command, ANSWERS_WITHIN, &Stop::default());
        let output = output.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => format!("{shown} does not say its version: {error}; see --restic"),
            _ => format!("cannot start {shown}: {error}; see --restic"),
        })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = Self::parse(&text)
            .ok_or_else(|| format!("{shown} is no restic: its `version` printed '{}'", text.trim()))?;
        version.at_least(OLDEST, program)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix("restic ")?.split('.').map(|number| number.parse().ok());
        Some(Self(numbers.next()??, numbers.next()??))
    }

    fn at_least(self, oldest: Self, program: &Path) -> Result<Self, String> {
        if self >= oldest {
            return Ok(self);
        }
        Err(format!("{} is restic {self}; expected {oldest} or newer, see --restic", program.display()))
    }

    /// The same, if it can repair an index.
    pub(crate) fn that_repairs(program: &Path) -> Result<Self, String> {
        Self::of(program)?.at_least(REPAIRS_FROM, program)
    }

    /// Whether it can speak to a Unix socket.
    pub(crate) fn knows_unix_sockets(self) -> bool {
        self >= UNIX_SOCKETS_FROM
    }

    /// The options with which it waits so long for others' locks, if it can.
    pub(crate) fn wait_for_locks(self, wait: &str) -> Vec<String> {
        let options = (self >= WAITS_FROM).then(|| ["--retry-lock", wait].map(str::to_owned));
        options.into_iter().flatten().collect()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_it_is_restic_is_one() {
        let parsed = Version::parse("restic 0.18.0 compiled with go1.24 on linux/amd64\n");
        assert_eq!(parsed, Some(Version(0, 18)));
        assert_eq!(Version::parse("restic 0.14.0-dev (compiled manually)"), Some(Version(0, 14)));
        for text in ["", "rustic 0.9.1", "restic", "restic x.y", "restic 0"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_old_one_is_not_told_what_it_does_not_know() {
        assert!(Version(0, 15).wait_for_locks("5m").is_empty());
        assert_eq!(Version(0, 16).wait_for_locks("5m"), ["--retry-lock", "5m"]);
        assert!(!Version(0, 16).knows_unix_sockets() && Version(1, 0).knows_unix_sockets());
        assert!(Version(0, 13).at_least(OLDEST, Path::new("restic")).is_err());
    }
}
