//! Whether confinement holds, found out by trying: on a file of Pawl's own that was stored like any other.
//!
//! Invariant: an attempt that succeeds, or fails for a reason that is no refusal, ends the server before it serves.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// The directory of the files that are tried, beneath DATA.
pub const CANARY: &str = ".pawl/canary";
/// Stored by the keeper at its start.
pub const BEFORE: &str = "before";
/// Stored by the frontend once it is confined.
pub const AFTER: &str = "after";

/// The frontend could do what it must not.
#[derive(Debug, thiserror::Error)]
#[error(
    "the self-test could {attempt} {} although {by} should refuse it ({outcome}); not serving. This is a fault of \
     this kernel, of how it is set up, or of Pawl: please report it", path.display()
)]
pub struct Surprise {
    attempt: &'static str,
    path: PathBuf,
    by: &'static str,
    outcome: String,
}

/// Tries all that must be refused. Without a canary, on a disk that was full at the keeper's start, only what needs
/// none can be tried.
pub(super) fn all_refused(canary: Option<&Path>, by: &'static str) -> Result<(), Surprise> {
    let Some(canary) = canary else { return Ok(()) };
    for (attempt, outcome) in attempts(canary) {
        let surprise = |outcome: String| Surprise { attempt, path: canary.to_owned(), by, outcome };
        match outcome {
            // A disk that is read-only says so before anybody is asked. A link or a move that is refused looks like
            // one to another file system.
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::XDEV) => {}
            Err(other) => return Err(surprise(other.to_string())),
            Ok(()) => return Err(surprise("it did".to_owned())),
        }
    }
    Ok(())
}

/// What each attempt came to.
#[expect(
    clippy::disallowed_methods,
    reason = "what is tried here must fail, and is tried on Pawl's own file alone"
)]
fn attempts(canary: &Path) -> [(&'static str, rustix::io::Result<()>); 7] {
    let beside = canary.with_extension("new");
    let open = |path: &Path, flags| {
        rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).map(drop)
    };
    [
        ("open for writing", open(canary, OFlags::WRONLY)),
        ("open for reading and writing", open(canary, OFlags::RDWR)),
        ("truncate", open(canary, OFlags::WRONLY | OFlags::TRUNC)),
        ("make a new file beside", open(&beside, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)),
        ("rename", rustix::fs::renameat(CWD, canary, CWD, &beside)),
        ("link", rustix::fs::linkat(CWD, canary, CWD, &beside, AtFlags::empty())),
        ("delete", rustix::fs::unlinkat(CWD, canary, AtFlags::empty())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_refuses_is_a_surprise() {
        let dir = tempfile::tempdir().unwrap();
        let canary = dir.path().join("before");
        std::fs::File::create_new(&canary).unwrap();
        let surprise = all_refused(Some(&canary), "nothing").unwrap_err();
        assert_eq!((surprise.attempt, surprise.outcome.as_str()), ("open for writing", "it did"));
    }

    #[test]
    fn a_failure_that_is_no_refusal_is_a_surprise() {
        let dir = tempfile::tempdir().unwrap();
        let surprise = all_refused(Some(&dir.path().join("gone")), "nothing").unwrap_err();
        assert!(surprise.to_string().contains("please report it"), "{surprise}");
    }
}
