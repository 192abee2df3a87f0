//! The step that looks at all repositories at once.
//!
//! Invariant: one that cannot be looked at fails by itself, and the others are looked at all the same.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bytesize::ByteSize;
use jiff::ToSpan;
use jiff::civil::Date;
use pawl_config::Config;
use pawl_config::files::FileError;
use pawl_policy::{FileType, Handle, RepositoryName};
use pawl_store::maintenance::MaintenanceStore;
use sha2::{Digest, Sha256};

use super::repository_run::RepositoryRun;
use super::step_outcome::StepOutcome;
use crate::batch_list::count;
use crate::command_line::Reading;
use crate::purge::today;
use crate::record::{Day, Step, Verified};
use crate::state_file;
use crate::verify::finding::{Finding, Severity};
use crate::verify::run::Outcome;
use crate::verify::{self, state::States};

/// Findings that are told one by one; `pawl maintain verify` names them all.
const TOLD_MAX: usize = 5;

/// The repositories that are meant: those that are there, those that were verified once, and those that are expected.
pub(super) async fn repositories<S: MaintenanceStore>(
    store: &S,
    config: &Config,
    wanted: &[RepositoryName],
    expected: Vec<RepositoryName>,
) -> Result<Vec<RepositoryName>, Box<dyn Error>> {
    let mut all = store.repositories().await?;
    all.extend(expected);
    all.extend(States::at(&state_file::of_verification(&config.data)).known()?);
    all.sort();
    all.dedup();
    if wanted.is_empty() {
        return Ok(all);
    }
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        return Err(format!("there is no repository {unknown}").into());
    }
    all.retain(|name| wanted.contains(name));
    Ok(all)
}

/// Verifies all in which that was not done yet, together those that are read alike. Returns what could not be written down,
/// for which no other repository waits.
pub(super) async fn all<S: MaintenanceStore>(
    store: &Arc<S>,
    config: &Config,
    repository_runs: &mut [RepositoryRun],
) -> Vec<String> {
    let is_open = |repository_run: &&mut RepositoryRun| repository_run.is_unread();
    let mut groups: Vec<Vec<&mut RepositoryRun>> = Vec::new();
    for repository_run in repository_runs.iter_mut().filter(is_open) {
        let is_alike = |of: &&mut Vec<&mut RepositoryRun>| {
            of.first().is_some_and(|first| is_read_alike(first, repository_run))
        };
        match groups.iter_mut().find(is_alike) {
            Some(alike) => alike.push(repository_run),
            None => groups.push(vec![repository_run]),
        }
    }
    let mut failed = Vec::new();
    for group in groups {
        together(store, config, group, &mut failed).await;
    }
    failed
}

/// Whether two are read at one pace, until one time.
fn is_read_alike(one: &RepositoryRun, other: &RepositoryRun) -> bool {
    let how = |repository_run: &RepositoryRun| {
        (repository_run.settings.bytes_per_second, repository_run.settings.until)
    };
    how(one) == how(other)
}

/// Verifies repositories that are read alike, as if they were one.
async fn together<S: MaintenanceStore>(
    store: &Arc<S>,
    config: &Config,
    mut open: Vec<&mut RepositoryRun>,
    failed: &mut Vec<String>,
) {
    let Some(first) = open.first() else { return };
    let stop = &first.stop.clone();
    let reading = Reading { bytes_per_second: first.settings.bytes_per_second, ..Reading::default() };
    let daily = async |names: Vec<RepositoryName>| {
        tokio::select! {
            outcomes = verify::daily(Arc::clone(store), config, names, &reading, stop) => outcomes,
            () = stop.told() => Err("the work was ended".into()), // what was read is written down every second
        }
    };
    if stop.why().is_some() {
        return;
    }
    let mut keep = |noted: Result<(), FileError>| failed.extend(noted.err().map(|error| error.to_string()));
    let started = Instant::now();
    let names = open.iter().map(|repository_run| repository_run.repository.clone()).collect();
    if let Ok(outcomes) = daily(names).await {
        for repository_run in open {
            let outcome = outcomes.iter().find(|outcome| outcome.repository == repository_run.repository);
            keep(note(repository_run, outcome.ok_or("it was not looked at"), started));
        }
        return;
    }
    for repository_run in &mut open {
        let started = Instant::now();
        let name = repository_run.repository.clone();
        match daily(vec![name]).await {
            _ if stop.told_already() => return,
            Ok(outcomes) => {
                keep(note(repository_run, outcomes.first().ok_or("it was not looked at"), started));
            }
            Err(_) if stop.why().is_some() => return,
            Err(error) => keep(note(repository_run, Err(&error.to_string()), started)),
        }
    }
}

