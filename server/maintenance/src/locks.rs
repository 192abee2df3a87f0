//! Getting a repository to oneself, for what restic does under an exclusive lock.
//!
//! Invariant: nothing is believed of a lock but when Pawl received it and from whom. A lock is removed only once it is
//! stale by restic's own rule, so that no honest client is still at work under it; and however often a host locks, it is
//! waited for no longer than a suspension takes.

mod report;
mod suspension;
mod watch;

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use pawl_policy::{FileId, FileType, Handle, LOCK_STALE_AFTER_MS, Permit, RepositoryName};
use pawl_store::locks::{Lock, LockStore};
use pawl_store::{AppendStore, StoreError, now_ms};
use tokio::time::{Instant, sleep};

use super::deletion_permit;
use super::restic::ResticError;
use super::session::{self, Session};
use super::stop::Stop;
pub(super) use report::Report;
use suspension::Suspension;
use watch::Watch;

/// How often is looked whether locks went away.
const POLL: Duration = Duration::from_secs(5);
/// So long a lock may be on its way that was permitted before the suspension began. One that arrives later comes from
/// somebody who does not heed it.
pub(super) const ON_ITS_WAY: Duration = Duration::from_mins(1);
/// So often somebody may be faster than our restic, before new locks are suspended to let it through.
const FASTER_MAX: u32 = 3;

/// How long others' locks are waited for.
#[derive(Debug, Clone)]
pub(super) struct Timeouts {
    /// Until the making of new ones is suspended.
    pub(super) wait: Duration,
    /// How long locks may be on their way once it is: [`ON_ITS_WAY`], but in tests.
    pub(super) on_its_way: Duration,
    /// When all of it has to end: nothing is begun that would take longer.
    pub(super) stop: Stop,
}

/// Why a repository could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocksError {
    /// The store failed.
    #[error("locks cannot be looked after: {0}")]
    Store(#[from] StoreError),
    /// restic failed, and not because others have locked the repository.
    #[error(transparent)]
    Restic(#[from] ResticError),
    /// Who is at work here has no name.
    #[error("{0}")]
    User(String),
    /// There was not enough time.
    #[error("{0}")]
    NoTime(String),
    /// Somebody said that it has to end.
    #[error("the locks of {0} were waited for no longer")]
    Over(RepositoryName),
}

/// A repository that is to be had alone. Nothing else of this session may be at work in it while it is waited for.
#[derive(Debug)]
pub(super) struct ExclusiveAccess<'a> {
    session: &'a Session,
    repository: RepositoryName,
    patience: Timeouts,
    began: Instant,
    /// How long locks were waited for in all.
    waited: Duration,
    /// Whether the log says that locks are waited for.
    said: bool,
    watch: Watch,
    suspension: Option<Suspension>,
    report: Report,
}

impl<'a> ExclusiveAccess<'a> {
    /// The time for which others are waited for begins now.
    pub(super) fn of(session: &'a Session, repository: &RepositoryName, patience: Timeouts) -> Self {
        let (began, watch, report) = (Instant::now(), Watch::default(), Report::default());
        let repository = repository.clone();
        let (waited, said) = (Duration::ZERO, false);
        Self { session, repository, patience, began, waited, said, watch, suspension: None, report }
    }

    /// Does `work`, for which restic needs an exclusive lock at a server of this session, once no lock of others is in its
    /// way. It is tried again if somebody else was faster.
    pub(super) async fn run_exclusively<T>(
        &mut self,
        mut work: impl AsyncFnMut() -> Result<T, ResticError>,
    ) -> Result<T, LocksError> {
        // What was waited for before counts; what was done meanwhile was no waiting.
        self.began = Instant::now().checked_sub(self.waited).unwrap_or_else(Instant::now);
        for _ in 0..FASTER_MAX {
            self.wait().await?;
            match work().await {
                Err(error) if error.is_for_a_lock() && self.suspension.is_none() => {
                    self.note_who_was_faster().await;
                }
                done => return Ok(done?),
            }
        }
        self.suspend().await?;
        Ok(work().await?)
    }

    /// Waits until no lock of others is left, and after a while suspends new ones for that.
    pub(super) async fn wait(&mut self) -> Result<(), LocksError> {
        if self.suspension.is_some() || self.no_lock_is_left().await? {
            return Ok(());
        }
        self.suspend().await
    }

    /// Suspends new locks until [`Self::end`], and waits until every lock that was there when that began can no longer be
    /// held by an honest client. From then on our restic sees no lock but its own.
    pub(super) async fn suspend(&mut self) -> Result<(), LocksError> {
        let before = self.locks().await?;
        self.check_time(&before)?;
        let suspension =
            Suspension::begin(self.session.store.clone(), self.session.sight.clone(), &self.repository)
                .await?;
        self.report.suspended = true;
        self.watch.note_kept(&before);
        match self.let_go_stale().await {
            Ok(()) => {
                suspension.see_only_own();
                self.suspension = Some(suspension);
                Ok(())
            }
            Err(error) => {
                suspension.lift().await;
                Err(error)
            }
        }
    }

    async fn note_who_was_faster(&mut self) {
        match self.locks().await {
            Ok(locks) => self.watch.note_kept(&locks),
            Err(error) => tracing::warn!(%error, "who locked the repository at the same moment is not known"),
        }
    }

    /// Whether somebody is at work in the repository, for whom one would have to wait.
    pub(super) async fn is_busy(&self) -> Result<bool, LocksError> {
        let now_ms = now_ms();
        Ok(self.locks().await?.iter().any(|lock| !self.is_over(lock, now_ms)))
    }

