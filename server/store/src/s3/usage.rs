//! How much each repository holds, counted by listing it.
//!
//! Invariant: what this server stores is counted before it is stored, and a count is renewed every few minutes, beside the
//! work, so that what other servers store is missed for no longer than that. A repository that was never counted is
//! refused until it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use pawl_policy::{FileType, Handle, PrincipalName, RepositoryName, Usage};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{S3Store, names};
use crate::StoreError;

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
    /// How long the last count took.
    took: Duration,
    /// While a count is under way: what was added since it began, or was on its way then.
    since: Option<Usage>,
    /// What is on its way to the store at this moment, which a count may not see.
    in_flight: Usage,
}

/// A file that is on its way as long as this lives.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    counts: &'a Counts,
    repository: RepositoryName,
    file: Usage,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.counts.table().get_mut(&self.repository) {
            known.in_flight = known.in_flight.minus(self.file);
        }
    }
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
        let known = Known { usage: Some((Usage::default(), Instant::now())), ..Known::default() };
        self.table().insert(repository.clone(), known);
    }

    /// The usage, unless it was never counted.
    pub(super) fn known(&self, repository: &RepositoryName) -> Option<Usage> {
        self.table().get(repository)?.usage.map(|(usage, _)| usage)
    }

    /// Whether it was counted so long ago that it should be renewed. Counting takes a tenth of the time at most.
    fn is_old(&self, repository: &RepositoryName) -> bool {
        let table = self.table();
        let known = table.get(repository);
        known.is_some_and(|known| {
            known.usage.is_some_and(|(_, at)| at.elapsed() >= STANDS.max(known.took.saturating_mul(10)))
        })
    }

    /// Notes that a file is on its way.
    pub(super) fn take_off(&self, repository: &RepositoryName, bytes: u64) -> InFlight<'_> {
        let file = Usage::of_file(bytes);
        let mut table = self.table();
        let known = table.entry(repository.clone()).or_default();
        known.in_flight = known.in_flight.plus(file);
        InFlight { counts: self, repository: repository.clone(), file }
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
        self.usage.change(repository, |usage| usage.plus(Usage::of_file(bytes)));
        Ok(())
    }

    /// Takes back a file that was not stored after all, or that is not visible any more.
    pub(super) async fn take_back(
        &self,
        repository: &RepositoryName,
        creator: Option<&PrincipalName>,
        bytes: u64,
    ) {
        self.usage.change(repository, |usage| usage.minus(Usage::of_file(bytes)));
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
    let again = || StoreError::Unavailable("the repository is being counted; try again".to_owned());
    match timeout(WAIT_MAX, start(store, repository).ok_or_else(again)?).await {
        Ok(Ok(counted)) => counted,
        Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
        Err(_) => Err(again()),
    }
}

/// Has a repository counted anew whose count is old. Nobody waits for that.
pub(super) fn renew(store: &S3Store, repository: &RepositoryName) {
    if store.usage.is_old(repository) {
        drop(start(store, repository));
    }
}

/// Begins to count, unless that is under way.
fn start(store: &S3Store, repository: &RepositoryName) -> Option<JoinHandle<Result<Usage, StoreError>>> {
    {
        let mut table = store.usage.table();
        let known = table.entry(repository.clone()).or_default();
        if known.since.is_some() {
            return None;
        }
        known.since = Some(known.in_flight);
    }
    let (counting, name) = (store.clone(), repository.clone());
    Some(tokio::spawn(async move {
        let began = Instant::now();
        let (store, repository) = (counting.clone(), name.clone());
        // In a task of its own, so that the end is noted whatever happens there.
        let counted = tokio::spawn(async move { walk(&store, &repository).await }).await;
        let mut table = counting.usage.table();
        let known = table.entry(name).or_default();
        let since = known.since.take().unwrap_or_default();
        let usage = counted.map_err(|error| StoreError::Unavailable(error.to_string()))??.plus(since);
        (known.usage, known.took) = (Some((usage, Instant::now())), began.elapsed());
        Ok(usage)
    }))
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
                usage = usage.plus(Usage::of_file(object.size));
            }
        }
    }
    Ok(usage)
}
