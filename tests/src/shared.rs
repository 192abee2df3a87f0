//! What several tests of a run need, and the first of them makes.
//!
//! Invariant: nobody sees it before it is whole, and nobody changes it afterwards.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::program::target;

/// The path of what `make` makes at the path that it is given: a file or a directory. Of all tests of a run that ask for
/// this name, each in a process of its own, one makes it, and the others wait.
pub fn made_once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    // cargo-nextest's number of the run; by hand, each process is a run of its own.
    let run = env::var_os("NEXTEST_RUN_ID");
    let run = run.unwrap_or_else(|| format!("of-process-{}", std::process::id()).into());
    let directory = target("made").join(run);
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    let lock = File::create_new(directory.join(format!("{name}.lock")))
        .or_else(|_| File::open(directory.join(format!("{name}.lock"))))
        .unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    if !path.exists() {
        let half = directory.join(format!("{name}.half"));
        make(&half);
        move_to(&half, &path);
    }
    path
}

/// Copies a file or a directory with all that belongs to it: modes, owners, times, attributes.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["--archive", "--reflink=auto"]).arg(from).arg(to).output();
    let copied = copied.expect("cp starts");
    assert!(copied.status.success(), "{}: {copied:?}", from.display());
}

#[expect(clippy::disallowed_methods, reason = "the test's own files")]
fn move_to(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}