fn note(
    repository_run: &mut RepositoryRun,
    outcome: Result<&Outcome, &str>,
    started: Instant,
) -> Result<(), FileError> {
    let said = match outcome {
        Ok(Outcome { failed: Some(why), .. }) => StepOutcome::failed(why),
        Ok(outcome) => {
            remember(repository_run, outcome);
            repository_run.names = Some(digest(&outcome.visible));
            said(outcome)
        }
        Err(why) => StepOutcome::failed(why),
    };
    repository_run.note(Step::Verify, said, started)
}

/// SHA-256 of the names of these files, locks apart, in order and each followed by a line feed.
fn digest(files: &[Handle]) -> String {
    let is_lock = |handle: &Handle| handle.file_type() == Some(FileType::Locks);
    let mut files: Vec<_> = files.iter().filter(|handle| !is_lock(handle)).collect();
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        digest.update(format!("{file}\n"));
    }
    hex::encode(digest.finalize())
}

/// What the report shows.
fn remember(repository_run: &mut RepositoryRun, outcome: &Outcome) {
    let Ok(today) = today() else { return };
    let is_snapshot = |handle: &&Handle| handle.file_type() == Some(FileType::Snapshots);
    let day = Day {
        files: outcome.files,
        bytes: outcome.bytes,
        snapshots: outcome.visible.iter().filter(is_snapshot).count() as u64,
        parts_verified: outcome.parts_verified,
    };
    repository_run.record.verified =
        Some(Verified { read_ms: outcome.oldest_read_ms, against: against(outcome) });
    repository_run.record.days.insert(today, day);
    for (day, bytes) in &outcome.received {
        let date = i64::try_from(*day)
            .ok()
            .and_then(|days| Date::constant(1970, 1, 1).checked_add(days.days()).ok());
        let Some(date) = date else { continue };
        let seen = repository_run.record.received.entry(date).or_default();
        *seen = (*seen).max(*bytes);
    }
}

/// What speaks against making anything final.
fn against(outcome: &Outcome) -> Option<String> {
    let mut against = outcome.findings.iter().filter(|finding| finding.kind.speaks_against_purge());
    let first = line(against.next()?);
    Some(match against.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    })
}

fn said(outcome: &Outcome) -> StepOutcome {
    let size = |bytes| ByteSize(bytes).display().iec().to_string();
    let found = |severity| outcome.findings.iter().filter(move |it| it.kind.severity() == severity);
    let (damaged, suspicious) = (found(Severity::Damage).count(), found(Severity::Suspicion).count());
    let seen = format!(
        "looked at {}, {}; read {}",
        count(outcome.files),
        size(outcome.bytes),
        size(outcome.bytes_read)
    );
    let text = match (damaged, suspicious) {
        (0, 0) => return StepOutcome::well(seen),
        (0, _) => format!("{seen}; suspicious: {suspicious}"),
        _ => format!("{seen}; found damaged: {damaged}"),
    };
    let findings = found(Severity::Damage).chain(found(Severity::Suspicion));
    StepOutcome::notice(text).and(findings.take(TOLD_MAX).map(line))
}

fn line(finding: &Finding) -> String {
    match &finding.file {
        Some(file) => format!("{file}: {}: {}", finding.kind, finding.detail),
        None => format!("{}: {}", finding.kind, finding.detail),
    }
}
