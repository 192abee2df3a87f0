//! The steps that act, one repository at a time.
//!
//! Invariant: whatever restic does, it does at a server of ours, as an admin's restic would; a deletion that was refused
//! there is a surprise, whatever restic makes of it.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bytesize::ByteSize;
use pawl_config::files::FileError;
use pawl_config::hint;
use pawl_config::run_settings::RunSettings;
use pawl_policy::retention::{Filter, Rules};
use pawl_policy::{DAY_MS, Handle, Usage};
use pawl_store::maintenance::{Batch, MaintenanceStore, Reason};
use pawl_store::{AppendStore, StoreError, local, now_ms};

use super::repository_run::RepositoryRun;
use super::step_outcome::StepOutcome;
use crate::batch_list::{count, weigh};
use crate::command_line::Purge;
use crate::examine;
use crate::forget::{self, Wanted};
use crate::locks::{self, ExclusiveAccess};
use crate::purge::{self as purging, Due};
use crate::record::{CheckedFiles, Done, HeldSnapshot, Record, Step, StepStatus, Verified};
use crate::restic::Version;
use crate::server::{PrivateServer, Young};
use crate::session::{self, Session};
use crate::{progress, restore as restoring, secret};

/// Held snapshots that are named one by one; `pawl maintain forget --dry-run` and the report have them all.
const SUSPICIOUS_NAMED: usize = 5;
/// Digits of an id that are shown.
const ID_SHOWN: usize = 8;
/// Although nothing has changed, restic prunes and checks again so long after the last time, in milliseconds.
const AGAIN_EVERY_MS: u64 = 7 * DAY_MS;

const NO_PASSWORD: &str = "no password is configured (password_file or password_command)";

/// Puts good copies in the place of what verification found damaged.
pub(super) async fn restore(session: &Session, repository_run: &mut RepositoryRun) -> Result<(), FileError> {
    if repository_run.done(Step::Verify).is_none_or(|done| done.ended == StepStatus::Well) {
        return Ok(());
    }
    repository_run
        .step(Step::Restore, async |repository_run| {
            let repaired = async {
                restoring::repair(
                    session,
                    &repository_run.repository,
                    repository_run.settings.bytes_per_second,
                )
                .await
            };
            let part = unless_told(repository_run, repaired).await?;
            let wrong = part.wrong();
            if !wrong.is_empty() {
                let restore =
                    hint::pawl(format!("maintain restore {} --from STORE", repository_run.repository));
                return Ok(StepOutcome::failed(format!(
                    "damage stays; restore from another store: `{restore}`"
                ))
                .and(wrong));
            }
            let batch = part.batches.last().cloned();
            Ok(match part.restored() {
                0 => StepOutcome::well("nothing had to be restored"),
                restored => {
                    let text = format!("restored {} from copies in the store", count(restored as u64));
                    StepOutcome::notice(text).undone_by(batch)
                }
            })
        })
        .await
}

/// Removes snapshots by the keep rules.
pub(super) async fn forget(
    session: &Session,
    repository_run: &mut RepositoryRun,
    quiet: &mut ExclusiveAccess<'_>,
) -> Result<(), FileError> {
    repository_run
        .step(Step::Forget, async |repository_run| {
            if repository_run.settings.retention.keep.rules() == Rules::default() {
                return Ok(StepOutcome::skipped("no keep rules are configured"));
            }
            if let Some(why) = without_restic(session, repository_run).await? {
                return Ok(why);
            }
            let wanted = Wanted {
                repository: &repository_run.repository,
                retention: &repository_run.settings.retention,
                filter: Filter::default(),
                dry_run: false,
                restic: &repository_run.restic,
            };
            let report = forget::forget(session, &wanted, quiet).await?;
            let held = report.snapshots.iter().filter(|line| line.is_held());
            repository_run.record.held = held
                .map(|line| HeldSnapshot {
                    id: line.id.clone(),
                    host: line.host.clone(),
                    received: line.received.clone(),
                    reason: line.reason.clone(),
                    suspicious: line.suspicious,
                    cause: line.cause,
                })
                .collect();
            let text = format!("removed {}, kept {}, held {}", report.removed, report.kept, report.held);
            let look = hint::pawl(format!("maintain forget {} --dry-run", repository_run.repository));
            if let (Some(too_many), 0) = (&report.too_many, report.refused) {
                return Ok(StepOutcome::notice(format!("refused: {too_many}"))
                    .and([text, format!("to look: {look}")])
                    .undone_by(report.batch));
            }
            Ok(match (report.refused, report.suspicious) {
                (0, 0) => StepOutcome::well(text),
                (0, suspicious) => {
                    StepOutcome::notice(format!("{text}; {suspicious} of these should be looked at: {look}"))
                }
                (refused, _) => StepOutcome::failed(format!("{text}; {}", refusals(refused))),
            }
            .and(suspicious(&repository_run.record.held))
            .undone_by(report.batch))
        })
        .await
}

