//! `pawl maintain undelete`: brings back a batch, and the later ones of its repository.
//!
//! Invariant: what a file needs comes back before it does: data before indexes, indexes before snapshots, through all
//! batches; each is hashed first, and none that is there is replaced. Run again after a crash, it goes on.

use bytesize::ByteSize;
use futures_util::TryStreamExt;
use indicatif::ProgressBar;
use pawl_config::hint;
use pawl_config::pace::Pace;
use pawl_config::print::{self, Outcome};
use pawl_policy::{BatchId, FileType, Handle, RepositoryName};
use pawl_store::maintenance::{Batch, Hidden, MaintenanceStore, Place, PutBackError, Reason};
use pawl_store::{Created, StoreError};
use serde::Serialize;

use super::batch_list::{self, count, weigh};
use super::map_concurrent::{FILES_AT_A_TIME, map_concurrent};
use super::session::{self, Session};
use super::{progress, session::is_right};
use crate::command_line::Undelete;

/// In this order things come back.
const PHASES: [Option<FileType>; 6] = [
    Some(FileType::Keys),
    None, // config
    Some(FileType::Data),
    Some(FileType::Index),
    Some(FileType::Snapshots),
    Some(FileType::Locks),
];

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    batches: Vec<String>,
    brought_back: u64,
    bytes: u64,
    already_there: u64,
    /// Files that were not brought back, and why.
    left: Vec<String>,
}

/// Runs the command.
pub(super) fn run(options: &Undelete) -> Outcome {
    let Some(batch) = &options.batch else { return batch_list::list(&options.place, options.json) };
    session::act(&options.place, async |session| {
        let batches = chosen(session, batch, options.only).await?;
        let mut report = Report::default();
        let Some(Batch { repository, .. }) = batches.first().cloned() else {
            return Err(StoreError::NotFound.into()); // there is one at least
        };
        let mut files = 0;
        for batch in &batches {
            report.batches.push(batch.id.to_string());
            files += weigh(&session.store, batch).await?.usage.files;
        }
        let brought =
            bring_back(session, &batches, &progress::bar(files, "bringing back"), &mut report).await?;
        check(session, &repository, &brought, &mut report).await?;
        for batch in &batches {
            if weigh(&session.store, batch).await?.usage.files == 0 {
                session.store.end_batch(&batch.id).await?;
            }
        }
        tell(&report, &repository, options)
    })
}

/// The batch that was asked for, and those after it, unless it alone was asked for.
async fn chosen(
    session: &Session,
    asked_for: &BatchId,
    only: bool,
) -> Result<Vec<Batch>, Box<dyn std::error::Error>> {
    let all = session.store.batches().await?;
    if let Some(batch) =
        session.store.unreadable_batches().await?.into_iter().find(|batch| batch.id == *asked_for)
    {
        return Err(batch.why.into());
    }
    let Some(first) = all.iter().find(|batch| batch.id == *asked_for) else {
        return Err(format!(
            "there is no batch {asked_for}: it was brought back or purged, or never was; `{}` lists those that are",
            hint::pawl("maintain undelete")
        )
        .into());
    };
    if first.reason == Reason::Damaged {
        return Err(format!("batch {asked_for} holds damaged files, which do not come back").into());
    }
    let repository = first.repository.clone();
    let is_meant = |batch: &Batch| {
        batch.id == *asked_for
            || (!only
                && batch.id > *asked_for
                && batch.repository == repository
                && batch.reason == Reason::Deleted)
    };
    Ok(all.into_iter().filter(is_meant).collect())
}

/// Brings everything back that can be, and says what it was.
async fn bring_back(
    session: &Session,
    batches: &[Batch],
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<Vec<Handle>, StoreError> {
    let mut brought = Vec::new();
    for phase in PHASES {
        for batch in batches {
            let mut entries = std::pin::pin!(session.store.hidden(&batch.id).await?);
            while let Some(found) = entries.try_next().await? {
                let found = found.iter().filter(|hidden| hidden.handle.file_type() == phase);
                let came = map_concurrent(found, FILES_AT_A_TIME, |hidden| async move {
                    let came = session.store.bring_back(&batch.id, &hidden.handle).await;
                    bar.inc(1);
                    match came {
                        // A lifecycle rule has ended it, or somebody removed it: the others come back all the same.
                        Err(PutBackError::Store(error)) if !matches!(error, StoreError::NotFound) => {
                            Err(error)
                        }
                        other => Ok((hidden, other)),
                    }
                });
                for (hidden, came) in came.await? {
                    if note(hidden, came, report) {
                        brought.push(hidden.handle);
                    }
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(brought)
}

/// Notes what came of a file, and says whether it came back.
fn note(hidden: &Hidden, came: Result<Created, PutBackError>, report: &mut Report) -> bool {
    match came {
        Ok(Created::Stored) => {
            report.brought_back += 1;
            report.bytes += hidden.bytes;
            return true;
        }
        Ok(Created::AlreadyThere) => report.already_there += 1,
        Err(error) => report.left.push(format!("{}: {error}", hidden.handle)),
    }
    false
}

/// Looks once more at what came back, where everybody sees it.
async fn check(
    session: &Session,
    repository: &RepositoryName,
    brought: &[Handle],
    report: &mut Report,
) -> Result<(), StoreError> {
    let bar = progress::bar(brought.len() as u64, "checking");
    let right = map_concurrent(brought, FILES_AT_A_TIME, |handle| async move {
        is_right(&session.store, repository, handle, &Place::Current, &Pace::default()).await
    });
    for (handle, right) in brought.iter().zip(right.await?) {
        if !right {
            report.left.push(format!("{handle}: it came back, and does not hash to its name now"));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn tell(report: &Report, repository: &RepositoryName, options: &Undelete) -> Outcome {
    if options.json {
        print::json(report)?;
    } else {
        for line in &report.left {
            print::line(line)?;
        }
        let size = ByteSize(report.bytes);
        print::line(&format!(
            "Brought back and checked: {}, {} of {repository}. Already there: {}.",
            count(report.brought_back),
            size.display().iec(),
            report.already_there
        ))?;
    }
    if report.left.is_empty() {
        return Ok(());
    }
    let left = count(report.left.len() as u64);
    let list = hint::pawl("maintain undelete");
    Err(format!("{left} could not be brought back, and stay where they are; see `{list}`").into())
}
