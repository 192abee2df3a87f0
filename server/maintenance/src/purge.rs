//! `pawl maintain purge`: removes for good what was deleted long enough ago.
//!
//! Invariant: a file goes only out of a ripe batch, and only after it was proved that it can be spared. Run again after
//! a crash, it goes on.

use std::collections::BTreeMap;

use bytesize::ByteSize;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use pawl_config::hint;
use pawl_config::pace::Pace;
use pawl_config::print::{self, Outcome};
use pawl_config::{Config, Nights};
use pawl_policy::{Age, Handle, NotPurgeable, PurgePermit, RepositoryName, Usage, purge_permit};
use pawl_store::maintenance::{Batch, Hidden, MaintenanceStore, Place, Purged, Reason, UnreadableBatch};
use pawl_store::{AHEAD_MAX_MS, StoreError, now_ms};
use serde::Serialize;

use super::batch_list::{Listed, Weight, all_are_readable, count, listed, moment, unreadable, weigh};
use super::session::{self, Session, is_right};
use super::{clock, progress, verify};
use crate::command_line::Purge;

/// Files of a batch that Object Lock keeps and that are named one by one; more are counted.
const LOCKED_NAMED_MAX: usize = 5;

/// What came of one batch.
#[derive(Debug, Serialize)]
struct Verdict {
    #[serde(flatten)]
    batch: Listed,
    /// `purged`, `would be purged`, or `kept`.
    outcome: &'static str,
    /// Why it is kept, or that some of it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    removed_files: u64,
    removed_bytes: u64,
    /// Why something is kept that is past its delay, and that nothing but a lifecycle rule waits for.
    #[serde(skip)]
    overdue: Option<String>,
}

/// What came of a repository.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) removed: Usage,
    /// What is kept although it is past its delay: a sentence for each batch, with its size, the reason and what to do.
    pub(super) kept: Vec<String>,
}

/// Why a batch of which the last was hidden then is not to become final yet, if so.
pub(super) type HeldBack<'a> = &'a (dyn Fn(u64) -> Option<String> + Sync);

/// Runs the command.
pub(super) fn run(options: &Purge) -> Outcome {
    if options.dry_run {
        return session::read(&options.place, async |config, store| {
            let looking = Examiner::new(&store, &config, options);
            let (mut verdicts, mut failed) = (Vec::new(), Vec::new());
            for batch in store.batches().await? {
                match looking.examine(&batch).await {
                    Ok(verdict) => verdicts.extend(verdict),
                    Err(error) => failed.push(unreadable(&batch, &error)),
                }
            }
            tell(&verdicts, options)?;
            all_are_readable(&store, failed).await
        });
    }
    session::act(&options.place, async |session| {
        let store = &session.store;
        let looking = Examiner::new(store, &session.config, options);
        let (mut verdicts, mut failed) = (Vec::new(), Vec::new());
        for batch in store.batches().await? {
            store.note_seen(&batch.id, today()?).await?;
            match looking.examine(&batch).await {
                Ok(verdict) => verdicts.extend(verdict),
                Err(error) => failed.push(unreadable(&batch, &error)),
            }
        }
        tell(&verdicts, options)?;
        all_are_readable(store, failed).await
    })
}

/// Removes for good what is due of a repository and not held back.
pub(super) async fn due(
    session: &Session,
    repository: &RepositoryName,
    options: &Purge,
    held_back: HeldBack<'_>,
) -> Result<Due, StoreError> {
    let store = &session.store;
    let looking = Examiner { held_back, ..Examiner::new(store, &session.config, options) };
    let mut due = Due::default();
    for batch in store.batches().await?.iter().filter(|batch| batch.repository == *repository) {
        let Some(verdict) = looking.examine(batch).await? else { continue };
        let Verdict { batch: Listed { files, bytes, .. }, removed_files, removed_bytes, overdue, .. } =
            verdict;
        due.removed = due.removed.plus(Usage { files: removed_files, bytes: removed_bytes });
        due.kept.extend(overdue.map(|reason| {
            let files = count(files.saturating_sub(removed_files));
            let bytes = ByteSize(bytes.saturating_sub(removed_bytes)).display().iec();
            format!("{}: {files}, {bytes}, past the delay and kept: {reason}", batch.id)
        }));
    }
    Ok(due)
}

