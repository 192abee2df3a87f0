//! What has to be there the next time: the snapshots, and the audit logs' last records.
//!
//! Invariant: a snapshot that was there is there, or a batch has it, or the audit log tells of its purge; or it is named.
//! The copy that Pawl keeps is for whoever has no other: somebody who can write to the data directory can write it as well.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pawl_config::files::{self, FileError};
use pawl_config::hint;
use pawl_keeper::audit::Head;
use pawl_policy::RepositoryName;
use pawl_store::either::EitherMaintenance;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audited::{Audited, KnownEnds, Since};
use super::earlier::Earlier;
use super::model::{Missing, Report};
use super::remembered::{AlreadyRead, Expected, Snapshots};
use super::seen::Seen;
use super::words::{Moment, number};
use crate::state_file;

impl Expected {
    /// What there is now. Of a repository that cannot be read, and of a log that does not verify and at which nobody has
    /// looked, that is what it was.
    pub(super) fn now(made: Moment, seen: &Seen, before: Option<&Self>, is_looked_at: bool) -> Self {
        let made = i64::try_from(made.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let mut now = Self {
            made: made.unwrap_or(Timestamp::MAX),
            repositories: BTreeMap::new(),
            audit: BTreeMap::new(),
            breaks: BTreeMap::new(),
        };
        for (name, contents) in &seen.repositories {
            let name = name.to_string();
            let before = || before.and_then(|before| before.repositories.get(&name).cloned());
            let snapshots = match contents {
                Ok(contents) => Some(Snapshots::from(contents.snapshots.clone())),
                Err(_) => before(),
            };
            now.repositories.extend(snapshots.map(|snapshots| (name.clone(), snapshots)));
        }
        for log in &seen.audited.logs {
            if log.broken.is_some() && !is_looked_at {
                now.keep_log(log.name, before);
                continue;
            }
            now.audit.extend(log.end.clone().map(|head| (log.name.to_owned(), head)));
            if !log.breaks.is_empty() {
                now.breaks.insert(log.name.to_owned(), log.breaks.clone());
            }
        }
        now
    }

    /// Expects what was expected and is missing still: nobody has said that they looked at it.
    pub(super) async fn keep_missing(
        &mut self,
        before: &Self,
        seen: &Seen,
        audited: &Audited,
        store: &EitherMaintenance,
    ) -> Result<(), Box<dyn Error>> {
        for Missing { repository, snapshots, .. } in missing(seen, store, before).await? {
            let expected = self.repositories.entry(repository).or_default();
            expected.ids.extend(snapshots);
            expected.number = expected.ids.len();
        }
        for name in before.audit.keys().filter(|name| !audited.has_head(name)) {
            self.keep_log(name, Some(before));
        }
        Ok(())
    }

    fn keep_log(&mut self, name: &str, before: Option<&Self>) {
        let head = before.and_then(|before| before.audit.get(name)).cloned();
        self.audit.remove(name);
        self.audit.extend(head.map(|head| (name.to_owned(), head)));
        let breaks = before.and_then(|before| before.breaks.get(name)).cloned();
        self.breaks.remove(name);
        self.breaks.extend(breaks.map(|breaks| (name.to_owned(), breaks)));
    }

    /// Only what concerns these repositories; all without any.
    pub(super) fn narrowed(mut self, wanted: &[RepositoryName]) -> Self {
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_str() == name);
        self.repositories.retain(|name, _| is_wanted(name));
        self
    }

    /// What the logs are expected to hold.
    pub(super) const fn ends(&self) -> KnownEnds<'_> {
        KnownEnds { heads: &self.audit, breaks: &self.breaks }
    }

    /// The numbers of the logs' last records.
    fn numbers(&self) -> BTreeMap<String, u64> {
        self.audit.iter().map(|(name, head)| (name.clone(), head.number)).collect()
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
        let since = Since { moment: Some(expected.made()), told: expected.numbers() };
        Ok(Self { with: shown.to_string(), since, expected, read: AlreadyRead::default() })
    }
}

/// What Pawl keeps of the last report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Last {
    /// When a report was last delivered.
    delivered: Option<Timestamp>,
    /// When somebody last said that they have looked.
    #[serde(default)]
    looked: Option<Timestamp>,
    /// The last records of the audit logs then.
    #[serde(default)]
    told: BTreeMap<String, u64>,
    /// What has to be there. What is missing stays in it until somebody says that they have looked.
    expected: Expected,
    /// What of the audit logs need not be read again.
    #[serde(default)]
    read: AlreadyRead,
}

impl Last {
    /// Somebody has looked at a report.
    pub(super) fn seen(report: &Report) -> Self {
        let looked = Some(report.expected.made);
        Self { looked, ..Self::delivered(report, None) }
    }

