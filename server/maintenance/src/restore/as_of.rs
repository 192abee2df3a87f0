//! What a repository has to have again to be as it was at a moment, and what it has got since.
//!
//! Invariant: locks are no part of it, and nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use pawl_policy::{BatchId, FileType, Handle, RepositoryName};

use pawl_store::maintenance::{Batch, Found, MaintenanceStore};
use pawl_store::{Facts, StoreError};

/// The difference between a moment and now.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// Files that were visible then and are not now.
    pub(super) gone: BTreeSet<Handle>,
    /// Files that are visible now and were not then.
    pub(super) added: BTreeMap<Handle, Facts>,
    /// Where the `config` of that moment is, if another one is visible now, or none.
    pub(super) config: Option<BatchId>,
}

/// What has happened to a repository since `moment_ms`.
pub(super) async fn since<S: MaintenanceStore>(
    store: &S,
    repository: &RepositoryName,
    batches: &[Batch],
    moment_ms: u64,
) -> Result<Since, StoreError> {
    let mut since = Since::default();
    let mut unchanged = BTreeSet::new();
    let mut walked = std::pin::pin!(store.walk(repository).await?);
    while let Some(found) = walked.try_next().await? {
        for found in found {
            match found {
                Found::File { handle: Handle::File(FileType::Locks, _), .. } => {}
                Found::File { handle, facts, .. } if facts.received_ms > moment_ms => {
                    since.added.insert(handle, facts);
                }
                Found::File { handle, .. } => drop(unchanged.insert(handle)),
                Found::Foreign { .. } | Found::Unexplained { .. } => {}
            }
        }
    }
    for batch in batches.iter().filter(|batch| batch.repository == *repository) {
        let mut hidden = std::pin::pin!(store.hidden(&batch.id).await?);
        while let Some(files) = hidden.try_next().await? {
            for file in files {
                let was_there = file.facts.received_ms <= moment_ms && moment_ms < file.hidden_ms;
                match file.handle {
                    _ if !was_there || unchanged.contains(&file.handle) => {}
                    Handle::File(FileType::Locks, _) => {}
                    Handle::Config => since.config = Some(batch.id.clone()),
                    // The same content again is the same file, whenever it came.
                    handle @ Handle::File(..) if since.added.remove(&handle).is_some() => {
                        unchanged.insert(handle);
                    }
                    handle @ Handle::File(..) => drop(since.gone.insert(handle)),
                }
            }
        }
    }
    Ok(since)
}

/// In this order files come back: what a file needs before the file.
pub(super) const fn phase(handle: &Handle) -> u8 {
    match handle {
        Handle::File(FileType::Keys, _) => 0,
        Handle::Config => 1,
        Handle::File(FileType::Data, _) => 2,
        Handle::File(FileType::Index, _) => 3,
        Handle::File(FileType::Snapshots, _) => 4,
        Handle::File(FileType::Locks, _) => 5,
    }
}