/// Notes that maintenance saw every batch today. Returns of which repositories there are some for which that failed, and
/// why, in a sentence: these ripen later, and so keep nothing else up.
pub(super) async fn note_seen<M: MaintenanceStore>(
    store: &M,
) -> Result<BTreeMap<RepositoryName, String>, StoreError> {
    let today = today()?;
    let mut failed = BTreeMap::<_, Vec<String>>::new();
    for batch in store.batches().await? {
        if let Err(error) = store.note_seen(&batch.id, today).await {
            failed.entry(batch.repository).or_default().push(format!("{}: {error}", batch.id));
        }
    }
    let told = failed.into_iter().filter_map(|(repository, batches)| {
        let first = batches.first()?;
        let number = batches.len();
        let why = format!(
            "not all that was deleted could be noted as seen today, and it becomes final later for it; batches: {number}, the \
             first {first}"
        );
        Some((repository, why))
    });
    Ok(told.collect())
}

/// The day in UTC.
pub(super) fn today() -> Result<jiff::civil::Date, StoreError> {
    let now = Timestamp::from_millisecond(i64::try_from(now_ms()).unwrap_or(i64::MAX));
    let now = now.map_err(|error| StoreError::Unavailable(format!("the clock cannot be right: {error}")))?;
    Ok(now.to_zoned(TimeZone::UTC).date())
}

/// How batches are looked at.
struct Examiner<'a, M> {
    store: &'a M,
    purge_delay_days: u32,
    options: &'a Purge,
    /// The settings of the nights, which hold here as well.
    nights: &'a Nights,
    held_back: HeldBack<'a>,
    pace: Pace,
}

impl<'a, M: MaintenanceStore> Examiner<'a, M> {
    fn new(store: &'a M, config: &'a Config, options: &'a Purge) -> Self {
        let (purge_delay_days, nights) = (config.maintenance.purge_delay_days(), &config.maintenance.run);
        let pace = verify::pace(options.bytes_per_second.or(nights.general().bytes_per_second));
        Self { store, purge_delay_days, options, nights, held_back: &|_| None, pace }
    }

    async fn judge(
        &self,
        batch: &Batch,
        weight: &Weight,
    ) -> Result<Result<PurgePermit, NotPurgeable>, StoreError> {
        let Self { store, purge_delay_days, options, .. } = *self;
        let is_right = options.assume_clock_synced || self.nights.of(&batch.repository).assume_clock_synced;
        let age = Age {
            hidden_ms: weight.hidden_ms,
            now_ms: now_ms(),
            days_seen: u32::try_from(store.days_seen(&batch.id).await?.len()).unwrap_or(u32::MAX),
            purge_delay_days,
            newest_received_ms: None,
            clock: clock::believed(is_right),
        };
        // In a bucket the newest file costs eight requests, of which most batches need none.
        if let Err(refused @ (NotPurgeable::Delay { .. } | NotPurgeable::Days { .. })) =
            purge_permit(&batch.id, &age)
        {
            return Ok(Err(refused));
        }
        let newest_received_ms = store.newest_received_ms(&batch.repository).await?;
        Ok(purge_permit(&batch.id, &Age { newest_received_ms, ..age }))
    }