    /// Whether nobody can hold the lock any more.
    fn is_over(&self, lock: &Lock, now_ms: u64) -> bool {
        // Only one run of maintenance is at work, and whose restic this was has ended.
        let of_ours = lock.of_maintenance || self.session.sight.is_own(&lock.id);
        of_ours || lock.facts.age_ms(now_ms) >= LOCK_STALE_AFTER_MS
    }

    /// Whether hosts cannot lock the repository because of this.
    pub(super) const fn is_suspended(&self) -> bool {
        self.suspension.is_some()
    }

    /// Lets hosts lock again, and says what there was.
    pub(super) async fn end(mut self) -> Report {
        if let Some(suspension) = self.suspension.take() {
            let ignored = suspension.lift().await;
            match self.locks().await {
                Ok(left) => self.watch.note_ignored(&ignored, &left),
                Err(error) => tracing::warn!(%error, "whose locks were ignored is not known"),
            }
        }
        Report { kept_by: self.watch.kept_by(), ..self.report }
    }

    /// Waits until no lock is left; false if there still is one when patience is at its end.
    async fn no_lock_is_left(&mut self) -> Result<bool, LocksError> {
        // A run that was killed may have left a suspension.
        self.session.store.resume_locks(&self.repository).await?;
        loop {
            let left = self.tidy().await?;
            self.watch.note(&left);
            let waited = self.began.elapsed();
            self.report.waited_seconds = waited.as_secs();
            self.waited = waited;
            if left.is_empty() {
                return Ok(true);
            }
            if waited >= self.patience.wait {
                return Ok(false);
            }
            self.check_until(now_ms(), &left)?;
            if !self.said {
                self.said = true;
                tracing::warn!(repository = %self.repository, by = holders(&left), "locked; waiting");
            }
            self.pause(POLL.min(self.patience.wait.saturating_sub(waited))).await?;
        }
    }

    /// Removes the locks that are there as they go stale. One that comes now is not waited for.
    async fn let_go_stale(&mut self) -> Result<(), LocksError> {
        self.pause(self.patience.on_its_way).await?;
        let settled_ms = now_ms();
        let there: BTreeSet<FileId> = self.locks().await?.iter().map(|lock| lock.id).collect();
        let locks = there.len();
        tracing::warn!(repository = %self.repository, locks, "hosts make no new locks; waiting until these are stale");
        loop {
            let left = self.tidy().await?;
            let (of_before, since): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|lock| there.contains(&lock.id));
            self.watch.note(&of_before);
            self.watch.note_in_spite(&since);
            self.report.waited_seconds = self.began.elapsed().as_secs();
            let now_ms = now_ms();
            // A time of receipt that lies ahead is not waited for: none of these was received later than then.
            let (spent, live): (Vec<_>, Vec<_>) = of_before.into_iter().partition(|lock| {
                now_ms.saturating_sub(lock.facts.received_ms.min(settled_ms)) >= LOCK_STALE_AFTER_MS
            });
            self.report.stale_removed += remove(self.session, &self.repository, &spent).await?;
            if live.is_empty() {
                return Ok(());
            }
            self.pause(POLL).await?;
        }
    }

    async fn pause(&self, time: Duration) -> Result<(), LocksError> {
        tokio::select! {
            () = sleep(time) => Ok(()),
            () = self.patience.stop.over() => Err(LocksError::Over(self.repository.clone())),
        }
    }

    async fn locks(&self) -> Result<Vec<Lock>, LocksError> {
        Ok(self.session.store.locks(&self.repository).await?)
    }

    /// Removes locks that nobody can hold any more, and returns those that are left.
    async fn tidy(&mut self) -> Result<Vec<Lock>, LocksError> {
        let now_ms = now_ms();
        let (over, left): (Vec<_>, Vec<_>) =
            self.locks().await?.into_iter().partition(|lock| self.is_over(lock, now_ms));
        self.report.stale_removed += remove(self.session, &self.repository, &over).await?;
        Ok(left)
    }

    /// Whether a suspension would be over in time.
    fn check_time(&self, left: &[Lock]) -> Result<(), LocksError> {
        let now_ms = now_ms();
        let stale_ms = |lock: &Lock| lock.facts.received_ms.min(now_ms).saturating_add(LOCK_STALE_AFTER_MS);
        let settled_ms =
            now_ms.saturating_add(u64::try_from(self.patience.on_its_way.as_millis()).unwrap_or(u64::MAX));
        let ready_ms = left.iter().map(stale_ms).max().unwrap_or(0).max(settled_ms);
        self.check_until(ready_ms, left)
    }

    fn check_until(&self, moment_ms: u64, left: &[Lock]) -> Result<(), LocksError> {
        match self.patience.stop.until_ms() {
            Some(until_ms) if moment_ms >= until_ms => Err(LocksError::NoTime(format!(
                "{} is locked by {}, and the time for this run would be over before it could be had alone",
                self.repository,
                holders(left)
            ))),
            _ => Ok(()),
        }
    }
}

/// Who made these locks, as a list of names.
fn holders(locks: &[Lock]) -> String {
    let holders: BTreeSet<_> = locks.iter().map(|lock| watch::name(&lock.facts)).collect();
    holders.into_iter().collect::<Vec<_>>().join(", ")
}

/// Removes locks as maintenance may, and says how many.
pub(super) async fn remove(
    session: &Session,
    repository: &RepositoryName,
    locks: &[Lock],
) -> Result<u64, LocksError> {
    let user = session::user().map_err(|error: Box<dyn Error>| LocksError::User(error.to_string()))?;
    let mut removed = 0;
    for Lock { id, facts, .. } in locks {
        let handle = Handle::File(FileType::Locks, *id);
        if let Ok(Permit::RemoveLock(permit)) = deletion_permit::permit(&user, repository, handle, facts, 0) {
            session.files.remove_lock(&permit).await?;
            removed += 1;
        }
    }
    Ok(removed)
}
