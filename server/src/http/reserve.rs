//! Room in a repository that is promised to uploads on their way.
//!
//! Invariant: an upload is counted here from before usage is looked up until the store has counted it, so that
//! uploads in parallel cannot exceed a quota together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pawl_policy::{RepositoryName, Usage};

/// What is promised in each repository.
#[derive(Debug, Clone, Default)]
pub(super) struct Reservations(Arc<Mutex<HashMap<RepositoryName, Usage>>>);

/// Room for one upload. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Reserved {
    reservations: Reservations,
    repository: RepositoryName,
    own: Usage,
    /// With all others of the repository.
    total: Usage,
}

impl Reservations {
    /// Reserves room for one file of this many bytes.
    pub(super) fn reserve(&self, repository: &RepositoryName, bytes: u64) -> Reserved {
        let own = Usage { bytes, files: 1 };
        let total = {
            let mut promised = self.promised();
            let total = promised.entry(repository.clone()).or_default();
            *total = total.plus(own);
            *total
        };
        Reserved { reservations: self.clone(), repository: repository.clone(), own, total }
    }

    fn promised(&self) -> MutexGuard<'_, HashMap<RepositoryName, Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// All that is promised in the repository, this included.
    pub(super) const fn total(&self) -> Usage {
        self.total
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut promised = self.reservations.promised();
        if let Some(total) = promised.get_mut(&self.repository) {
            total.bytes = total.bytes.saturating_sub(self.own.bytes);
            total.files = total.files.saturating_sub(self.own.files);
            if total.files == 0 {
                promised.remove(&self.repository);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_adds_up_and_is_given_back() {
        let reservations = Reservations::default();
        let (web1, web2) = ("web1".parse().unwrap(), "web2".parse().unwrap());
        let first = reservations.reserve(&web1, 10);
        let second = reservations.reserve(&web1, 5);
        assert_eq!(second.total(), Usage { bytes: 15, files: 2 });
        assert_eq!(reservations.reserve(&web2, 1).total(), Usage { bytes: 1, files: 1 });
        drop(first);
        assert_eq!(reservations.reserve(&web1, 1).total(), Usage { bytes: 6, files: 2 });
        drop(second);
        assert!(reservations.promised().is_empty());
    }
}