/// Which snapshots should be looked at, and why.
fn suspicious(held: &[HeldSnapshot]) -> Vec<String> {
    let suspicious: Vec<_> = held.iter().filter(|snapshot| snapshot.suspicious).collect();
    let named = suspicious.iter().take(SUSPICIOUS_NAMED);
    let mut said: Vec<_> = named
        .map(|HeldSnapshot { id, reason, .. }| format!("{}: {reason}", id.get(..ID_SHOWN).unwrap_or(id)))
        .collect();
    let more = suspicious.len().saturating_sub(SUSPICIOUS_NAMED);
    said.extend((more > 0).then(|| format!("and {more} more")));
    said
}

/// Has restic prune what was deleted. With keep rules also once a week, for backups that were cut leave data as well. Not
/// every night: restic writes small packs anew each time, and the old ones stay until the delay has passed.
pub(super) async fn prune(
    session: &Session,
    repository_run: &mut RepositoryRun,
    quiet: &mut ExclusiveAccess<'_>,
) -> Result<(), FileError> {
    repository_run
        .step(Step::Prune, async |repository_run| {
            if let Some(why) = without_restic(session, repository_run).await? {
                return Ok(why);
            }
            let has_rules = repository_run.settings.retention.keep.rules() != Rules::default();
            let is_due = repository_run.is_asked_for(Step::Prune)
                || (has_rules && was_long_ago(repository_run.record.pruned_ms));
            if !is_due && !was_deleted_from(session, repository_run).await? {
                let why = "nothing was deleted since the last time";
                return Ok(if has_rules { StepOutcome::well(why) } else { StepOutcome::skipped(why) });
            }
            if !repository_run.record.unseen.is_empty() {
                return Ok(StepOutcome::skipped(format!(
                    "not before somebody has looked at what was hidden: `{}` says that you have",
                    hint::pawl("maintain report --acknowledge")
                )));
            }
            let before = session.store.batches().await?;
            // What is packed anew needs room before anything else is given up.
            let is_local = session.config.s3.is_none();
            let space = is_local.then(|| local::space_of(&session.config.data)).transpose()?;
            let most = space.map(|space| format!("--max-repack-size={}K", space.free_bytes / 2 / 1024));
            let args: Vec<_> = ["prune"].into_iter().chain(most.as_deref()).collect();
            let password = password(repository_run).await?;
            let key = examine::master_key(session, &repository_run.repository, &password).await?;
            let young = Arc::new(Young::of(session, &repository_run.repository, key)?);
            let refused =
                restic(session, repository_run, quiet, &args, "pruning", Some(Arc::clone(&young))).await?;
            if refused == 0 {
                repository_run.record.pruned_ms = Some(now_ms());
            }
            let mut hidden = Usage::default();
            let new = own_since(session, repository_run, &before).await?;
            for batch in &new {
                hidden = hidden.plus(weigh(&session.store, batch).await?.usage);
            }
            let text = format!("deleted {}, {}", count(hidden.files), ByteSize(hidden.bytes).display().iec());
            let said = match refused {
                0 => StepOutcome::well(text),
                refused => StepOutcome::failed(format!("{text}; {}", refusals(refused))),
            };
            let kept = young.kept(session).await?;
            let kept = (kept.files > 0).then(|| {
                format!(
                    "kept {}, {}, which came within the last {}: a backup that was cut may go on with that",
                    count(kept.files),
                    ByteSize(kept.bytes).display().iec(),
                    days(session.config.maintenance.floor_ms())
                )
            });
            Ok(said.and(kept).undone_by(new.last().map(|batch| batch.id.to_string())))
        })
        .await
}

