//! `pawl maintain undelete` without a batch: what can still be undone.
//!
//! Invariant: it only reads, and needs no lock.

use bytesize::ByteSize;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use pawl_config::Place;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_policy::{DAY_MS, Usage};
use pawl_store::StoreError;
use pawl_store::maintenance::{Batch, MaintenanceStore, Reason};
use serde::Serialize;

use super::session;

/// A batch as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub(super) batch: String,
    pub(super) repository: String,
    pub(super) principal: String,
    pub(super) reason: Reason,
    pub(super) began: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Before that it is not purged.
    pub(super) final_from: String,
    pub(super) days_seen: usize,
    pub(super) days_needed: u32,
}

/// What a batch holds.
pub(super) struct Weight {
    pub(super) usage: Usage,
    /// When the last of it was hidden.
    pub(super) hidden_ms: u64,
}

/// Adds up what a batch holds.
pub(super) async fn weigh<M: MaintenanceStore>(store: &M, batch: &Batch) -> Result<Weight, StoreError> {
    let mut weight = Weight { usage: Usage::default(), hidden_ms: batch.began_ms };
    let mut entries = std::pin::pin!(store.hidden(&batch.id).await?);
    while let Some(hidden) = entries.try_next().await? {
        for hidden in hidden {
            weight.usage = weight.usage.plus(Usage { bytes: hidden.bytes, files: 1 });
            weight.hidden_ms = weight.hidden_ms.max(hidden.hidden_ms);
        }
    }
    Ok(weight)
}

/// A moment as people read it.
pub(super) fn moment(ms: u64) -> String {
    let moment = Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX));
    moment.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A batch with all that is shown of it.
pub(super) async fn listed<M: MaintenanceStore>(
    store: &M,
    batch: &Batch,
    weight: &Weight,
    purge_delay_days: u32,
) -> Result<Listed, StoreError> {
    let until_ms = weight.hidden_ms.saturating_add(u64::from(purge_delay_days).saturating_mul(DAY_MS));
    Ok(Listed {
        batch: batch.id.to_string(),
        repository: batch.repository.to_string(),
        principal: batch.principal.to_string(),
        reason: batch.reason,
        began: moment(batch.began_ms),
        files: weight.usage.files,
        bytes: weight.usage.bytes,
        final_from: moment(until_ms),
        days_seen: store.days_seen(&batch.id).await?.len(),
        days_needed: purge_delay_days.div_ceil(2),
    })
}

impl Listed {
    /// One line about it.
    pub(super) fn line(&self) -> String {
        let why = match self.reason {
            Reason::Deleted => "deleted by",
            Reason::Damaged => "damaged, moved away by",
        };
        format!(
            "{}  {}  {}, {}  {why} {} from {}",
            self.batch,
            self.repository,
            count(self.files),
            ByteSize(self.bytes).display().iec(),
            self.principal,
            self.began
        )
    }
}

/// A number of files in words.
pub(super) fn count(files: u64) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

/// Lists all batches.
pub(super) fn list(place: &Place, json: bool) -> Outcome {
    session::read(place, async |config, store| {
        let (mut all, mut failed) = (Vec::new(), Vec::new());
        for batch in store.batches().await? {
            match pending_in(&store, &batch, config.maintenance.purge_delay_days()).await {
                Ok(pending) => all.extend(pending),
                Err(error) => failed.push(unreadable(&batch, &error)),
            }
        }
        show(&all, json)?;
        all_are_readable(&store, failed).await
    })
}

fn show(all: &[Listed], json: bool) -> Outcome {
    if json {
        return print::json(&all);
    }
    if all.is_empty() {
        return print::line("Nothing is deleted that could be undone.");
    }
    for batch in all {
        print::line(&format!("{}; final from {}", batch.line(), batch.final_from))?;
    }
    let undelete = hint::pawl("maintain undelete BATCH");
    print::line(&format!("\n`{undelete}` brings a batch back, and later ones of its repository."))
}

/// What a batch holds, if it holds anything.
async fn pending_in<M: MaintenanceStore>(
    store: &M,
    batch: &Batch,
    purge_delay_days: u32,
) -> Result<Option<Listed>, StoreError> {
    let weight = weigh(store, batch).await?;
    if weight.usage.files == 0 {
        return Ok(None);
    }
    listed(store, batch, &weight, purge_delay_days).await.map(Some)
}

/// What is said of a batch that cannot be looked at.
pub(super) fn unreadable(batch: &Batch, error: &StoreError) -> String {
    format!("batch {} of {} cannot be read: {error}", batch.id, batch.repository)
}

/// An error that names what `failed`, and the batches whose headers cannot be read, if there are any. All others are worked
/// on before.
pub(super) async fn all_are_readable<M: MaintenanceStore>(store: &M, mut failed: Vec<String>) -> Outcome {
    failed.extend(store.unreadable_batches().await?.into_iter().map(|batch| batch.why));
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}
