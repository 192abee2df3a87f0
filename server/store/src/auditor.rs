//! What maintenance tells its audit log, for either store.
//!
//! Invariant: a store that was opened for reading only has nobody to tell, so that it does nothing.

use pawl_keeper::{Act, AuditEvent, KeeperClient};
use pawl_policy::{Handle, RepositoryName};

use crate::StoreError;
use crate::maintenance::Batch;

/// The keeper of maintenance, which writes the log.
#[derive(Debug, Clone)]
pub(crate) struct Auditor(Option<KeeperClient>);

impl Auditor {
    pub(crate) const fn new(keeper: Option<KeeperClient>) -> Self {
        Self(keeper)
    }

    /// Refuses, before anything is done, what nobody could be told.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.keeper().map(drop)
    }

    fn keeper(&self) -> Result<&KeeperClient, StoreError> {
        let read_only = || StoreError::Unavailable("this store was opened for reading only".to_owned());
        self.0.as_ref().ok_or_else(read_only)
    }

    /// Tells what became of a file of a batch. Whoever began a batch is named as having filled it.
    pub(crate) async fn tell(
        &self,
        act: Act,
        batch: &Batch,
        handle: &Handle,
        bytes: Option<u64>,
    ) -> Result<(), StoreError> {
        let is_filling = matches!(act, Act::Hide | Act::Displace);
        self.send(AuditEvent {
            principal: if is_filling { batch.principal.to_string() } else { user() },
            file: Some(handle.to_string()),
            bytes,
            batch: Some(batch.id.to_string()),
            ..event(act, &batch.repository)
        })
        .await
    }

    /// Tells what became of a file.
    pub(crate) async fn tell_of_file(
        &self,
        act: Act,
        repository: &RepositoryName,
        handle: &Handle,
        bytes: Option<u64>,
    ) -> Result<(), StoreError> {
        self.send(AuditEvent { file: Some(handle.to_string()), bytes, ..event(act, repository) }).await
    }

    /// Tells what was done in a repository.
    pub(crate) async fn tell_of_repository(
        &self,
        act: Act,
        repository: &RepositoryName,
    ) -> Result<(), StoreError> {
        self.send(event(act, repository)).await
    }

    async fn send(&self, event: AuditEvent) -> Result<(), StoreError> {
        Ok(self.keeper()?.tell_deed(event).await?)
    }
}

fn event(act: Act, repository: &RepositoryName) -> AuditEvent {
    let repository = repository.to_string();
    AuditEvent { act, principal: user(), repository, file: None, bytes: None, batch: None }
}

/// Who does what no principal asked for: the user that the process belongs to.
fn user() -> String {
    format!("uid-{}", rustix::process::getuid().as_raw())
}
