//! Room on the disk that one run leaves for the next, so that it can begin on a full one, and free what is due.
//!
//! Invariant: it holds nothing; without it a run only may not begin where the disk is full.

use std::path::{Path, PathBuf};

use pawl_config::files;

use crate::state_file;

/// What a run writes before it frees something: its own state, and lines of the audit log.
const BYTES: u64 = 4 << 20;
/// Files that it makes before: its state anew, and a mark for each batch that it saw today.
const FILES: u64 = 256;

/// Gives it up where there is hardly any left.
pub(super) fn give_up(data: &Path) {
    if !is_scarce(data) {
        return;
    }
    for path in paths(data) {
        if let Err(error) = files::remove(&path) {
            return tracing::warn!(%error, "the disk is full, and the room that was kept for this run stays taken");
        }
    }
}

/// Takes it for the next run, if there is enough.
pub(super) fn take(data: &Path) {
    if is_scarce(data) {
        return;
    }
    for (path, bytes) in paths(data).zip(std::iter::once(BYTES).chain(std::iter::repeat(0))) {
        if let Err(error) = files::take_room(&path, bytes) {
            return tracing::debug!(%error, "no room is kept for the next run");
        }
    }
}

/// What cannot be found out is not scarce. A file system that makes inodes as they are needed says that it has none.
fn is_scarce(data: &Path) -> bool {
    rustix::fs::statvfs(data).is_ok_and(|stat| {
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        free_bytes < 2 * BYTES || (stat.f_files > 0 && stat.f_favail < 2 * FILES)
    })
}

/// The file with the bytes, and those that are nothing but inodes.
fn paths(data: &Path) -> impl Iterator<Item = PathBuf> {
    let run = state_file::directory(data).join("run");
    std::iter::once(run.join(",room"))
        .chain((1..FILES).map(move |number| run.join(format!(",room-{number}"))))
}
