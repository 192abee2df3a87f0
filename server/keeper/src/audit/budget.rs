//! How many lines of a kind the log has, where somebody can cause any number.
//!
//! Invariant: what has no line is counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Lines of one kind that one principal gets each second, and at once. A restore in one go reads fewer packs than the
/// latter; 20 lines a second are half a gigabyte a day.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();
const LINES_BURST: NonZeroU32 = NonZeroU32::new(2000).unwrap();
/// How often a line says how many had none.
pub const COUNTED_EVERY: Duration = Duration::from_mins(1);

/// The lines that are left for each key.
#[derive(Debug)]
pub struct Budget<K: Hash + Eq + Clone> {
    told: DefaultKeyedRateLimiter<K>,
    pending_audit: Mutex<HashMap<K, u64>>,
}

impl<K: Hash + Eq + Clone> Default for Budget<K> {
    fn default() -> Self {
        let quota = Quota::per_second(LINES_PER_SECOND).allow_burst(LINES_BURST);
        Self { told: RateLimiter::keyed(quota), pending_audit: Mutex::default() }
    }
}

impl<K: Hash + Eq + Clone> Budget<K> {
    /// Whether there is a line left for this one; else it is counted.
    pub fn check(&self, key: &K) -> bool {
        if self.told.check_key(key).is_ok() {
            return true;
        }
        let mut pending_audit = self.pending_audit.lock().unwrap_or_else(PoisonError::into_inner);
        let count = pending_audit.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        false
    }

    /// How many of each key had no line since the last time. Keys with a full budget are forgotten.
    pub fn counted(&self) -> HashMap<K, u64> {
        self.told.retain_recent();
        std::mem::take(&mut *self.pending_audit.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
