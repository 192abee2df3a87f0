//! `pawl maintain forget`: removes snapshots by keep rules, on times that a host cannot forge.
//!
//! Invariant: it removes what [`judge`] said is removed, by id, and nothing else; restic does it at a maintenance door of
//! ours, so that restic's locks are respected, the floor is checked again and all of it is one batch. Data is never
//! pruned here.

mod adopted;
mod canary;
mod read;
mod report;
mod state;

use std::collections::VecDeque;
use std::error::Error;

use pawl_policy::retention::{Held, Judged, Plan, Verdict, judge};
use pawl_policy::{FileId, FileType, Handle};

use super::door::PrivateDoor;
use super::enrol;
use super::locks::{self, Alone, Patience};
use super::session::{self, Session};
use crate::cli::Forget;
use crate::maintenance::restic::Address;
use crate::print::{self, Ended, Outcome};
use crate::store::maintenance::MaintenanceStore;
use crate::store::{AppendStore, now_ms};
pub(super) use adopted::adopt;
pub use canary::CanaryFile;
use read::Reader;
use report::Report;
use state::State;

/// Ids on one command line: well below the kernel's limit.
const IDS_MAX: usize = 5000;

/// Runs the command.
pub(super) fn run(options: &Forget) -> Outcome {
    let mut report = None;
    let forgotten = check(options).and_then(|()| {
        session::act(&options.place, async |session| {
            report = Some(forget(session, options).await?);
            Ok(())
        })
    });
    forgotten.map_err(|error| Ended { code: 2, message: error.to_string() })?;
    let Some(report) = report else { return Ok(()) }; // there is one where there is no error
    if options.json {
        print::json(&report)?;
    } else {
        print::line(&report.text())?;
    }
    match report.exit_code() {
        0 => Ok(()),
        code => Err(Ended { code, message: String::new() }.into()),
    }
}

/// What can be said before anything is opened.
fn check(options: &Forget) -> Outcome {
    if !options.restic.knows_password() {
        return Err(
            "snapshots are read with the repository's password; say --password-file or --password-command"
                .into(),
        );
    }
    enrol::check_version(&options.restic.restic)
}

/// Judges the snapshots of a repository and removes what is to be removed.
pub(super) async fn forget(session: &Session, options: &Forget) -> Result<Report, Box<dyn Error>> {
    if !session.store.repositories().await?.contains(&options.repository) {
        return Err(format!("there is no repository {}", options.repository).into());
    }
    let door = PrivateDoor::open(session)?;
    let address = Address { repository: door.repository(options.repository.as_str()), bucket: None };
    let done = at_door(session, options, &address).await;
    door.close().await?;
    done
}

async fn at_door(
    session: &Session,
    options: &Forget,
    address: &Address<'_>,
) -> Result<Report, Box<dyn Error>> {
    let data = &session.config.data;
    let state = State::load(data, &options.repository)?;
    let mut reader = Reader { session, options, address, state };
    let snapshots = reader.snapshots().await?;
    let plan = Plan {
        rules: options.rules(),
        group_by: options.group_by,
        filter: options.filter(),
        max_share: options.max_share,
        floor_ms: session.config.maintenance.floor_ms(),
    };
    let judged = judge(&snapshots, &plan, now_ms());
    note_fallen(&mut reader.state, &judged);
    reader.state.save(data, &options.repository)?;
    let mut report = Report::new(&options.repository, options.dry_run, &judged);
    let is_removed = |judged: &&Judged<'_>| judged.verdict == Verdict::Remove;
    let ids: Vec<_> = judged.iter().filter(is_removed).map(|judged| judged.snapshot.id).collect();
    if !options.dry_run && !ids.is_empty() {
        report.locks = remove(session, options, address, &ids).await?;
        report.batch = batch(session, options).await?;
    }
    Ok(report)
}

/// Notes which snapshots fell sharply, as it is now.
fn note_fallen(state: &mut State, judged: &[Judged<'_>]) {
    for Judged { snapshot, verdict, .. } in judged {
        let id = snapshot.id.to_string();
        if matches!(verdict, Verdict::Held(Held::Fell { .. })) {
            state.fell.insert(id);
        } else {
            state.fell.remove(&id);
        }
    }
}

/// Removes snapshots once the repository can be had alone, and looks whether they are gone.
async fn remove(
    session: &Session,
    options: &Forget,
    address: &Address<'_>,
    ids: &[FileId],
) -> Result<locks::Report, Box<dyn Error>> {
    let mut ahead: VecDeque<_> = ids.chunks(IDS_MAX).collect();
    let patience = Patience { wait: options.lock_wait.0, until_ms: None };
    let never = async || std::future::pending().await; // it ends with the process
    let forgotten = locks::alone(session, &options.repository, patience, never, async || {
        while let Some(ids) = ahead.front() {
            let ids = ids.iter().map(ToString::to_string);
            options.restic.run(address, ["forget".to_owned()].into_iter().chain(ids).collect()).await?;
            ahead.pop_front();
        }
        Ok(())
    });
    let Alone { outcome, report } = forgotten.await;
    outcome.map_err(|error| {
        let locks = report.text();
        format!("{locks}not all snapshots that were to be were removed: {error}; run this again")
    })?;
    let mut left = Vec::new();
    for id in ids {
        let handle = Handle::File(FileType::Snapshots, *id);
        if session.files.facts(&options.repository, &handle).await?.is_some() {
            left.push(id.to_string());
        }
    }
    if left.is_empty() {
        return Ok(report);
    }
    Err(format!(
        "restic ended well, and these snapshots are still there: {}; run this again",
        left.join(", ")
    )
    .into())
}

/// The batch in which it can be undone: the newest of this user.
async fn batch(session: &Session, options: &Forget) -> Result<Option<String>, Box<dyn Error>> {
    let user = session::user()?;
    let batches = session.store.batches().await?;
    let own = batches.iter().filter(|it| it.repository == options.repository && it.principal == user);
    Ok(own.map(|batch| batch.id.to_string()).max())
}
