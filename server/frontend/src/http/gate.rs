//! Counts what is just going on, so that a cap on its number holds against parallel requests.
//!
//! Invariant: whoever entered is counted until the returned value is dropped. A file is counted here until it is in
//! the store, so at no moment is it counted nowhere.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts by group.
#[derive(Debug)]
pub(super) struct Gate<G>(Arc<Mutex<HashMap<G, u32>>>);

/// One that entered. Dropping it counts it no more.
#[derive(Debug)]
pub(super) struct Entered<G: Hash + Eq> {
    gate: Gate<G>,
    group: G,
    before: u32,
}

impl<G> Default for Gate<G> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<G> Clone for Gate<G> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<G: Hash + Eq + Clone> Gate<G> {
    /// Counts one more of the group.
    pub(super) fn enter(&self, group: G) -> Entered<G> {
        let before = {
            let mut counts = self.counts();
            let count = counts.entry(group.clone()).or_default();
            let before = *count;
            *count = before.saturating_add(1);
            before
        };
        Entered { gate: self.clone(), group, before }
    }
}

impl<G> Gate<G> {
    fn counts(&self) -> MutexGuard<'_, HashMap<G, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G: Hash + Eq> Entered<G> {
    /// How many of the group had entered before.
    pub(super) const fn before(&self) -> u32 {
        self.before
    }
}

impl<G: Hash + Eq> Drop for Entered<G> {
    fn drop(&mut self) {
        let mut counts = self.gate.counts();
        if let Some(count) = counts.get_mut(&self.group) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_is_counted_apart_and_leaving_is_counted_as_well() {
        let gate = Gate::default();
        let first = gate.enter("a");
        assert_eq!((first.before(), gate.enter("b").before()), (0, 0));
        let second = gate.enter("a");
        assert_eq!(second.before(), 1);
        drop(first);
        assert_eq!(gate.enter("a").before(), 1);
        drop(second);
        assert_eq!(gate.enter("a").before(), 0);
        assert!(gate.counts().is_empty());
    }
}
