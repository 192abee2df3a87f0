//! The `[maintenance]` table: where admins come in, and how long things are kept.
//!
//! Invariant: the delay after which deletions become final is at least a day; that snapshots may be deleted at once has
//! to be written out.

use std::path::Path;

use pawl_policy::{DAY_MS, PURGE_DELAY_DAYS, SNAPSHOT_FLOOR_MS};
use serde::Deserialize;

use super::written::Refused;
use super::{Listen, listen};

/// Days within which every byte is verified unless configured.
const VERIFY_DAYS: u32 = 7;

/// Ten years.
const DAYS_MAX: u32 = 3650;

/// What maintenance needs to know beside what hosts' door knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Where the maintenance door listens; in the data directory if this is empty.
    pub listen: Vec<Listen>,
    /// Days that a snapshot is protected from deletion; 7 unless written.
    floor_days: Option<u32>,
    /// Days after which deletions become final; 14 unless written.
    delay_days: Option<u32>,
    /// Days within which every byte is verified; 7 unless written, and no more than half the delay.
    verify_days: Option<u32>,
}

impl Maintenance {
    /// The age from which on a snapshot can be deleted, in milliseconds.
    #[must_use]
    pub fn floor_ms(&self) -> u64 {
        self.floor_days.map_or(SNAPSHOT_FLOOR_MS, |days| u64::from(days) * DAY_MS)
    }

    /// Days after which deletions become final.
    #[must_use]
    pub fn delay_days(&self) -> u32 {
        self.delay_days.unwrap_or(PURGE_DELAY_DAYS)
    }

    /// Within so long every byte is verified, in milliseconds: in half the delay at most, so that damage is found while
    /// the good version is still there.
    #[must_use]
    pub fn verify_ms(&self) -> u64 {
        let half = u64::from(self.delay_days()) * DAY_MS / 2;
        half.min(u64::from(self.verify_days.unwrap_or(VERIFY_DAYS)) * DAY_MS)
    }

    /// Where the maintenance door of this data directory listens.
    pub fn places(&self, data: &Path) -> Result<Vec<Listen>, super::ListenError> {
        if !self.listen.is_empty() {
            return Ok(self.listen.clone());
        }
        let socket = data.join(".pawl/maintenance/maintain.sock");
        Ok(vec![format!("unix:{}", socket.display()).parse()?])
    }
}

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default, deserialize_with = "listen::one_or_more")]
    listen: Option<Vec<Listen>>,
    floor_days: Option<u32>,
    delay_days: Option<u32>,
    verify_days: Option<u32>,
}

impl Written {
    pub(super) fn check(self) -> Result<Maintenance, Refused> {
        let Self { listen, floor_days, delay_days, verify_days } = self;
        if listen.as_ref().is_some_and(Vec::is_empty) {
            return Err(("maintenance.listen", "expected at least one address".to_owned()));
        }
        if let Some(days) = floor_days.filter(|days| *days > DAYS_MAX) {
            return Err(("maintenance.floor_days", format!("expected 0 to {DAYS_MAX}, found {days}")));
        }
        if let Some(days) = delay_days.filter(|days| !(1..=DAYS_MAX).contains(days)) {
            return Err(("maintenance.delay_days", format!("expected 1 to {DAYS_MAX}, found {days}")));
        }
        let half = delay_days.unwrap_or(PURGE_DELAY_DAYS) / 2;
        if let Some(days) = verify_days.filter(|days| !(1..=half).contains(days)) {
            let reason = format!(
                "expected 1 to {half}, half of delay_days, found {days}: damage has to be found before the good version \
                 is purged; set a smaller one, or a larger delay_days"
            );
            return Err(("maintenance.verify_days", reason));
        }
        Ok(Maintenance { listen: listen.unwrap_or_default(), floor_days, delay_days, verify_days })
    }
}
