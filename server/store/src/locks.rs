//! What only maintenance can do about locks: see all of them, and suspend the making of new ones.
//!
//! Invariant: a suspension names its own end, so that one which a killed run left behind is over by itself. Hosts' frontends
//! look for it whenever somebody locks; none of them can begin, end or prolong one.

use std::future::Future;

use pawl_policy::{FileId, RepositoryName};

use super::{Facts, StoreError};

/// A lock that lies in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Which.
    pub id: FileId,
    /// What is known of it.
    pub facts: Facts,
    /// Whether it certainly was stored at a maintenance server. A bucket does not tell.
    pub of_maintenance: bool,
}

/// A store in which maintenance can keep hosts from locking.
pub trait LockStore: Send + Sync + 'static {
    /// Every lock of a repository, those that have expired among them.
    fn locks(
        &self,
        repository: &RepositoryName,
    ) -> impl Future<Output = Result<Vec<Lock>, StoreError>> + Send;

    /// Suspends the making of locks until then, in Unix milliseconds, and tells the audit log. What was said before no longer
    /// counts.
    fn suspend_locks(
        &self,
        repository: &RepositoryName,
        until_ms: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a suspension, and tells the audit log; done as well if there is none.
    fn resume_locks(
        &self,
        repository: &RepositoryName,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The moment that the name of a mark says, in Unix milliseconds. What says none is an error: nobody else writes there.
pub(super) fn end_of_suspension(name: &str) -> Result<u64, StoreError> {
    name.parse().map_err(|_| {
        StoreError::Unavailable(format!(
            "among the marks that suspend locks is '{}', which is no time; the next run of maintenance removes it",
            name.escape_default()
        ))
    })
}
