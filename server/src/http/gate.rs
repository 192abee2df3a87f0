//! Counts files that are just being stored, so that a cap on their number holds against parallel requests.
//!
//! Invariant: a file is counted here until it is in the store, so at no moment is it counted nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pawl_policy::{FileType, PrincipalName, RepositoryName};

/// What is counted together.
type Group = (RepositoryName, FileType, Option<PrincipalName>);

/// Files on their way, by group.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<Mutex<HashMap<Group, u32>>>);

/// One file on its way. Dropping it counts it no more.
#[derive(Debug)]
pub(super) struct OnItsWay {
    gate: Gate,
    group: Group,
    before: u32,
}

impl Gate {
    /// Counts one file. Count those in the store only afterwards.
    pub(super) fn enter(&self, group: Group) -> OnItsWay {
        let before = {
            let mut counts = self.counts();
            let count = counts.entry(group.clone()).or_default();
            *count += 1;
            *count - 1
        };
        OnItsWay {
            gate: self.clone(),
            group,
            before,
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Group, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OnItsWay {
    /// How many of the group were on their way already.
    pub(super) const fn before(&self) -> u32 {
        self.before
    }
}

impl Drop for OnItsWay {
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
