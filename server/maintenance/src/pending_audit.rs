//! What a command has to tell the audit log while other maintenance holds the log.
//!
//! Invariant: it is on disk before the command ends, and the next holder of the maintenance lock tells it first. If a
//! process is killed in between, the log may tell it twice, but never not at all.

use std::path::{Path, PathBuf};

use pawl_config::files::{self, FileError};
use pawl_config::print::Outcome;
use pawl_keeper::{AuditEvent, KeeperClient};

use super::state_file;

fn path(data: &Path) -> PathBuf {
    state_file::of_verification(data).join(",untold.json")
}

fn waiting(data: &Path) -> Result<Vec<AuditEvent>, FileError> {
    let path = path(data);
    let Some(text) = files::read(&path)? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|error| FileError::new("understand", &path, error.into()))
}

fn write(data: &Path, pending_audit: &[AuditEvent]) -> Result<(), FileError> {
    let path = path(data);
    let text = serde_json::to_string_pretty(pending_audit);
    let text = text.map_err(|error| FileError::new("write", &path, error.into()))?;
    files::replace(&path, &text, 0o640)
}

/// Keeps events until somebody can tell them.
pub(super) fn keep(data: &Path, new: Vec<AuditEvent>) -> Result<(), FileError> {
    files::make_directory(&state_file::of_verification(data), 0o700)?;
    let mut pending_audit = waiting(data)?;
    pending_audit.extend(new);
    write(data, &pending_audit)
}

/// Writes all events that wait into the audit log.
pub(super) async fn tell(data: &Path, keeper: &KeeperClient) -> Outcome {
    let pending_audit = waiting(data)?;
    if pending_audit.is_empty() {
        return Ok(());
    }
    for told in pending_audit {
        keeper.tell_deed(told).await?;
    }
    Ok(write(data, &[])?)
}

/// Whether other maintenance holds the lock at this moment.
pub(super) fn is_held(data: &Path) -> bool {
    let Some(state) = state_file::directory(data).parent().map(Path::to_owned) else { return false };
    let lock = std::fs::File::open(state.join("maintenance.lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}
