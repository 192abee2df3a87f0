//! The steps that act, one repository at a time.
//!
//! Invariant: whatever restic does, it does at a door of ours, as an admin's restic would; a deletion that was refused
//! there is a surprise, whatever restic makes of it.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bytesize::ByteSize;
use pawl_policy::retention::{Filter, Rules};
use pawl_policy::{DAY_MS, Handle, Usage};

use super::super::deleted::{count, weigh};
use super::super::door::{PrivateDoor, Young};
use super::super::forget::{self, Wanted};
use super::super::locks::{self, Quiet};
use super::super::restic::Version;
use super::super::session::{self, Session};
use super::super::{progress, purge as purging, restore as restoring, secret};
use super::record::{Ended, HeldSnapshot, Step};
use super::said::Said;
use super::ward::Ward;
use crate::files::FileError;
use crate::store::AppendStore;
use crate::store::maintenance::{Batch, MaintenanceStore, Reason};

/// Held snapshots that are named one by one; `pawl maintain forget --dry-run` and the report have them all.
const SUSPICIOUS_NAMED: usize = 5;
/// Digits of an id that are shown.
const ID_SHOWN: usize = 8;

const NO_PASSWORD: &str = "no password is configured (password_file or password_command)";

/// Puts good copies in the place of what verification found damaged.
pub(super) async fn restore(session: &Session, ward: &mut Ward) -> Result<(), FileError> {
    if ward.done(Step::Verify).is_none_or(|done| done.ended == Ended::Well) {
        return Ok(());
    }
    ward.step(Step::Restore, async |ward| {
        let repaired =
            async { restoring::repair(session, &ward.repository, ward.settings.bytes_per_second).await };
        let part = unless_told(ward, repaired).await?;
        let wrong = part.wrong();
        if !wrong.is_empty() {
            return Ok(Said::failed(
                "damage stays; restore from another store (pawl maintain restore --from)",
            )
            .and(wrong));
        }
        let batch = part.batches.last().cloned();
        Ok(match part.restored() {
            0 => Said::well("nothing had to be restored"),
            restored => {
                let text = format!("restored {} from copies in the store", count(restored as u64));
                Said::notice(text).undone_by(batch)
            }
        })
    })
    .await
}

