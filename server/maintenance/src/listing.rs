//! The files of one type, as maintenance sees them: keys that hosts do not see are among them.
//!
//! Invariant: it lists by the same decision as over the protocol.

use futures_util::TryStreamExt;
use pawl_policy::{Action, Context, FileId, FileType, Grant, List, Permit, RepositoryName, Role, decide};
use pawl_store::{AppendStore, Entry, StoreError};

use super::session::{self, Session};

/// The ids that are there.
pub(super) async fn ids(
    session: &Session,
    repository: &RepositoryName,
    file_type: FileType,
) -> Result<Vec<FileId>, StoreError> {
    let entries = entries(session, repository, file_type).await?;
    Ok(entries.into_iter().map(|entry| entry.id).collect())
}

/// The same with their sizes.
pub(super) async fn entries(
    session: &Session,
    repository: &RepositoryName,
    file_type: FileType,
) -> Result<Vec<Entry>, StoreError> {
    let user = session::user().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let grant = Grant::new(repository.clone(), Role::Maintenance);
    let action = Action::List(List { repository: repository.clone(), file_type });
    let Ok(Permit::List(permit)) = decide(&user, &grant, action, &Context::NOTHING_KNOWN) else {
        return Err(StoreError::Unavailable(format!("maintenance may not list {file_type}")));
    };
    let mut found = Vec::new();
    let mut listed = std::pin::pin!(session.files.list(permit).await?);
    while let Some(entries) = listed.try_next().await? {
        found.extend(entries);
    }
    Ok(found)
}
