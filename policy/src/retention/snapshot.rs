//! What is known of a snapshot when it is judged: what it claims, and what Pawl knows better.
//!
//! Invariant: the effective time is never more than [`TOLERANCE_MS`] from the time received, unless an admin vouched for
//! what is claimed.

use alloc::string::String;
use alloc::vec::Vec;

use super::moment::Moment;
use crate::name::FileId;
use crate::purge_permit::DAY_MS;

/// So far a claimed time may be from the received one, in milliseconds: longer than a backup takes whose snapshot is
/// stored at its end, and so short that a forged time moves a snapshot by a day at most.
pub const TOLERANCE_MS: u64 = DAY_MS;

/// For what of a snapshot an admin vouches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vouched {
    /// Nothing.
    #[default]
    Nothing,
    /// Its claimed time.
    Time,
    /// Its claimed time, and that it is as large as it should be.
    AsItIs,
}

/// What a snapshot's trees hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Files and directories.
    pub files: u64,
    /// Bytes of all files, as they would be restored.
    pub bytes: u64,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: FileId,
    /// The time that it claims; nothing if that is none.
    pub claimed: Option<Moment>,
    /// When Pawl received it, in Unix milliseconds.
    pub received_ms: u64,
    /// The host that it claims.
    pub host: String,
    /// Its paths.
    pub paths: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What its trees hold; nothing if they cannot be read.
    pub size: Option<Size>,
    /// Whether it lacks the file that every backup must contain unchanged.
    pub lacks_canary: bool,
    /// For what of it an admin vouches.
    pub vouched: Vouched,
    /// Whether another server stored it, so that no host can have added it here.
    pub brought: bool,
    /// Whether an earlier run found that it fell sharply: counts where nothing is left to compare it with.
    pub fell_before: bool,
}

impl Snapshot {
    /// The time at which it is judged.
    #[must_use]
    pub fn effective(&self) -> Moment {
        let received = self.received();
        self.claimed.filter(|_| self.is_credible()).unwrap_or(received)
    }

    /// When Pawl received it, in the offset that it claims.
    #[must_use]
    pub fn received(&self) -> Moment {
        Moment::from_ms(self.received_ms, self.claimed)
    }

    /// Whether what it claims can be believed.
    #[must_use]
    pub fn is_credible(&self) -> bool {
        let is_vouched_for = self.vouched != Vouched::Nothing;
        self.claimed
            .is_some_and(|claimed| is_vouched_for || claimed.distance_ms(&self.received()) <= TOLERANCE_MS)
    }
}
