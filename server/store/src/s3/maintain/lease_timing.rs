//! How long the holder of a bucket's lock may be silent.
//!
//! Invariant: a holder stops by itself well before others take its place.

use std::time::Duration;

/// How a holder shows that it lives, and when others take its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseTiming {
    /// How often the holder shows that it lives.
    pub(super) beat_every: Duration,
    /// After so long without a sign the holder stops by itself.
    pub(super) silent_max: Duration,
    /// And only after so much longer do others take its place.
    pub(super) expired: Duration,
    /// Whoever was about to take it is waited for so long.
    pub(super) turn_expired: Duration,
}

impl LeaseTiming {
    pub(super) const USUAL: Self = Self {
        beat_every: Duration::from_mins(2),
        silent_max: Duration::from_mins(10),
        expired: Duration::from_mins(20),
        turn_expired: Duration::from_mins(10),
    };
}
