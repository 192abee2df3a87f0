//! Undoing what was added since a moment, where that was asked for.
//!
//! Invariant: each file passes the same decision as over the protocol, the floor of snapshots included, and is hidden
//! into a batch that can be undone.

use std::error::Error;

use pawl_config::hint;
use pawl_policy::{
    Action, Context, Delete, FileState, Grant, Handle, Permit, Permitted, PrincipalName, RepositoryName,
    Role, decide,
};
use pawl_store::maintenance::{Hid, MaintenanceStore, PutBackError, Reason};
use pawl_store::{Facts, now_ms};

use super::as_of::{Since, phase};
use super::report::{Line, Part};
use super::{Job, session};

/// What would be hidden, or is only listed.
pub(super) fn plan<S>(job: &Job<'_, S>, since: &Since, part: &mut Part) {
    let outcome = if job.options.hide_added { "would be deleted" } else { "added since" };
    part.added.extend(since.added.keys().map(|handle| Line::new(handle, outcome, None)));
    if since.config.is_some() {
        part.left.push(config_needs_hiding(job.options.hide_added).to_owned());
    }
}

const fn config_needs_hiding(hide_added: bool) -> &'static str {
    if hide_added {
        "the config of that moment would be put back"
    } else {
        "its config is not that of that moment; with --hide-added the older one is put back"
    }
}

/// Hides it if that was asked for, snapshots first, and puts the older `config` back.
pub(super) async fn carry_out<S: MaintenanceStore>(
    job: &Job<'_, S>,
    repository: &RepositoryName,
    since: &Since,
    part: &mut Part,
) -> Result<(), Box<dyn Error>> {
    if !job.options.hide_added {
        plan(job, since, part);
        return Ok(());
    }
    let principal = session::user()?;
    let mut added: Vec<_> = since.added.iter().collect();
    added.sort_by_key(|(handle, _)| std::cmp::Reverse(phase(handle)));
    // All or nothing: a snapshot that stays needs what came with it.
    let mut permits = Vec::new();
    let mut refused = None;
    for (handle, facts) in &added {
        match permit(job, repository, &principal, **handle, facts) {
            Ok(permit) => permits.push((*handle, permit)),
            Err(why) => refused = refused.or(Some(format!("{handle}: {why}"))),
        }
    }
    if let Some(why) = refused {
        part.added
            .extend(added.iter().map(|(handle, _)| Line::new(handle, "not deleted", Some(why.clone()))));
        return Ok(());
    }
    let mut batch = None;
    for (handle, permit) in permits {
        let id = if let Some(id) = &batch {
            id
        } else {
            let begun = job.store.begin_batch(repository, &principal, Reason::Deleted).await?;
            batch.insert(begun.id)
        };
        match job.store.hide(&permit, id).await? {
            Hid::Now | Hid::Absent => {
                let undo = hint::pawl(format!("maintain undelete {id} --only"));
                part.added.push(Line::new(handle, "deleted", Some(format!("to undo: {undo}"))));
            }
            Hid::Taken => {
                let why = format!("batch {id} has the file already");
                part.added.push(Line::new(handle, "not deleted", Some(why)));
            }
        }
    }
    if let Some(older) = &since.config {
        let (outcome, detail) = match job.store.bring_back(older, &Handle::Config).await {
            Ok(_) => ("restored", format!("from batch {older}")),
            Err(PutBackError::Store(error)) => return Err(error.into()),
            Err(error) => ("not restored", error.to_string()),
        };
        part.files.push(Line::new(&Handle::Config, outcome, Some(detail)));
    }
    Ok(())
}

fn permit<S>(
    job: &Job<'_, S>,
    repository: &RepositoryName,
    principal: &PrincipalName,
    handle: Handle,
    facts: &Facts,
) -> Result<Permitted<Delete>, String> {
    let now_ms = now_ms();
    let context = Context {
        now_ms,
        file: FileState::Present {
            creator: facts.creator.clone(),
            age_ms: facts.age_ms(now_ms),
            audience: facts.audience,
        },
        snapshot_floor_ms: job.config.maintenance.floor_ms(),
        ..Context::NOTHING_KNOWN
    };
    let grant = Grant::new(repository.clone(), Role::Maintenance);
    let action = Action::Delete(Delete { repository: repository.clone(), handle });
    match decide(principal, &grant, action, &context) {
        Ok(Permit::Delete(permit)) => Ok(permit),
        Ok(_) => Err("this file is not deleted so".to_owned()),
        Err(denial) => Err(format!("{denial} (maintenance.min_snapshot_age_days)")),
    }
}
