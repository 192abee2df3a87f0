//! Room in a repository, or of a principal, that is promised to uploads on their way.
//!
//! Invariant: an upload is counted here from before usage is looked up until the store has counted it, so that
//! uploads in parallel cannot exceed a quota together.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pawl_policy::Usage;

/// What is promised to each repository or principal.
#[derive(Debug)]
pub(super) struct Reservations<K>(Arc<Mutex<HashMap<K, Usage>>>);

impl<K> Default for Reservations<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Clone for Reservations<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Room for one upload. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Reserved<K: Hash + Eq> {
    reservations: Reservations<K>,
    key: K,
    own: Usage,
    /// With all others of the same.
    total: Usage,
}

impl<K: Hash + Eq + Clone> Reservations<K> {
    /// Reserves room for one file of this many bytes.
    pub(super) fn reserve(&self, key: &K, bytes: u64) -> Reserved<K> {
        let own = Usage::of_file(bytes);
        let total = {
            let mut promised = self.promised();
            let total = promised.entry(key.clone()).or_default();
            *total = total.plus(own);
            *total
        };
        Reserved { reservations: self.clone(), key: key.clone(), own, total }
    }
}

impl<K> Reservations<K> {
    fn promised(&self) -> MutexGuard<'_, HashMap<K, Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Reserved<K> {
    /// All that is promised to the same, this included.
    pub(super) const fn total(&self) -> Usage {
        self.total
    }
}

impl<K: Hash + Eq> Drop for Reserved<K> {
    fn drop(&mut self) {
        let mut promised = self.reservations.promised();
        if let Some(total) = promised.get_mut(&self.key) {
            total.bytes = total.bytes.saturating_sub(self.own.bytes);
            total.files = total.files.saturating_sub(self.own.files);
            if total.files == 0 {
                promised.remove(&self.key);
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
        let (web1, web2) = ("web1", "web2");
        let first = reservations.reserve(&web1, 10_000);
        let second = reservations.reserve(&web1, 5_000);
        assert_eq!(second.total(), Usage { bytes: 15_000, files: 2 });
        // A small file counts as much as it takes.
        assert_eq!(reservations.reserve(&web2, 1).total(), Usage { bytes: 4096, files: 1 });
        drop(first);
        assert_eq!(reservations.reserve(&web1, 6_000).total(), Usage { bytes: 11_000, files: 2 });
        drop(second);
        assert!(reservations.promised().is_empty());
    }
}