/// The repository's password.
pub(super) async fn password(repository_run: &RepositoryRun) -> Result<Vec<u8>, Box<dyn Error>> {
    let restic = repository_run.restic.clone();
    Ok(tokio::task::spawn_blocking(move || restic.password()).await??)
}

/// Has restic check the structure, and read the portion whose turn it is. Where the store vouches for content, data is read
/// only if the settings say in how many portions: verification compares each SHA-256 there. Of unchanged files, restic would
/// say there what it said before; it is asked again once a week.
pub(super) async fn check(
    session: &Session,
    repository_run: &mut RepositoryRun,
    quiet: &mut ExclusiveAccess<'_>,
) -> Result<(), FileError> {
    repository_run
        .step(Step::Check, async |repository_run| {
            if let Some(why) = without_restic(session, repository_run).await? {
                return Ok(why);
            }
            let portions = repository_run.settings.check_portions.unwrap_or_default().get();
            let portions = portions.min(session.config.maintenance.portions_max());
            let portion = repository_run.record.next_portion.clamp(1, portions);
            let subset = format!("--read-data-subset={portion}/{portions}");
            let is_vouched_for =
                repository_run.settings.check_portions.is_none() && session.files.vouches_for_content();
            let names =
                repository_run.names.clone().filter(|_| is_vouched_for && is_untouched(repository_run));
            if !repository_run.is_asked_for(Step::Check)
                && was_checked(&repository_run.record, names.as_deref())
            {
                return Ok(StepOutcome::well("no file has changed since restic found no errors"));
            }
            // Hosts wait meanwhile: then for the structure alone.
            let is_read = !is_vouched_for && !quiet.is_suspended();
            let args: &[&str] = if is_read { &["check", &subset] } else { &["check"] };
            let refused = restic(session, repository_run, quiet, args, "checking", None).await?;
            if refused > 0 {
                return Ok(StepOutcome::failed(refusals(refused)));
            }
            repository_run.record.checked = names.map(|names| CheckedFiles { names, at_ms: now_ms() });
            if is_vouched_for {
                return Ok(StepOutcome::well(
                    "no errors; no data was read, because the store keeps the SHA-256 of each file",
                ));
            }
            if !is_read {
                return Ok(StepOutcome::well(
                    "no errors; no data was read, because hosts had to wait for it",
                ));
            }
            repository_run.record.next_portion = portion % portions + 1;
            let text = format!("no errors; read portion {portion} of {portions}");
            Ok(StepOutcome::well(text))
        })
        .await
}

/// Whether no step of this run hid a file or brought one back since it verified.
fn is_untouched(repository_run: &RepositoryRun) -> bool {
    let acts = |done: &Done| done.batch.is_some() || matches!(done.step, Step::Restore);
    !repository_run.steps().any(acts)
}

/// Whether restic found no errors in just these files, a week ago at most.
fn was_checked(record: &Record, names: Option<&str>) -> bool {
    let checked = record.checked.as_ref().filter(|checked| names == Some(checked.names.as_str()));
    checked.is_some_and(|checked| !was_long_ago(Some(checked.at_ms)))
}

