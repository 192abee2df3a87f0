//! `pawl maintain delete`: hides single files, or all of a repository.
//!
//! Invariant: every file passes the same decision as over the protocol, and all pass it before the first is hidden.

use std::error::Error;

use futures_util::TryStreamExt;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_policy::{FileType, Handle, Permit, PrincipalName};
use pawl_store::maintenance::{Found, Hid, MaintenanceStore, Reason};
use pawl_store::{AppendStore, StoreError};
use serde::Serialize;

use super::batch_list::count;
use super::deletion_permit;
use super::session::{self, Session};
use super::{progress, session::user};
use crate::command_line::DeleteFiles;

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    /// What to undo; none if there were only locks.
    batch: Option<String>,
    hidden: u64,
    locks_removed: u64,
}

/// Runs the command.
pub(super) fn run(options: &DeleteFiles) -> Outcome {
    session::act(&options.place, async |session| delete(session, options).await)
}

/// Hides what is named, and says so.
pub(super) async fn delete(session: &Session, options: &DeleteFiles) -> Outcome {
    let principal = user()?;
    let mut permits = Vec::new();
    for handle in wanted(session, options).await? {
        permits.push(permit(session, options, &principal, handle).await?);
    }
    let report = hide(session, options, &principal, permits).await?;
    if options.json {
        return print::json(&report);
    }
    let hidden = count(report.hidden);
    print::line(&match (&report.batch, report.locks_removed) {
        (Some(batch), _) => {
            let undo = hint::pawl(format!("maintain undelete {batch}"));
            format!("Deleted {hidden} of {}. To undo: {undo}", options.repository)
        }
        (None, 0) => format!("There is nothing in {} to delete.", options.repository),
        (None, locks) => format!("Removed {locks} locks of {}.", options.repository),
    })
}

/// What is to go, in the order in which it goes: first what needs the others.
async fn wanted(session: &Session, options: &DeleteFiles) -> Result<Vec<Handle>, Box<dyn Error>> {
    let mut wanted = options.files.clone();
    if wanted.is_empty() {
        let absent = |error| match error {
            StoreError::NotFound => format!("there is no repository {}", options.repository).into(),
            error => Box::<dyn Error>::from(error),
        };
        let mut found = std::pin::pin!(session.store.walk(&options.repository).await.map_err(absent)?);
        while let Some(batch) = found.try_next().await? {
            for found in batch {
                match found {
                    Found::File { handle, .. } => wanted.push(handle),
                    Found::Unexplained { .. } => {} // not visible, or visible and found as a file
                    Found::Foreign { path, .. } => {
                        tracing::warn!(path, "this is no file of restic's, and stays");
                    }
                }
            }
        }
    }
    let order = |handle: &Handle| match handle.file_type() {
        Some(FileType::Locks) => 0,
        Some(FileType::Snapshots) => 1,
        Some(FileType::Index) => 2,
        Some(FileType::Data) => 3,
        Some(FileType::Keys) => 4,
        None => 5,
    };
    wanted.sort_by_key(order);
    Ok(wanted)
}

async fn permit(
    session: &Session,
    options: &DeleteFiles,
    principal: &PrincipalName,
    handle: Handle,
) -> Result<Permit, Box<dyn Error>> {
    let repository = &options.repository;
    let facts = session.files.facts(repository, &handle).await?;
    let Some(facts) = facts else {
        return Err(format!("there is no {handle} in {repository}; nothing was deleted").into());
    };
    let floor_ms = if options.below_floor { 0 } else { session.config.maintenance.floor_ms() };
    deletion_permit::permit(principal, repository, handle, &facts, floor_ms).map_err(|denial| {
        format!("{handle}: {denial}; nothing was deleted (--below-floor deletes young snapshots as well)")
            .into()
    })
}

async fn hide(
    session: &Session,
    options: &DeleteFiles,
    principal: &PrincipalName,
    permits: Vec<Permit>,
) -> Result<Report, Box<dyn Error>> {
    let mut report = Report { batch: None, hidden: 0, locks_removed: 0 };
    let mut batch = None;
    let bar = progress::bar(permits.len() as u64, "deleting");
    for permit in permits {
        match permit {
            Permit::RemoveLock(permit) => {
                session.files.remove_lock(&permit).await?;
                report.locks_removed += 1;
            }
            Permit::Delete(permit) => {
                if batch.is_none() {
                    let begun = session.store.begin_batch(&options.repository, principal, Reason::Deleted);
                    batch = Some(begun.await?.id);
                }
                let Some(id) = &batch else { continue };
                if session.store.hide(&permit, id).await? == Hid::Now {
                    report.hidden += 1;
                }
            }
            _ => return Err("a deletion was decided to be something else".into()),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    report.batch = batch.map(|id| id.to_string());
    Ok(report)
}