/// Removes snapshots by the keep rules.
pub(super) async fn forget(
    session: &Session,
    ward: &mut Ward,
    quiet: &mut Quiet<'_>,
) -> Result<(), FileError> {
    ward.step(Step::Forget, async |ward| {
        if ward.settings.retention.keep.rules() == Rules::default() {
            return Ok(Said::skipped("no keep rules are configured"));
        }
        if let Some(why) = without_restic(session, ward).await? {
            return Ok(why);
        }
        let wanted = Wanted {
            repository: &ward.repository,
            retention: &ward.settings.retention,
            filter: Filter::default(),
            dry_run: false,
            restic: &ward.settings.restic,
        };
        let report = forget::forget(session, &wanted, quiet).await?;
        let held = report.snapshots.iter().filter(|line| line.is_held());
        ward.record.held = held
            .map(|line| HeldSnapshot {
                id: line.id.clone(),
                host: line.host.clone(),
                received: line.received.clone(),
                reason: line.reason.clone(),
                suspicious: line.suspicious,
            })
            .collect();
        let text = format!("removed {}, kept {}, held {}", report.removed, report.kept, report.held);
        if let (Some(too_many), 0) = (&report.too_many, report.refused) {
            return Ok(Said::notice(format!("refused: {too_many}"))
                .and([text, format!("to look: pawl maintain forget {} --dry-run", ward.repository)])
                .undone_by(report.batch));
        }
        Ok(match (report.refused, report.suspicious) {
            (0, 0) => Said::well(text),
            (0, suspicious) => Said::notice(format!(
                "{text}; {suspicious} of these should be looked at: pawl maintain forget {} --dry-run",
                ward.repository
            )),
            (refused, _) => Said::failed(format!("{text}; {}", refusals(refused))),
        }
        .and(suspicious(&ward.record.held))
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

/// Has restic prune: with keep rules every time, for backups that were cut leave data as well; else what was deleted.
pub(super) async fn prune(
    session: &Session,
    ward: &mut Ward,
    quiet: &mut Quiet<'_>,
) -> Result<(), FileError> {
    ward.step(Step::Prune, async |ward| {
        let rules = ward.settings.retention.keep.rules();
        if rules == Rules::default() && !was_deleted_from(session, ward).await? {
            return Ok(Said::skipped("nothing was deleted since the last time"));
        }
        if !ward.record.unseen.is_empty() {
            return Ok(Said::skipped(
                "not before somebody has looked at what was hidden: `pawl maintain report --seen` says that you have",
            ));
        }
        if let Some(why) = without_restic(session, ward).await? {
            return Ok(why);
        }
        let before = session.store.batches().await?;
        let password = password(ward).await?;
        let young = Arc::new(Young::of(session, &ward.repository, &password).await?);
        let refused =
            restic(session, ward, quiet, &["prune"], "pruning", Some(Arc::clone(&young))).await?;
        let mut hidden = Usage::default();
        let new = own_since(session, ward, &before).await?;
        for batch in &new {
            hidden = hidden.plus(weigh(&session.store, batch).await?.usage);
        }
        let text = format!("deleted {}, {}", count(hidden.files), ByteSize(hidden.bytes).display().iec());
        let said = match refused {
            0 => Said::well(text),
            refused => Said::failed(format!("{text}; {}", refusals(refused))),
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
pub(super) async fn password(ward: &Ward) -> Result<Vec<u8>, Box<dyn Error>> {
    let restic = ward.settings.restic.clone();
    Ok(tokio::task::spawn_blocking(move || restic.password()).await??)
}

/// Has restic check the structure, and read the portion whose turn it is.
pub(super) async fn check(
    session: &Session,
    ward: &mut Ward,
    quiet: &mut Quiet<'_>,
) -> Result<(), FileError> {
    ward.step(Step::Check, async |ward| {
        if let Some(why) = without_restic(session, ward).await? {
            return Ok(why);
        }
        let portions = ward.settings.check_portions.unwrap_or_default().get();
        let portions = portions.min(session.config.maintenance.portions_max());
        let portion = ward.record.next_portion.clamp(1, portions);
        let subset = format!("--read-data-subset={portion}/{portions}");
        // Hosts wait meanwhile: then for the structure alone.
        let args: &[&str] = if quiet.is_suspended() { &["check"] } else { &["check", &subset] };
        let refused = restic(session, ward, quiet, args, "checking", None).await?;
        if refused > 0 {
            return Ok(Said::failed(refusals(refused)));
        }
        if args.len() == 1 {
            return Ok(Said::well("no errors; no data was read, because hosts had to wait for it"));
        }
        ward.record.next_portion = portion % portions + 1;
        let text = format!("no errors; read portion {portion} of {portions}");
        Ok(Said::well(text))
    })
    .await
}

/// Removes for good what is due, where nothing is damaged and all that waits was noted as seen.
pub(super) async fn purge(session: &Session, ward: &mut Ward, unseen: Option<&str>) -> Result<(), FileError> {
    ward.step(Step::Purge, async |ward| {
        if let Some(why) = unseen {
            return Ok(Said::failed(why));
        }
        if ward.done(Step::Verify).is_none_or(|done| done.ended != Ended::Well) {
            return Ok(Said::skipped("nothing is made final while verification finds something"));
        }
        let due = async {
            Ok(Box::pin(purging::due(session, &ward.repository, ward.settings.bytes_per_second)).await?)
        };
        let (removed, kept) = unless_told(ward, due).await?;
        if removed.files == 0 {
            return Ok(Said::well("nothing is due"));
        }
        let bytes = ByteSize(removed.bytes).display().iec();
        Ok(Said::well(format!("removed {}, {bytes}, for good", count(removed.files))).and(kept))
    })
    .await
}

/// Writes down what there was to do about locks, if there was anything.
pub(super) fn locks(ward: &mut Ward, report: &locks::Report, started: Instant) -> Result<(), FileError> {
    let mut lines = report.lines();
    if lines.is_empty() || ward.done(Step::Locks).is_some() {
        return Ok(());
    }
    let first = lines.remove(0);
    let said = if report.is_suspicious() { Said::notice(first) } else { Said::well(first) };
    ward.note(Step::Locks, said.and(lines), started)
}

/// Goes on until somebody says that it has to end. What is dropped half-way is done by the next run.
pub(super) async fn unless_told<T>(
    ward: &Ward,
    work: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> Result<T, Box<dyn Error>> {
    tokio::select! {
        done = work => done,
        () = ward.stop.over() => Err("what is left of it is done then".into()),
    }
}

/// Why restic is not asked here, if it is not.
pub(super) async fn without_restic(session: &Session, ward: &Ward) -> Result<Option<Said>, Box<dyn Error>> {
    let restic = &ward.settings.restic;
    if !restic.knows_password() {
        return Ok(Some(Said::skipped(NO_PASSWORD)));
    }
    if session.files.facts(&ward.repository, &Handle::Config).await?.is_none() {
        return Ok(Some(Said::skipped("it was never initialised")));
    }
    if let Some(file) = &restic.password_file {
        secret::refuse_shared(file)?;
    }
    Ok(None)
}

/// Runs restic at a door of ours, at which `young` stays, once no lock is in its way. Returns how many deletions were refused
/// there.
async fn restic(
    session: &Session,
    ward: &Ward,
    quiet: &mut Quiet<'_>,
    args: &[&str],
    verb: &'static str,
    young: Option<Arc<Young>>,
) -> Result<u64, Box<dyn Error>> {
    let restic = &ward.settings.restic;
    let version = Version::of(restic.program())?;
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let door = PrivateDoor::sparing(session, &ward.repository, version, young).await?;
    let spinner = progress::spinner(format!("{verb} {}", ward.repository));
    let address = door.address();
    let work = async || restic.run(&address, args.clone()).await.map(drop);
    let ran = quiet.alone(work).await;
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

/// Whether somebody deleted something since the last prune.
async fn was_deleted_from(session: &Session, ward: &Ward) -> Result<bool, Box<dyn Error>> {
    let pruned_ms = ward.record.well_ms.get(&Step::Prune).copied().unwrap_or(0);
    let batches = session.store.batches().await?;
    Ok(batches.iter().any(|batch| {
        batch.repository == ward.repository && batch.reason == Reason::Deleted && batch.began_ms > pruned_ms
    }))
}

/// Batches of this user that were not there before.
async fn own_since(session: &Session, ward: &Ward, before: &[Batch]) -> Result<Vec<Batch>, Box<dyn Error>> {
    let user = session::user()?;
    let mut batches = session.store.batches().await?;
    batches.retain(|batch| {
        batch.repository == ward.repository && batch.principal == user && !before.contains(batch)
    });
    Ok(batches)
}
