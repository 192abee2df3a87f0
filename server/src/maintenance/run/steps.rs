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
use super::super::purge::{self as purging, Due};
use super::super::restic::Version;
use super::super::session::{self, Session};
use super::super::{progress, restore as restoring, secret};
use super::record::{Ended, HeldSnapshot, Record, Step, Verified};
use super::said::Said;
use super::ward::Ward;
use crate::cli::{Purge, Settings};
use crate::files::FileError;
use crate::hint;
use crate::store::maintenance::{Batch, MaintenanceStore, Reason};
use crate::store::{AppendStore, StoreError, local, now_ms};

/// Held snapshots that are named one by one; `pawl maintain forget --dry-run` and the report have them all.
const SUSPICIOUS_NAMED: usize = 5;
/// Digits of an id that are shown.
const ID_SHOWN: usize = 8;
/// A prune is due so long after the last although nothing was deleted.
const PRUNE_EVERY_MS: u64 = 7 * DAY_MS;

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
            let restore = hint::pawl(format!("maintain restore {} --from STORE", ward.repository));
            return Ok(
                Said::failed(format!("damage stays; restore from another store: `{restore}`")).and(wrong)
            );
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
        let look = hint::pawl(format!("maintain forget {} --dry-run", ward.repository));
        if let (Some(too_many), 0) = (&report.too_many, report.refused) {
            return Ok(Said::notice(format!("refused: {too_many}"))
                .and([text, format!("to look: {look}")])
                .undone_by(report.batch));
        }
        Ok(match (report.refused, report.suspicious) {
            (0, 0) => Said::well(text),
            (0, suspicious) => {
                Said::notice(format!("{text}; {suspicious} of these should be looked at: {look}"))
            }
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

/// Has restic prune what was deleted. With keep rules also once a week, for backups that were cut leave data as well. Not
/// every night: restic writes small packs anew each time, and the old ones stay until the delay has passed.
pub(super) async fn prune(
    session: &Session,
    ward: &mut Ward,
    quiet: &mut Quiet<'_>,
) -> Result<(), FileError> {
    ward.step(Step::Prune, async |ward| {
        if let Some(why) = without_restic(session, ward).await? {
            return Ok(why);
        }
        let has_rules = ward.settings.retention.keep.rules() != Rules::default();
        let is_due = ward.is_asked_for(Step::Prune) || (has_rules && was_long_ago(ward.record.pruned_ms));
        if !is_due && !was_deleted_from(session, ward).await? {
            let why = "nothing was deleted since the last time";
            return Ok(if has_rules { Said::well(why) } else { Said::skipped(why) });
        }
        if !ward.record.unseen.is_empty() {
            return Ok(Said::skipped(format!(
                "not before somebody has looked at what was hidden: `{}` says that you have",
                hint::pawl("maintain report --seen")
            )));
        }
        let before = session.store.batches().await?;
        // What is packed anew needs room before anything else is given up.
        let is_local = session.config.s3.is_none();
        let space = is_local.then(|| local::space_of(&session.config.data)).transpose()?;
        let most = space.map(|space| format!("--max-repack-size={}K", space.free_bytes / 2 / 1024));
        let args: Vec<_> = ["prune"].into_iter().chain(most.as_deref()).collect();
        let password = password(ward).await?;
        let young = Arc::new(Young::of(session, &ward.repository, &password).await?);
        let refused = restic(session, ward, quiet, &args, "pruning", Some(Arc::clone(&young))).await?;
        if refused == 0 {
            ward.record.pruned_ms = Some(now_ms());
        }
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

/// Has restic check the structure, and read the portion whose turn it is. Where the store vouches for content, data is read
/// only if the settings say in how many portions: verification compares each SHA-256 there.
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
        let is_vouched_for = ward.settings.check_portions.is_none() && session.files.vouches_for_content();
        // Hosts wait meanwhile: then for the structure alone.
        let is_read = !is_vouched_for && !quiet.is_suspended();
        let args: &[&str] = if is_read { &["check", &subset] } else { &["check"] };
        let refused = restic(session, ward, quiet, args, "checking", None).await?;
        if refused > 0 {
            return Ok(Said::failed(refusals(refused)));
        }
        if is_vouched_for {
            return Ok(Said::well(
                "no errors; no data was read, because the store keeps the SHA-256 of each file",
            ));
        }
        if !is_read {
            return Ok(Said::well("no errors; no data was read, because hosts had to wait for it"));
        }
        ward.record.next_portion = portion % portions + 1;
        let text = format!("no errors; read portion {portion} of {portions}");
        Ok(Said::well(text))
    })
    .await
}

/// Removes for good what is due, where all that waits was noted as seen and nothing that was found, or not looked at
/// since, could still need it. It comes before what needs room.
pub(super) async fn purge(session: &Session, ward: &mut Ward, unseen: Option<&str>) -> Result<(), FileError> {
    ward.step(Step::Purge, async |ward| {
        if let Some(why) = unseen {
            return Ok(Said::failed(why));
        }
        let Settings { bytes_per_second, clock_is_right, .. } = ward.settings;
        let options = Purge { clock_is_right, bytes_per_second, ..Purge::default() };
        let is_checked = ward.settings.restic.knows_password() && is_initialised(session, ward).await?;
        let held_back = |hidden_ms| why_held_back(&ward.record, is_checked, hidden_ms);
        let due =
            async { Ok(Box::pin(purging::due(session, &ward.repository, &options, &held_back)).await?) };
        let Due { removed, kept } = unless_told(ward, due).await?;
        let text = match removed.files {
            0 if kept.is_empty() => "nothing is due".to_owned(),
            0 => "nothing was removed of what is due".to_owned(),
            files => {
                format!("removed {}, {}, for good", count(files), ByteSize(removed.bytes).display().iec())
            }
        };
        Ok(if kept.is_empty() { Said::well(text) } else { Said::notice(text).and(kept) })
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
    (is_checked && checked_ms.is_none_or(|checked_ms| checked_ms < hidden_ms))
        .then(|| "`restic check` has not ended well since it was deleted; see what check says".to_owned())
}

/// Writes down what there was to do about locks, if there was anything.
pub(super) fn locks(ward: &mut Ward, report: &locks::Report, started: Instant) -> Result<(), FileError> {
    let mut lines = report.lines();
    if lines.is_empty() || ward.steps().any(|done| done.step == Step::Locks) {
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
pub(super) async fn without_restic(
    session: &Session,
    ward: &mut Ward,
) -> Result<Option<Said>, Box<dyn Error>> {
    if !ward.settings.restic.knows_password() {
        return Ok(Some(Said::skipped(NO_PASSWORD)));
    }
    if !is_initialised(session, ward).await? {
        return Ok(Some(Said::skipped("it was never initialised")));
    }
    if let Some(file) = &ward.settings.restic.password_file {
        secret::refuse_shared(file)?;
    }
    Ok(None)
}

/// Whether the repository has a `config`.
async fn is_initialised(session: &Session, ward: &mut Ward) -> Result<bool, StoreError> {
    ward.is_initialised =
        ward.is_initialised || session.files.facts(&ward.repository, &Handle::Config).await?.is_some();
    Ok(ward.is_initialised)
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

/// Whether a prune is due although nothing was deleted.
fn was_long_ago(pruned_ms: Option<u64>) -> bool {
    pruned_ms.is_none_or(|pruned_ms| now_ms().saturating_sub(pruned_ms) >= PRUNE_EVERY_MS)
}

/// Whether somebody deleted something since the last prune.
async fn was_deleted_from(session: &Session, ward: &Ward) -> Result<bool, Box<dyn Error>> {
    let pruned_ms = ward.record.pruned_ms.unwrap_or(0);
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

#[cfg(test)]
mod tests {
    use super::*;

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
