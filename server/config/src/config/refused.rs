//! What is wrong with a key, and which keys had another name once.
//!
//! Invariant: an error names the key; the file is named where it is read.

/// A key and why its value cannot be.
pub(super) type Refused = (&'static str, String);

/// Keys that had another name before the first release, and what they are called now.
const RENAMED: [(&str, &str); 4] = [
    ("floor_days", "min_snapshot_age_days"),
    ("delay_days", "purge_delay_days"),
    ("verify_days", "verify_interval_days"),
    ("clock_is_right", "assume_clock_synced"),
];

/// The name that this key has now, if it had another before.
pub(super) fn renamed(key: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == key).map(|(_, new)| *new)
}
