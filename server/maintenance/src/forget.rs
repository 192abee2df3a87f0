//! `pawl maintain forget`: removes snapshots by keep rules, on times that a host cannot forge.
//!
//! Invariant: it removes what [`judge`] said is removed, by id, and nothing else; restic does it at a maintenance server of
//! ours, so that restic's locks are respected, the floor is checked again and all of it is one batch. Data is never
//! pruned here.

mod adopted;
mod canary;
mod listed;
mod read;
mod report;
mod state;

use std::collections::VecDeque;
use std::error::Error;

use pawl_config::print::{self, ExitStatus, Outcome};
use pawl_config::retention::Retention;
use pawl_policy::retention::{DaysLeft, Filter, Held, Judged, Plan, Verdict, days_left, judge};
use pawl_policy::{FileId, FileType, Handle, RepositoryName};
use pawl_store::maintenance::MaintenanceStore;
use pawl_store::{AppendStore, now_ms};

use super::locks::{ExclusiveAccess, LocksError, ON_ITS_WAY, Timeouts};
use super::server::PrivateServer;
use super::session::{self, Session};
use super::stop::Stop;
use crate::command_line::Forget;
use crate::restic::Restic;
use crate::restic::Version;
pub(super) use adopted::{trust, trust_what_came_from_elsewhere};
use read::Reader;
use report::Report;
use state::State;

/// Ids on one command line: well below the kernel's limit.
const IDS_MAX: usize = 5000;

/// Runs the command.
pub(super) fn run(options: &Forget) -> Outcome {
    let mut report = None;
    let prepared = session::config(&options.place).and_then(|config| {
        let settings = options.settings(config.maintenance.run.of(&options.repository));
        let restic = Restic::of(&settings, Stop::default());
        check(&restic)?;
        Ok((config, settings, restic))
    });
    let forgotten = prepared.and_then(|(config, settings, restic)| {
        session::act_quietly(config, async |session| {
            if !session.store.repositories().await?.contains(&options.repository) {
                return Err(format!("there is no repository {}", options.repository).into());
            }
            let wanted = Wanted {
                repository: &options.repository,
                retention: &settings.retention,
                filter: options.filter(),
                dry_run: options.dry_run,
                restic: &restic,
            };
            let on_its_way = options.locks_arrive_within.map_or(ON_ITS_WAY, |time| time.0);
            let wait = settings.lock_wait.unwrap_or_default().0;
            let patience = Timeouts { wait, on_its_way, stop: Stop::default() };
            let mut quiet = ExclusiveAccess::of(session, &options.repository, patience);
            let forgotten = forget(session, &wanted, &mut quiet).await;
            let locks = quiet.end().await;
            let forgotten = forgotten.map_err(|error| format!("{}{error}", locks.text()))?;
            report = Some(Report { locks, ..forgotten });
            Ok(())
        })
    });
    forgotten.map_err(|error| ExitStatus { code: 2, message: error.to_string() })?;
    let Some(report) = report else { return Ok(()) }; // there is one where there is no error
    let end = ExitStatus { code: report.exit_code(), message: String::new() };
    print::report(&report, Report::text, end, options.json)
}

/// What can be said before anything is opened.
fn check(restic: &Restic) -> Outcome {
    if !restic.knows_password() {
        return Err(
            "snapshots are read with the repository's password; say --password-file or --password-command, or \
             password_file in [maintenance.run] of the configuration"
                .into(),
        );
    }
    Version::of(restic.program())?;
    Ok(())
}

/// What is to be done in a repository.
pub(super) struct Wanted<'a> {
    pub(super) repository: &'a RepositoryName,
    pub(super) retention: &'a Retention,
    pub(super) filter: Filter,
    pub(super) dry_run: bool,
    pub(super) restic: &'a Restic,
}