/// Removes for good what is due, where all that waits was noted as seen and nothing that was found, or not looked at
/// since, could still need it. It comes before what needs room.
pub(super) async fn purge(
    session: &Session,
    repository_run: &mut RepositoryRun,
    unseen: Option<&str>,
) -> Result<(), FileError> {
    repository_run
        .step(Step::Purge, async |repository_run| {
            if let Some(why) = unseen {
                return Ok(StepOutcome::failed(why));
            }
            let RunSettings { bytes_per_second, assume_clock_synced, .. } = repository_run.settings;
            let options = Purge { assume_clock_synced, bytes_per_second, ..Purge::default() };
            let is_checked =
                repository_run.restic.knows_password() && is_initialised(session, repository_run).await?;
            let held_back = |hidden_ms| why_held_back(&repository_run.record, is_checked, hidden_ms);
            let due = async {
                Ok(Box::pin(purging::due(session, &repository_run.repository, &options, &held_back)).await?)
            };
            let Due { removed, kept } = unless_told(repository_run, due).await?;
            let text = match removed.files {
                0 if kept.is_empty() => "nothing is due".to_owned(),
                0 => "nothing was removed of what is due".to_owned(),
                files => {
                    format!("removed {}, {}, for good", count(files), ByteSize(removed.bytes).display().iec())
                }
            };
            Ok(if kept.is_empty() { StepOutcome::well(text) } else { StepOutcome::notice(text).and(kept) })
        })
        .await
}

/// Why what was hidden then is not made final yet, if so: what could still need it was found, or was not looked at since.
fn why_held_back(record: &Record, is_checked: bool, hidden_ms: u64) -> Option<String> {
    let Record { verified, checked_ms, .. } = record;
    let Some(Verified { read_ms, against }) = verified else {
        return Some("nothing was verified yet".to_owned());
    };
    if let Some(against) = against {
        return Some(format!("verification found something that may need it: {against}"));
    }
    if read_ms.is_none_or(|read_ms| read_ms < hidden_ms) {
        let verify = hint::pawl("maintain verify --all");
        return Some(format!(
            "not all files were read since it was deleted; give verify more time, or once `{verify}`"
        ));
    }
    (is_checked && past(*checked_ms).is_none_or(|checked_ms| checked_ms < hidden_ms))
        .then(|| "`restic check` has not ended well since it was deleted; see what check says".to_owned())
}

/// Writes down what there was to do about locks, if there was anything.
pub(super) fn locks(
    repository_run: &mut RepositoryRun,
    report: &locks::Report,
    started: Instant,
) -> Result<(), FileError> {
    let mut lines = report.lines();
    if lines.is_empty() || repository_run.steps().any(|done| done.step == Step::Locks) {
        return Ok(());
    }
    let first = lines.remove(0);
    let said = if report.is_suspicious() { StepOutcome::notice(first) } else { StepOutcome::well(first) };
    repository_run.note(Step::Locks, said.and(lines), started)
}

