//! The end of the keeper, told to its threads.
//!
//! Invariant: once told, it stays told.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Tells a thread that it is no longer needed.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    told: Mutex<bool>,
    telling: Condvar,
}

impl Shutdown {
    pub(super) fn tell(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.telling.notify_all();
    }

    /// Whether it was told.
    pub(super) fn is_told(&self) -> bool {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a while; true if it was told.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.telling.wait_timeout_while(told, time, |told| !*told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