/// Judges the snapshots of a repository and removes what is to be removed.
pub(super) async fn forget(
    session: &Session,
    wanted: &Wanted<'_>,
    quiet: &mut ExclusiveAccess<'_>,
) -> Result<Report, Box<dyn Error>> {
    let version = Version::of(wanted.restic.program())?;
    let door = PrivateServer::open(session, wanted.repository, version).await?;
    let done = at_door(session, wanted, &door, quiet).await;
    let refused = door.refused();
    door.close().await?;
    let mut report = done?;
    report.refused = refused;
    Ok(report)
}

async fn at_door(
    session: &Session,
    wanted: &Wanted<'_>,
    door: &PrivateServer<'_>,
    quiet: &mut ExclusiveAccess<'_>,
) -> Result<Report, Box<dyn Error>> {
    let address = door.address();
    let data = &session.config.data;
    let state = State::load(data, wanted.repository)?;
    let mut reader = Reader { session, wanted, address: &address, state };
    let snapshots = reader.snapshots().await?;
    // A part of the groups says nothing about how much of each was left.
    let is_whole = wanted.filter == Filter::default();
    let plan = Plan {
        rules: wanted.retention.keep.rules(),
        group_by: wanted.retention.group_by.unwrap_or_default(),
        filter: wanted.filter.clone(),
        max_share: wanted.retention.max_share.unwrap_or_default(),
        earlier: if is_whole {
            reader.state.left_by(&wanted.retention.keep.rules())
        } else {
            DaysLeft::new()
        },
        judged_before: reader.state.judged(),
        floor_ms: session.config.maintenance.floor_ms(),
    };
    let judged = judge(&snapshots, &plan, now_ms());
    note_fallen(&mut reader.state, &judged);
    reader.state.save(data, wanted.repository)?;
    let mut report = Report::new(wanted.repository, wanted.dry_run, &judged);
    let is_removed = |judged: &&Judged<'_>| judged.verdict == Verdict::Remove;
    let ids: Vec<_> = judged.iter().filter(is_removed).map(|judged| judged.snapshot.id).collect();
    if !wanted.dry_run && !ids.is_empty() {
        remove(session, wanted, door, &ids, quiet).await?;
        report.batch = batch(session, wanted).await?;
    }
    if !wanted.dry_run && is_whole {
        let groups = judged.iter().map(|judged| &judged.group).collect();
        reader.state.note_left(&plan.rules, &groups, days_left(&judged));
        reader.state.save(data, wanted.repository)?;
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
    wanted: &Wanted<'_>,
    door: &PrivateServer<'_>,
    ids: &[FileId],
    quiet: &mut ExclusiveAccess<'_>,
) -> Result<(), Box<dyn Error>> {
    let address = door.address();
    let mut ahead: VecDeque<_> = ids.chunks(IDS_MAX).collect();
    let forgotten = quiet.run_exclusively(async || {
        while let Some(ids) = ahead.front() {
            let ids = ids.iter().map(ToString::to_string);
            let args = ["forget".to_owned()].into_iter().chain(ids).collect();
            wanted.restic.run(&address, args).await?;
            ahead.pop_front();
        }
        Ok(())
    });
    match forgotten.await {
        Ok(()) => {}
        Err(error @ LocksError::NoTime(_)) => return Err(error.into()),
        Err(error) => {
            let why = format!("not all snapshots that were to be were removed: {error}; run this again");
            return Err(why.into());
        }
    }
    let mut left = Vec::new();
    for id in ids {
        let handle = Handle::File(FileType::Snapshots, *id);
        if session.files.facts(wanted.repository, &handle).await?.is_some() {
            left.push(id.to_string());
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(format!(
        "restic ended well, and these snapshots are still there: {}; run this again",
        left.join(", ")
    )
    .into())
}

/// The batch in which it can be undone: the newest of this user.
async fn batch(session: &Session, wanted: &Wanted<'_>) -> Result<Option<String>, Box<dyn Error>> {
    let user = session::user()?;
    let batches = session.store.batches().await?;
    let own = batches.iter().filter(|it| it.repository == *wanted.repository && it.principal == user);
    Ok(own.map(|batch| batch.id.to_string()).max())
}
