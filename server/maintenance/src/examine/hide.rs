//! Hides junk as one batch.
//!
//! Invariant: every file passes the same decision as over the protocol, but for the floor: junk protects nobody.

use pawl_config::files::FileError;
use pawl_policy::{BatchId, Handle, Permit, PrincipalName, RepositoryName};
use pawl_store::AppendStore;
use pawl_store::maintenance::{MaintenanceStore, Reason};

use super::{ExamineError, Junk};
use crate::deletion_permit;
use crate::session::{self, Session};

/// Hides files, and notes who stored them. `note` is told of the batch before it holds anything. Returns what to undo: locks
/// are removed, which cannot be.
pub(super) async fn hide(
    session: &Session,
    repository: &RepositoryName,
    junk: &mut [Junk],
    mut note: impl FnMut(&BatchId) -> Result<(), FileError> + Send,
) -> Result<Option<String>, ExamineError> {
    let user = session::user().map_err(|error| ExamineError::Other(error.to_string()))?;
    let mut batch = None;
    for file in junk {
        let Some(permit) = permit(session, repository, &user, file).await? else { continue };
        match permit {
            Permit::RemoveLock(permit) => session.files.remove_lock(&permit).await?,
            Permit::Delete(permit) => {
                if batch.is_none() {
                    let begun = session.store.begin_batch(repository, &user, Reason::Deleted).await?;
                    note(&begun.id)?;
                    batch = Some(begun.id);
                }
                let Some(id) = &batch else { continue };
                session.store.hide(&permit, id).await?;
            }
            _ => return Err(ExamineError::Other("a deletion was decided to be something else".to_owned())),
        }
    }
    Ok(batch.map(|id| id.to_string()))
}

/// The permit for a file that is still there.
async fn permit(
    session: &Session,
    repository: &RepositoryName,
    user: &PrincipalName,
    file: &mut Junk,
) -> Result<Option<Permit>, ExamineError> {
    let handle: Handle = file.handle;
    let Some(facts) = session.files.facts(repository, &handle).await? else { return Ok(None) };
    file.creator = facts.creator.as_ref().map(ToString::to_string);
    let decided = deletion_permit::permit(user, repository, handle, &facts, 0);
    decided.map(Some).map_err(|denial| ExamineError::Other(format!("{handle}: {denial}")))
}
