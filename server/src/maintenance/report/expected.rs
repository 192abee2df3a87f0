//! What has to be there the next time: the snapshots, and the audit logs' last records.
//!
//! Invariant: a snapshot that was there is there, or a batch has it, or the audit log tells of its purge; or it is named.
//! The copy that Pawl keeps is for whoever has no other: somebody who can write to the data directory can write it as well.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{remembered, session};
use super::model::Missing;
use super::seen::Seen;
use super::words::{Moment, number};
use crate::audit::Head;
use crate::config::Config;
use crate::files::{self, FileError};
use crate::store::either::EitherMaintenance;

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::maintenance) struct Expected {
    /// When, to the millisecond: what was refused just after it is told the next time, and what was before is not.
    made: Timestamp,
    pub(super) repositories: BTreeMap<String, Snapshots>,
    /// The last records of the logs, `hosts` and `maintenance`.
    pub(super) audit: BTreeMap<String, Head>,
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

impl Expected {
    pub(super) fn new(
        made: Moment,
        repositories: BTreeMap<String, Snapshots>,
        audit: BTreeMap<String, Head>,
    ) -> Self {
        let made = i64::try_from(made.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self { made: made.unwrap_or(Timestamp::MAX), repositories, audit }
    }

    /// When that was.
    pub(super) fn made(&self) -> Moment {
        moment(self.made)
    }

    fn is_whole(&self) -> bool {
        self.repositories.values().all(|snapshots| snapshots.number == snapshots.ids.len())
    }
}

fn moment(timestamp: Timestamp) -> Moment {
    Moment(u64::try_from(timestamp.as_millisecond()).unwrap_or(0))
}

/// What an earlier report expects, and where that was found.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) with: String,
    /// From when on refused attempts are told.
    pub(super) since: Option<Moment>,
    pub(super) expected: Expected,
}

impl Earlier {
    /// Reads a report's JSON, or only what it has as `expected`.
    pub(super) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let shown = path.display();
        let text = files::read(path)?.ok_or_else(|| format!("{shown}: there is no such file"))?;
        let no_report = |why: String| {
            format!(
                "{shown}: {why}; expected what `pawl maintain report --json` printed, or the part `expected` of it"
            )
        };
        let mut value: Value = serde_json::from_str(&text).map_err(|error| no_report(error.to_string()))?;
        if let Some(expected) = value.get_mut("expected") {
            value = expected.take();
        }
        let expected: Expected =
            serde_json::from_value(value).map_err(|error| no_report(error.to_string()))?;
        if !expected.is_whole() {
            return Err(no_report("it is not whole".to_owned()).into());
        }
        let since = Some(expected.made());
        Ok(Self { with: shown.to_string(), since, expected })
    }
}

/// What Pawl keeps of the last report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Last {
    /// When a report was last delivered.
    delivered: Option<Timestamp>,
    expected: Expected,
}

impl Last {
    /// A report was delivered.
    pub(super) fn delivered(expected: Expected) -> Self {
        Self { delivered: Some(expected.made), expected }
    }

    /// Nobody is named to whom one is delivered.
    pub(super) fn kept(expected: Expected, before: Option<&Self>) -> Self {
        Self { delivered: before.and_then(|before| before.delivered), expected }
    }

    /// What is kept; nothing if there was no report.
    pub(super) fn load(data: &Path) -> Result<Option<Self>, FileError> {
        remembered::load(&path(data))
    }

    pub(super) fn save(&self, data: &Path) -> Result<(), FileError> {
        files::make_directory(&directory(data), 0o700)?;
        remembered::save(&path(data), self)
    }

    pub(super) fn into_earlier(self) -> Earlier {
        let Self { delivered, expected } = self;
        Earlier { with: "the last report".to_owned(), since: delivered.map(moment), expected }
    }
}

fn directory(data: &Path) -> PathBuf {
    session::directory(data).join("report")
}

fn path(data: &Path) -> PathBuf {
    directory(data).join("last.json")
}

/// What is not as it was.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub(super) missing: Vec<Missing>,
    /// What is wrong with the audit logs.
    pub(super) logs: Vec<String>,
}

impl Losses {
    /// Compares what is there with what was.
    pub(super) async fn of(
        seen: &Seen,
        store: &EitherMaintenance,
        earlier: &Expected,
    ) -> Result<Self, Box<dyn Error>> {
        let mut losses = Self::default();
        for (name, snapshots) in &earlier.repositories {
            let mut missing = Vec::new();
            for id in &snapshots.ids {
                if !seen.explains(store, name, id).await? {
                    missing.push(id.clone());
                }
            }
            if !missing.is_empty() {
                let (repository, of) = (name.clone(), snapshots.ids.len());
                losses.missing.push(Missing { repository, snapshots: missing, of });
            }
        }
        for (name, head) in &earlier.audit {
            if !seen.audited.has_head(name) {
                losses.logs.push(format!(
                    "the audit log of {name} has no record {} with the hash {} any more, which was its last at {}: it was \
                     cut or rewritten",
                    head.number,
                    head.hash,
                    earlier.made()
                ));
            }
        }
        Ok(losses)
    }

    /// One sentence for each loss.
    pub(super) fn told(&self, since: Moment) -> Vec<String> {
        let missing = self
            .missing
            .iter()
            .map(|missing| format!("{}: {}", missing.repository, missing.told(since, usize::MAX)));
        missing.chain(self.logs.iter().cloned()).collect()
    }
}

impl Missing {
    /// In words, with so many of them by name.
    pub(super) fn told(&self, since: Moment, named_max: usize) -> String {
        let Self { snapshots, of, .. } = self;
        let verb = if snapshots.len() == 1 { "is" } else { "are" };
        let named: Vec<_> = snapshots.iter().take(named_max).map(String::as_str).collect();
        let more = if named.len() < snapshots.len() { ", …" } else { "" };
        format!(
            "{} of the {} that were there at {since} {verb} missing, and no deletion by maintenance explains it: {}{more}",
            snapshots.len(),
            number(*of as u64, "snapshot"),
            named.join(", ")
        )
    }
}

/// Compares what is there with what the last report left with: a sentence for each loss.
#[cfg_attr(not(test), expect(dead_code, reason = "`pawl maintain run` begins with it"))]
pub(in crate::maintenance) async fn compare(
    store: &EitherMaintenance,
    config: &Config,
) -> Result<Vec<String>, Box<dyn Error>> {
    let Some(last) = Last::load(&config.data)? else { return Ok(Vec::new()) };
    let expected = last.expected;
    let seen = Seen::look(store, config, &[], Some(&expected), None).await?;
    Ok(Losses::of(&seen, store, &expected).await?.told(expected.made()))
}