/// Goes on until somebody says that it has to end. What is dropped half-way is done by the next run.
pub(super) async fn unless_told<T>(
    repository_run: &RepositoryRun,
    work: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> Result<T, Box<dyn Error>> {
    tokio::select! {
        done = work => done,
        () = repository_run.stop.over() => Err("what is left of it is done then".into()),
    }
}

/// Why restic is not asked here, if it is not.
pub(super) async fn without_restic(
    session: &Session,
    repository_run: &mut RepositoryRun,
) -> Result<Option<StepOutcome>, Box<dyn Error>> {
    if !repository_run.restic.knows_password() {
        return Ok(Some(StepOutcome::skipped(NO_PASSWORD)));
    }
    if !is_initialised(session, repository_run).await? {
        return Ok(Some(StepOutcome::skipped("it was never initialised")));
    }
    if let Some(file) = &repository_run.restic.options.password_file {
        secret::refuse_shared(file)?;
    }
    Ok(None)
}

/// Whether the repository has a `config`.
async fn is_initialised(session: &Session, repository_run: &mut RepositoryRun) -> Result<bool, StoreError> {
    repository_run.is_initialised = repository_run.is_initialised
        || session.files.facts(&repository_run.repository, &Handle::Config).await?.is_some();
    Ok(repository_run.is_initialised)
}

/// Runs restic at a server of ours, at which `young` stays, once no lock is in its way. Returns how many deletions were refused
/// there.
async fn restic(
    session: &Session,
    repository_run: &RepositoryRun,
    quiet: &mut ExclusiveAccess<'_>,
    args: &[&str],
    verb: &'static str,
    young: Option<Arc<Young>>,
) -> Result<u64, Box<dyn Error>> {
    let restic = &repository_run.restic;
    let version = Version::of(restic.program())?;
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let door = PrivateServer::sparing(session, &repository_run.repository, version, young).await?;
    let spinner = progress::spinner(format!("{verb} {}", repository_run.repository));
    let address = door.address();
    let work = async || restic.run(&address, args.clone()).await.map(drop);
    let ran = quiet.run_exclusively(work).await;
    spinner.finish_and_clear();
    let refused = door.refused();
    door.close().await?;
    ran?;
    Ok(refused)
}

/// So many days.
fn days(ms: u64) -> String {
    match ms.div_ceil(DAY_MS) {
        0 | 1 => "day".to_owned(),
        days => format!("{days} days"),
    }
}

fn refusals(refused: u64) -> String {
    format!("deletions that Pawl refused: {refused}; the audit log of maintenance says which")
}

/// Whether what restic did last is to be done again although nothing has changed.
fn was_long_ago(done_ms: Option<u64>) -> bool {
    past(done_ms).is_none_or(|done_ms| now_ms().saturating_sub(done_ms) >= AGAIN_EVERY_MS)
}

/// A time that is not to come: a clock that stood ahead wrote the others.
fn past(time_ms: Option<u64>) -> Option<u64> {
    time_ms.filter(|time_ms| *time_ms <= now_ms())
}

/// Whether somebody deleted something since the last prune.
async fn was_deleted_from(session: &Session, repository_run: &RepositoryRun) -> Result<bool, Box<dyn Error>> {
    let pruned_ms = past(repository_run.record.pruned_ms).unwrap_or(0);
    let batches = session.store.batches().await?;
    Ok(batches.iter().any(|batch| {
        batch.repository == repository_run.repository
            && batch.reason == Reason::Deleted
            && batch.began_ms > pruned_ms
    }))
}

/// Batches of this user that were not there before.
async fn own_since(
    session: &Session,
    repository_run: &RepositoryRun,
    before: &[Batch],
) -> Result<Vec<Batch>, Box<dyn Error>> {
    let user = session::user()?;
    let mut batches = session.store.batches().await?;
    batches.retain(|batch| {
        batch.repository == repository_run.repository && batch.principal == user && !before.contains(batch)
    });
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_restic_checked_counts_for_just_these_files_and_for_a_week() {
        let checked = |ago_ms| Record {
            checked: Some(CheckedFiles { names: "ab".to_owned(), at_ms: now_ms() - ago_ms }),
            ..Record::default()
        };
        assert!(was_checked(&checked(6 * DAY_MS), Some("ab")));
        assert!(!was_checked(&checked(7 * DAY_MS), Some("ab")));
        let ahead = CheckedFiles { names: "ab".to_owned(), at_ms: now_ms() + DAY_MS };
        assert!(!was_checked(&Record { checked: Some(ahead), ..Record::default() }, Some("ab")));
        assert!(!was_checked(&checked(0), Some("cd")));
        assert!(!was_checked(&checked(0), None));
        assert!(!was_checked(&Record::default(), Some("ab")));
    }

    #[test]
    fn what_was_not_looked_at_since_a_deletion_may_need_it() {
        let found = |read_ms, against: Option<&str>, checked_ms| Record {
            verified: Some(Verified { read_ms, against: against.map(str::to_owned) }),
            checked_ms,
            ..Record::default()
        };
        assert!(why_held_back(&Record::default(), false, 100).is_some());
        for (record, is_checked, reason) in [
            (found(Some(100), None, Some(100)), true, None),
            (found(Some(100), None, None), false, None),
            (found(Some(99), None, Some(100)), true, Some("not all files were read")),
            (found(None, None, Some(100)), true, Some("not all files were read")),
            (found(Some(100), Some("data/5f: damaged"), Some(100)), true, Some("data/5f: damaged")),
            (found(Some(100), None, Some(99)), true, Some("`restic check` has not ended well")),
            (found(Some(100), None, None), true, Some("`restic check` has not ended well")),
        ] {
            let why = why_held_back(&record, is_checked, 100);
            assert_eq!(why.is_some(), reason.is_some(), "{why:?}");
            assert!(reason.is_none_or(|reason| why.is_some_and(|why| why.contains(reason))));
        }
    }
}
