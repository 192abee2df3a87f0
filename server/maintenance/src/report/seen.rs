//! What lies in the store now, and what was deleted of it.
//!
//! Invariant: a repository that cannot be read is said to be so, and keeps nobody from seeing the others.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use pawl_config::Config;
use pawl_policy::{FileType, Handle, RepositoryName, Usage};
use pawl_store::either::EitherMaintenance;
use pawl_store::maintenance::{Batch, Found, MaintenanceStore, Place, Reason};
use pawl_store::{StoreError, now_ms};

use super::audited::Audited;
use super::audited::Since;
use super::earlier::Earlier;
use super::remembered::AlreadyRead;
use crate::batch_list::{Listed, Weight, listed, unreadable as unreadable_batch};
use crate::config::ConfigPresence;

/// What is there.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) repositories: BTreeMap<RepositoryName, Result<Contents, String>>,
    /// Repositories that were verified once, and of which nothing is left.
    pub(super) gone: BTreeSet<RepositoryName>,
    pub(super) pending: Vec<Listed>,
    /// Snapshots that maintenance deleted and that can still be brought back.
    deleted: BTreeSet<(String, String)>,
    pub(super) audited: Audited,
    /// Batches that cannot be looked at, and why.
    pub(super) unreadable: Vec<String>,
}

/// What a repository has.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Locks apart.
    pub(super) usage: Usage,
    /// Their ids.
    pub(super) snapshots: BTreeSet<String>,
    /// By when they were received, the newest last.
    pub(super) arrived: BTreeSet<Arrived>,
    /// Bytes by the day on which they were received.
    pub(super) received: BTreeMap<Date, u64>,
    pub(super) config: ConfigPresence,
    /// When the first of what is there was received, in Unix milliseconds.
    pub(super) first_ms: Option<u64>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrived {
    pub(super) received_ms: u64,
    pub(super) id: String,
    pub(super) by: Option<String>,
}

impl Seen {
    /// Looks at these repositories, or at all.
    pub(super) async fn look(
        store: &EitherMaintenance,
        config: &Config,
        wanted: &[RepositoryName],
        known: &BTreeSet<RepositoryName>,
        earlier: Option<&Earlier>,
    ) -> Result<Self, Box<dyn Error>> {
        let (mut repositories, mut gone) = (BTreeMap::new(), BTreeSet::new());
        let there: BTreeSet<_> = store.repositories().await?.into_iter().collect();
        for repository in chosen(there.union(known).cloned().collect(), wanted)? {
            if !there.contains(&repository) {
                gone.insert(repository);
                continue;
            }
            let contents = contents(store, &repository).await.map_err(|error| error.to_string());
            repositories.insert(repository, contents);
        }
        // Behind the files: what is deleted meanwhile is seen twice rather than never.
        let (mut pending, mut deleted) = (Vec::new(), BTreeSet::new());
        let mut unreadable: Vec<_> =
            store.unreadable_batches().await?.into_iter().map(|batch| batch.why).collect();
        let purge_delay_days = config.maintenance.purge_delay_days();
        for batch in store.batches().await? {
            let is_wanted = wanted.is_empty() || wanted.contains(&batch.repository);
            match pending_in(store, &batch, &mut deleted, purge_delay_days).await {
                Ok(found) => pending.extend(found.filter(|_| is_wanted)),
                Err(error) => {
                    unreadable.push(unreadable_batch(&batch, &error));
                }
            }
        }
        let data = config.data.clone();
        let earlier = earlier.cloned();
        let audited = tokio::task::spawn_blocking(move || match earlier {
            Some(Earlier { expected, since, read, with: _ }) => {
                Audited::read(&data, Some(expected.ends()), Some(&since), read)
            }
            None => Audited::read(&data, None, Some(&Since::default()), AlreadyRead::default()),
        });
        Ok(Self { repositories, gone, pending, deleted, audited: audited.await??, unreadable })
    }