    /// A report was delivered.
    pub(super) fn delivered(report: &Report, before: Option<&Self>) -> Self {
        let (expected, read) = (report.expected.clone(), report.read.clone());
        let looked = before.and_then(|before| before.looked);
        Self { delivered: Some(expected.made), looked, told: expected.numbers(), expected, read }
    }

    /// Nobody is named to whom one is delivered.
    pub(super) fn kept(report: &Report, before: Option<&Self>) -> Self {
        let (expected, read) = (report.expected.clone(), report.read.clone());
        let (delivered, looked) = before.map_or((None, None), |before| (before.delivered, before.looked));
        let told = before.map(|before| before.told.clone()).unwrap_or_default();
        Self { delivered, looked, told, expected, read }
    }

    /// When somebody last said that they have looked, in Unix milliseconds.
    pub(super) fn looked_ms(&self) -> Option<u64> {
        u64::try_from(self.looked?.as_millisecond()).ok()
    }

    /// What is kept; nothing if there was no report.
    pub(super) fn load(data: &Path) -> Result<Option<Self>, String> {
        state_file::understand(&path(data)).map_err(|error| {
            format!(
                "what has to be there is not known: {error}; expected what an earlier report left; look at it, then `{}` \
                 makes what is there now what has to be there",
                hint::pawl("maintain report --acknowledge")
            )
        })
    }

    pub(super) fn save(&self, data: &Path) -> Result<(), FileError> {
        files::make_directory(&directory(data), 0o700)?;
        state_file::save(&path(data), self)
    }

    /// The numbers of the logs' last records.
    pub(super) fn numbers(&self) -> BTreeMap<String, u64> {
        self.expected.numbers()
    }

    /// Whether anything of this repository has to be there.
    pub(super) fn expects(&self, repository: &RepositoryName) -> bool {
        self.expected.repositories.contains_key(repository.as_str())
    }

    /// Nothing of this repository has to be there any more.
    pub(super) fn expect_no_more(&mut self, repository: &RepositoryName) {
        self.expected.repositories.remove(repository.as_str());
    }

    pub(super) fn into_earlier(self) -> Earlier {
        let Self { delivered, told, expected, read, looked: _ } = self;
        let since = Since { moment: delivered.map(moment), told };
        Earlier { with: "the last report".to_owned(), since, expected, read }
    }
}

fn directory(data: &Path) -> PathBuf {
    state_file::directory(data).join("report")
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
        let logs = cut_logs(earlier, &seen.audited);
        Ok(Self { missing: missing(seen, store, earlier).await?, logs })
    }
}

async fn missing(
    seen: &Seen,
    store: &EitherMaintenance,
    earlier: &Expected,
) -> Result<Vec<Missing>, Box<dyn Error>> {
    let mut all = Vec::new();
    for (name, snapshots) in &earlier.repositories {
        let mut missing = Vec::new();
        for id in &snapshots.ids {
            if !seen.explains(store, name, id).await? {
                missing.push(id.clone());
            }
        }
        if !missing.is_empty() {
            let (repository, of) = (name.clone(), snapshots.ids.len());
            all.push(Missing { repository, snapshots: missing, of });
        }
    }
    Ok(all)
}

/// What is wrong with the audit logs, measured by their heads then.
pub(super) fn cut_logs(earlier: &Expected, audited: &Audited) -> Vec<String> {
    let lost = earlier.audit.iter().filter(|(name, _)| !audited.has_head(name));
    lost.map(|(name, head)| {
        if audited.archived.get(name.as_str()).is_some_and(|archived| head.number < archived.number) {
            let Head { number, hash } = head;
            return format!(
                "record {number} of the audit log of {name}, which was its last at {}, is archived, so that it cannot be \
                 compared here: `pawl audit verify --head {hash} --archive DIR` says whether it is there",
                earlier.made()
            );
        }
        format!(
            "the audit log of {name} has no record {} with the hash {} any more, which had to be there at {}: it was cut or \
             rewritten",
            head.number,
            head.hash,
            earlier.made()
        )
    })
    .collect()
}

impl Missing {
    /// In words, with so many of them by name.
    pub(super) fn told(&self, since: Moment, named_max: usize) -> String {
        let Self { snapshots, of, .. } = self;
        let verb = if snapshots.len() == 1 { "is" } else { "are" };
        let named: Vec<_> = snapshots.iter().take(named_max).map(String::as_str).collect();
        let more = if named.len() < snapshots.len() { ", …" } else { "" };
        format!(
            "{} of the {} that had to be there at {since} {verb} missing, and no deletion by maintenance explains it: {}{more}",
            snapshots.len(),
            number(*of as u64, "snapshot"),
            named.join(", ")
        )
    }
}
