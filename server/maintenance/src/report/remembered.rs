//! What a report leaves for the next one.
//!
//! Invariant: it is data alone. Who compares with it decides what is missing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use pawl_keeper::audit::{Break, Head, ReadFiles};
use serde::{Deserialize, Serialize};

/// What the first files of the logs told, which need not be read again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AlreadyRead {
    /// These files, by log.
    pub(super) files: BTreeMap<String, ReadFiles>,
    pub(super) retired: BTreeSet<String>,
    pub(super) suspicious: BTreeMap<String, u64>,
}

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// When, to the millisecond: what was refused just after it is told the next time, and what was before is not.
    pub(super) made: Timestamp,
    pub(super) repositories: BTreeMap<String, Snapshots>,
    /// The last records of the logs, `hosts` and `maintenance`.
    pub(super) audit: BTreeMap<String, Head>,
    /// Where the logs are not what was written, and somebody said that they have looked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) breaks: BTreeMap<String, BTreeSet<Break>>,
}

/// Snapshots of a repository that everybody sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshots {
    pub(super) number: usize,
    pub(super) ids: BTreeSet<String>,
}

impl From<BTreeSet<String>> for Snapshots {
    fn from(ids: BTreeSet<String>) -> Self {
        Self { number: ids.len(), ids }
    }
}
