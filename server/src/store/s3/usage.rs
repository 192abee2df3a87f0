//! How much each repository holds, counted by listing it.
//!
//! Invariant: what this server stores is counted before it is stored, and a count is renewed every few minutes, so that
//! what other servers store is missed for no longer than that. A count that fails leaves the repository uncounted, which
//! is a refusal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use pawl_policy::{FileType, Handle, PrincipalName, RepositoryName, Usage};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{S3Store, names};
use crate::store::StoreError;

/// How long a count stands.
const STANDS: Duration = Duration::from_mins(10);
/// How long a request waits for the first count, which lists the whole repository: 1000 files to a call.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Repositories counted at a time.
const COUNTING_MAX: usize = 2;

/// What is known of the usage of all repositories.
#[derive(Debug)]
pub(super) struct Counts {
    known: Mutex<HashMap<RepositoryName, Known>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// The last count with what was added since, and when it was made.
    usage: Option<(Usage, Instant)>,
    /// While a count is under way: what was added since it began.
    since: Option<Usage>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { known: Mutex::default(), turns: Arc::new(Semaphore::new(COUNTING_MAX)) }
    }
}

/// Whether a file of this kind counts.
pub(super) const fn counts(handle: &Handle) -> bool {
    !matches!(handle, Handle::File(FileType::Locks, _))
}

impl Counts {
    /// A repository that was just made holds nothing.
    pub(super) fn begin(&self, repository: &RepositoryName) {
        let known = Known { usage: Some((Usage::default(), Instant::now())), since: None };
        self.table().insert(repository.clone(), known);
    }

    /// The usage, unless it was never counted or too long ago.
    pub(super) fn known(&self, repository: &RepositoryName) -> Option<Usage> {
        let (usage, at) = self.table().get(repository)?.usage?;
        (at.elapsed() < STANDS).then_some(usage)
    }

    fn change(&self, repository: &RepositoryName, change: impl Fn(Usage) -> Usage) {
        if let Some(known) = self.table().get_mut(repository) {
            known.usage = known.usage.map(|(usage, at)| (change(usage), at));
            known.since = known.since.map(change);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<RepositoryName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl S3Store {
    /// Counts a file that is about to be stored. Of some it was never recorded who stored them.
    pub(super) async fn add(
        &self,
        repository: &RepositoryName,
        creator: Option<&PrincipalName>,
        bytes: u64,
    ) -> Result<(), StoreError> {
        if let Some(creator) = creator {
            self.keeper()?.tally(creator, bytes, false).await?;
        }
        self.usage.change(repository, |usage| usage.plus(Usage { bytes, files: 1 }));
        Ok(())
    }

    /// Takes back a file that was not stored after all, or that is not visible any more.
    pub(super) async fn take_back(
        &self,
        repository: &RepositoryName,
        creator: Option<&PrincipalName>,
        bytes: u64,
    ) {
        self.usage.change(repository, |usage| usage.minus(Usage { bytes, files: 1 }));
        let Some(creator) = creator else { return };
        let taken_back = match self.keeper() {
            Ok(keeper) => keeper.tally(creator, bytes, true).await.map_err(StoreError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = taken_back {
            tracing::warn!(%error, "a file that is not stored stays counted");
        }
    }
}

/// Counts a repository. An error if that takes long; it goes on then, and whoever asks again learns of it.
pub(super) async fn count(store: &S3Store, repository: &RepositoryName) -> Result<Usage, StoreError> {
    let begun = {
        let mut known = store.usage.table();
        let known = known.entry(repository.clone()).or_default();
        known.since.replace(Usage::default()).is_none()
    };
    if !begun {
        return Err(StoreError::Unavailable("the repository is being counted; try again".to_owned()));
    }
    let (counting, name) = (store.clone(), repository.clone());
    let task = tokio::spawn(async move {
        let counted = walk(&counting, &name).await;
        let mut known = counting.usage.table();
        let known = known.entry(name).or_default();
        let since = known.since.take().unwrap_or_default();
        let usage = counted?.plus(since);
        known.usage = Some((usage, Instant::now()));
        Ok(usage)
    });
    match timeout(WAIT_MAX, task).await {
        Ok(Ok(counted)) => counted,
        Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
        Err(_) => Err(StoreError::Unavailable("the repository is being counted; try again".to_owned())),
    }
}

async fn walk(store: &S3Store, repository: &RepositoryName) -> Result<Usage, StoreError> {
    let turn = store.usage.turns.acquire().await;
    let _turn = turn.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let mut usage = Usage::default();
    let root = store.layout.repository(repository);
    let places = ["config", "data/", "index/", "keys/", "snapshots/"].map(|place| format!("{root}{place}"));
    for place in places {
        let mut pages = names::objects(store, &store.settings.bucket, &place, None);
        while let Some(page) = pages.next().await {
            for object in page? {
                usage = usage.plus(Usage { bytes: object.size, files: 1 });
            }
        }
    }
    Ok(usage)
}
