//! Whether maintenance keeps up: what was verified when, and how long deletions wait.
//!
//! Invariant: a repository of which nothing is known counts as never verified.

use std::error::Error;

use pawl_config::Config;
use pawl_config::hint;
use pawl_policy::DAY_MS;
use pawl_store::now_ms;

use super::Line;
use super::store::{Store, WITHOUT_VERSIONS};
use crate::verify::coverage;

/// What was found.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) lines: Vec<Line>,
    /// Whether every byte was verified within the time configured, or is younger than that.
    pub(super) verified: bool,
}

/// Looks at what maintenance wrote down.
pub(super) fn look(config: &Config, store: &Store) -> Result<Upkeep, Box<dyn Error>> {
    let mut lines = vec![of_delay(config, store)];
    let within_ms = config.maintenance.verify_ms();
    let covered = coverage(config)?;
    let late: Vec<_> = covered.iter().filter(|covered| covered.is_late(now_ms(), within_ms)).collect();
    let verified = late.is_empty();
    let days = within_ms.div_ceil(DAY_MS);
    if let Some(worst) = late.iter().min_by_key(|covered| covered.oldest_ms) {
        let since = worst.oldest_ms.map_or_else(
            || "never was".to_owned(),
            |oldest_ms| {
                format!("was last read {} days ago in parts", now_ms().saturating_sub(oldest_ms) / DAY_MS)
            },
        );
        lines.push(Line::note(
            format!(
                "{} of {} repositories are not verified within {days} days; {} {since}",
                late.len(),
                covered.len(),
                worst.repository
            ),
            format!(
                "damage may be found only when the good version is gone: run `{}` every day",
                hint::pawl("maintain verify")
            ),
        ));
    } else if !covered.is_empty() {
        let is_whole = covered.iter().all(|covered| covered.oldest_ms.is_some());
        lines.push(Line::good(if is_whole {
            format!("every byte was verified within {days} days")
        } else {
            format!("verification keeps up: what is not read yet is not {days} days old")
        }));
    }
    Ok(Upkeep { lines, verified })
}

fn of_delay(config: &Config, store: &Store) -> Line {
    if !store.keeps_what_is_deleted() {
        return Line::note(
            "the bucket keeps no versions: `pawl maintain` deletes nothing there, and brings nothing back",
            WITHOUT_VERSIONS,
        );
    }
    let days = config.maintenance.purge_delay_days();
    let min_snapshot_age_days = config.maintenance.floor_ms() / DAY_MS;
    let text = format!(
        "deletions are final after {days} days at the earliest; snapshots are kept for {min_snapshot_age_days} days from anybody"
    );
    if min_snapshot_age_days == 0 {
        return Line::note(
            text,
            "a stolen maintenance credential could delete the newest backups first: min_snapshot_age_days",
        );
    }
    Line::good(text)
}
