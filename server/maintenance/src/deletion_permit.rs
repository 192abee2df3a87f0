//! The permit by which a command of maintenance takes a file out of sight, or a lock away.
//!
//! Invariant: it is the same decision as over the protocol.

use pawl_policy::{
    Action, Context, Delete, Denial, FileState, Grant, Handle, Permit, PrincipalName, RepositoryName, Role,
    decide,
};

use pawl_store::{Facts, now_ms};

/// Decides about a file of which this is known. A snapshot has to be older than the floor.
pub(super) fn permit(
    user: &PrincipalName,
    repository: &RepositoryName,
    handle: Handle,
    facts: &Facts,
    floor_ms: u64,
) -> Result<Permit, Denial> {
    let now_ms = now_ms();
    let file = FileState::Present {
        creator: facts.creator.clone(),
        age_ms: facts.age_ms(now_ms),
        audience: facts.audience,
    };
    let context = Context { now_ms, file, snapshot_floor_ms: floor_ms, ..Context::NOTHING_KNOWN };
    let grant = Grant::new(repository.clone(), Role::Maintenance);
    decide(user, &grant, Action::Delete(Delete { repository: repository.clone(), handle }), &context)
}