    /// Judges a batch, and removes what can be spared of it if it is ripe.
    async fn examine(&self, batch: &Batch) -> Result<Option<Verdict>, StoreError> {
        let Self { store, purge_delay_days, options, .. } = *self;
        let weight = weigh(store, batch).await?;
        if weight.usage.files == 0 {
            if !options.dry_run {
                store.end_batch(&batch.id).await?;
            }
            return Ok(None);
        }
        let shown = listed(store, batch, &weight, purge_delay_days).await?;
        let judged = match self.judge(batch, &weight).await? {
            Err(NotPurgeable::Delay { .. }) if is_ahead(weight.hidden_ms) => {
                Err((why_ahead(batch, &weight), true))
            }
            Err(refused) => Err((refused.to_string(), !matches!(refused, NotPurgeable::Delay { .. }))),
            Ok(permit) => (self.held_back)(weight.hidden_ms).map_or(Ok(permit), |reason| Err((reason, true))),
        };
        let (outcome, reason, removed, overdue) = match judged {
            Err((reason, is_due)) => {
                let overdue = is_due.then(|| reason.clone());
                ("kept", Some(reason), Usage::default(), overdue)
            }
            Ok(permit) => {
                let (removed, mut kept, left) = self.remove(batch, &permit, weight.usage.files).await?;
                let overdue = Some(kept.join("; ")).filter(|kept| !kept.is_empty());
                kept.extend(left);
                if kept.is_empty() && !options.dry_run {
                    store.end_batch(&batch.id).await?;
                }
                let outcome = match options.dry_run {
                    _ if removed.files == 0 => "kept",
                    true => "would be purged",
                    false => "purged",
                };
                (outcome, Some(kept.join("; ")).filter(|kept| !kept.is_empty()), removed, overdue)
            }
        };
        let Usage { files: removed_files, bytes: removed_bytes } = removed;
        Ok(Some(Verdict { batch: shown, outcome, reason, removed_files, removed_bytes, overdue }))
    }

