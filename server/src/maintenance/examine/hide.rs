//! Hides junk as one batch.
//!
//! Invariant: every file passes the same decision as over the protocol, but for the floor: junk protects nobody.

use pawl_policy::{
    Action, Circumstances, Delete, FileState, Grant, Handle, Permit, PrincipalName, RepositoryName, Role,
    decide,
};

use super::{ExamineError, Junk};
use crate::maintenance::session::{self, Session};
use crate::store::maintenance::{MaintenanceStore, Reason};
use crate::store::{AppendStore, now_ms};

/// Hides files, and notes who stored them. Returns what to undo: locks are removed, which cannot be.
pub(super) async fn hide(
    session: &Session,
    repository: &RepositoryName,
    junk: &mut [Junk],
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
    let now_ms = now_ms();
    let age_ms = facts.age_ms(now_ms);
    let circumstances = Circumstances {
        now_ms,
        file: FileState::Present { creator: facts.creator, age_ms, audience: facts.audience },
        snapshot_floor_ms: 0,
        ..Circumstances::NOTHING_KNOWN
    };
    let grant = Grant::new(repository.clone(), Role::Maintenance);
    let action = Action::Delete(Delete { repository: repository.clone(), handle });
    let decided = decide(user, &grant, action, &circumstances);
    decided.map(Some).map_err(|denial| ExamineError::Other(format!("{handle}: {denial}")))
}
