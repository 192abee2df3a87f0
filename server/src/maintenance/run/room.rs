//! Room on the disk that one run leaves for the next, so that it can begin on a full one, and free what is due.
//!
//! Invariant: it holds nothing; without it a run only may not begin where the disk is full.

use std::path::{Path, PathBuf};

use super::super::session;
use crate::files;
use crate::store::local;

/// What a run writes before it frees something: its own state, and lines of the audit log.
const BYTES: u64 = 4 << 20;

/// Gives it up where there is hardly any left.
pub(super) fn give_up(data: &Path) {
    if !is_scarce(data) {
        return;
    }
    if let Err(error) = files::remove(&path(data)) {
        tracing::warn!(%error, "the disk is full, and the room that was kept for this run stays taken");
    }
}

/// Takes it for the next run, if there is enough.
pub(super) fn take(data: &Path) {
    if is_scarce(data) {
        return;
    }
    if let Err(error) = files::take_room(&path(data), BYTES) {
        tracing::debug!(%error, "no room is kept for the next run");
    }
}

/// What cannot be found out is not scarce.
fn is_scarce(data: &Path) -> bool {
    local::space_of(data).is_ok_and(|space| space.free_bytes < 2 * BYTES)
}

fn path(data: &Path) -> PathBuf {
    session::directory(data).join("run").join(",room")
}
