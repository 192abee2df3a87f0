//! What verification has to tell the audit log, while other maintenance holds it.
//!
//! Invariant: it is on disk before the command ends, and whoever takes the lock of maintenance next tells it first. A
//! killing in between may have it told twice, and never not at all.

use std::path::{Path, PathBuf};

use pawl_config::files::{self, FileError};
use pawl_config::print::Outcome;
use pawl_keeper::{AuditEvent, KeeperClient};

use super::super::session::directory as of_maintenance;

fn path(data: &Path) -> PathBuf {
    super::directory(data).join(",untold.json")
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

/// Keeps it until somebody can tell it.
pub(super) fn keep(data: &Path, new: Vec<AuditEvent>) -> Result<(), FileError> {
    let mut pending_audit = waiting(data)?;
    pending_audit.extend(new);
    write(data, &pending_audit)
}

/// Tells what waits.
pub(in crate::maintenance) async fn tell(data: &Path, keeper: &KeeperClient) -> Outcome {
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
pub(in crate::maintenance) fn is_held(data: &Path) -> bool {
    let Some(state) = of_maintenance(data).parent().map(Path::to_owned) else { return false };
    let lock = std::fs::File::open(state.join("maintenance.lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}