    /// Removes what can be spared, unless it is only to be told, and says what cannot, and what is left to the store.
    async fn remove(
        &self,
        batch: &Batch,
        permit: &PurgePermit,
        files: u64,
    ) -> Result<(Usage, Vec<String>, Option<String>), StoreError> {
        let Self { store, options, .. } = *self;
        let bar = progress::bar(files, "purging");
        let (mut removed, mut kept, mut left) = (Usage::default(), Vec::new(), 0);
        let mut locked = Vec::new();
        let unreadable = store.unreadable_batches().await?;
        let mut entries = std::pin::pin!(store.hidden(&batch.id).await?);
        while let Some(found) = entries.try_next().await? {
            for hidden in &found {
                let why_needed = match self.holder(&unreadable, batch, hidden).await? {
                    Some(holder) => Some(format!("batch {} holds it as well, and cannot be read", holder.id)),
                    None => self.why_needed(batch, hidden).await?.map(str::to_owned),
                };
                if let Some(why) = why_needed {
                    kept.push(format!("{}: {why}", hidden.handle));
                } else {
                    let purged = if options.dry_run {
                        Purged::Gone
                    } else {
                        store.purge(permit, &hidden.handle).await?
                    };
                    match purged {
                        Purged::Gone => removed = removed.plus(Usage { bytes: hidden.bytes, files: 1 }),
                        Purged::LeftToTheStore => left += 1,
                        Purged::Locked { until_ms } => locked.push((hidden.handle, until_ms)),
                        Purged::NeverHidden => {}
                    }
                }
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        kept.extend(why_locked(&locked));
        let left = (left > 0).then(|| {
            format!(
                "{} wait for the bucket's lifecycle rule, because this credential may not delete versions",
                count(left)
            )
        });
        Ok((removed, kept, left))
    }

    /// A batch that holds another copy of a file, and of which it is not known why.
    async fn holder<'b>(
        &self,
        unreadable: &'b [UnreadableBatch],
        batch: &Batch,
        hidden: &Hidden,
    ) -> Result<Option<&'b UnreadableBatch>, StoreError> {
        for other in unreadable {
            let place = Place::Hidden(other.id.clone());
            match self.store.open_version(&batch.repository, &hidden.handle, &place).await {
                Ok(_) => return Ok(Some(other)),
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Why a pending file cannot be spared, if so. It can if the visible one is right, or if a batch explains why there is
    /// none.
    async fn why_needed(&self, batch: &Batch, hidden: &Hidden) -> Result<Option<&'static str>, StoreError> {
        let store = self.store;
        match is_right(store, &batch.repository, &hidden.handle, &Place::Current, &self.pace).await {
            Ok(true) => return Ok(None),
            Ok(false) => return Ok(Some("the visible copy is damaged, and this one may be the right one")),
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
        // Batches are in their order: the last one that holds the file says why it is not visible.
        let versions = store.versions(&batch.repository, &hidden.handle).await?;
        let holds =
            |held: &Batch| versions.iter().any(|version| version.place == Place::Hidden(held.id.clone()));
        let last = store.batches().await?.into_iter().rfind(holds);
        let explained = last.map_or(batch.reason, |last| last.reason) == Reason::Deleted;
        Ok((!explained).then_some("a copy was moved away as damaged, and no right one has taken its place"))
    }
}

/// Whether a time is to come, so that a clock which stood ahead wrote it.
fn is_ahead(time_ms: u64) -> bool {
    time_ms > now_ms().saturating_add(AHEAD_MAX_MS)
}

/// Why a batch waits that was filled while the clock stood ahead, and what to do about it.
fn why_ahead(batch: &Batch, weight: &Weight) -> String {
    format!(
        "it was deleted at {}, which is still to come, and the delay counts from then: the clock stands behind now, or stood \
         ahead then; if it is right now, `{}` brings it back, so that it can be deleted again",
        moment(weight.hidden_ms),
        hint::pawl(format!("maintain undelete {}", batch.id))
    )
}

/// What Object Lock keeps, with until when it does, and what to do about it.
fn why_locked(locked: &[(Handle, Option<u64>)]) -> Option<String> {
    let named = locked.iter().take(LOCKED_NAMED_MAX).map(|(handle, until_ms)| match until_ms {
        Some(until_ms) => format!("{handle}: Object Lock keeps it until {}", moment(*until_ms)),
        None => format!("{handle}: a legal hold of Object Lock keeps it"),
    });
    let last_ms = locked.iter().filter_map(|(_, until_ms)| *until_ms).max();
    let more = locked.len().checked_sub(LOCKED_NAMED_MAX).filter(|more| *more > 0).map(|more| {
        let last =
            last_ms.map_or_else(String::new, |last_ms| format!(", the last until {}", moment(last_ms)));
        format!("Object Lock keeps {more} more{last}")
    });
    let remedy = match last_ms {
        Some(_) => {
            "a run after that removes them; where maintenance.purge_delay_days is the bucket's retention or more, nothing waits \
             for a lock"
        }
        None => "lift the hold with `aws s3api put-object-legal-hold`, then a run removes them",
    };
    let lines: Vec<_> = named.chain(more).chain([remedy.to_owned()]).collect();
    (!locked.is_empty()).then(|| lines.join("; "))
}

fn tell(verdicts: &[Verdict], options: &Purge) -> Outcome {
    if options.json {
        return print::json(&verdicts);
    }
    if verdicts.is_empty() {
        return print::line("Nothing is deleted that could be purged.");
    }
    for verdict in verdicts {
        let Verdict { batch, outcome, reason, removed_files, removed_bytes, .. } = verdict;
        let removed = format!("{}, {}", count(*removed_files), ByteSize(*removed_bytes).display().iec());
        let told = match reason {
            Some(reason) if *removed_files == 0 => {
                format!("{outcome}: {reason} (final from {})", batch.final_from)
            }
            Some(reason) => format!("{outcome}: {removed}; kept: {reason}"),
            None => format!("{outcome}: {removed}"),
        };
        print::line(&format!("{}\n  {told}", batch.line()))?;
    }
    Ok(())
}