    /// Whether a snapshot is there, or it is known why not. What cannot be read is another matter, and told as that.
    pub(super) async fn explains(
        &self,
        store: &EitherMaintenance,
        repository: &str,
        id: &str,
    ) -> Result<bool, Box<dyn Error>> {
        let name: RepositoryName = repository.parse()?;
        let is_there = match self.repositories.get(&name) {
            Some(Ok(contents)) => contents.snapshots.contains(id),
            Some(Err(_)) => true,
            None => false,
        };
        let explained = is_there
            || self.deleted.contains(&(repository.to_owned(), id.to_owned()))
            || self.audited.was_purged(repository, id);
        if explained {
            return Ok(true);
        }
        // It may have been brought back, or deleted, while all of this was looked at.
        match store.versions(&name, &Handle::File(FileType::Snapshots, id.parse()?)).await {
            Ok(versions) => Ok(versions.iter().any(|version| version.place == Place::Current)),
            // One that cannot be looked at, where all others could be, is as good as missing.
            Err(_) => Ok(false),
        }
    }
}

/// The repositories that are asked for.
fn chosen(all: Vec<RepositoryName>, wanted: &[RepositoryName]) -> Result<Vec<RepositoryName>, String> {
    if wanted.is_empty() {
        return Ok(all);
    }
    match wanted.iter().find(|name| !all.contains(name)) {
        Some(unknown) => {
            Err(format!("{unknown}: there is no such repository; without names the report is of all"))
        }
        None => Ok(wanted.to_vec()),
    }
}

async fn contents(store: &EitherMaintenance, repository: &RepositoryName) -> Result<Contents, StoreError> {
    let mut contents = Contents::default();
    let mut has_config = false;
    let mut walked = std::pin::pin!(store.walk(repository).await?);
    while let Some(found) = walked.try_next().await? {
        for found in found {
            let Found::File { handle, bytes, facts, .. } = found else { continue };
            if matches!(handle, Handle::File(FileType::Locks, _)) {
                continue;
            }
            has_config |= handle == Handle::Config;
            contents.usage = contents.usage.plus(Usage { bytes, files: 1 });
            *contents.received.entry(day(facts.received_ms)).or_default() += bytes;
            let first_ms = contents.first_ms.unwrap_or(u64::MAX).min(facts.received_ms);
            contents.first_ms = Some(first_ms);
            let Handle::File(FileType::Snapshots, id) = handle else { continue };
            contents.snapshots.insert(id.to_string());
            if facts.is_ahead(now_ms()) {
                continue; // or the repository would count until then as one that has backups
            }
            let (id, by) = (id.to_string(), facts.creator.map(|creator| creator.to_string()));
            contents.arrived.insert(Arrived { received_ms: facts.received_ms, id, by });
        }
    }
    if !has_config {
        contents.config = Box::pin(ConfigPresence::of(store, repository)).await?;
    }
    Ok(contents)
}

/// What a batch holds, if it holds anything.
async fn pending_in(
    store: &EitherMaintenance,
    batch: &Batch,
    deleted: &mut BTreeSet<(String, String)>,
    purge_delay_days: u32,
) -> Result<Option<Listed>, StoreError> {
    let weight = weigh(store, batch, deleted).await?;
    if weight.usage.files == 0 {
        return Ok(None);
    }
    listed(store, batch, &weight, purge_delay_days).await.map(Some)
}

/// Adds up what a batch holds, and notes the snapshots among it if it is right that they are not visible.
async fn weigh(
    store: &EitherMaintenance,
    batch: &Batch,
    deleted: &mut BTreeSet<(String, String)>,
) -> Result<Weight, StoreError> {
    let mut weight = Weight { usage: Usage::default(), hidden_ms: batch.began_ms };
    let hidden = match store.hidden(&batch.id).await {
        Err(StoreError::NotFound) => return Ok(weight), // it was made final, or brought back, meanwhile
        hidden => hidden?,
    };
    let mut entries = std::pin::pin!(hidden);
    while let Some(hidden) = entries.try_next().await? {
        for hidden in hidden {
            weight.usage = weight.usage.plus(Usage { bytes: hidden.bytes, files: 1 });
            weight.hidden_ms = weight.hidden_ms.max(hidden.hidden_ms);
            if let (Handle::File(FileType::Snapshots, id), Reason::Deleted) = (hidden.handle, batch.reason) {
                deleted.insert((batch.repository.to_string(), id.to_string()));
            }
        }
    }
    Ok(weight)
}

/// The day in UTC.
pub(super) fn day(ms: u64) -> Date {
    let moment = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date()
}
