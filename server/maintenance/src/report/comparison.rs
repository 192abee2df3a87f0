//! What an earlier report left with, compared with what is there, one repository at a time.
//!
//! Invariant: a snapshot that is not there is explained by a batch or by a purge that the audit log tells, or it is missing.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use pawl_config::Config;
use pawl_policy::{FileType, Handle, RepositoryName};
use pawl_store::maintenance::MaintenanceStore;
use pawl_store::{AppendStore, StoreError};

use super::audited::Audited;
use super::earlier::Earlier;
use super::expected::{Last, cut_logs};
use super::model::Missing;
use crate::listing;
use crate::session::Session;

/// Snapshots that are named one by one.
const NAMED_MAX: usize = 10;

/// What there was, and what the audit logs say now.
#[derive(Debug)]
pub(crate) struct Comparison {
    earlier: Earlier,
    audited: Audited,
    /// What is wrong with the audit logs, a sentence each.
    pub(crate) logs: Vec<String>,
}

/// What came of it in a repository.
#[derive(Debug)]
pub(crate) struct Compared {
    /// Snapshots that were there.
    pub(crate) expected: usize,
    /// In words, what is missing of them.
    pub(crate) missing: Option<String>,
}

impl Comparison {
    /// With this file, or with the last report that Pawl keeps; nothing if there is none.
    pub(crate) async fn begin(config: &Config, file: Option<&Path>) -> Result<Option<Self>, Box<dyn Error>> {
        let earlier = match file {
            Some(file) => Some(Earlier::read(file)?),
            None => Last::load(&config.data)?.map(Last::into_earlier),
        };
        let Some(earlier) = earlier else { return Ok(None) };
        let (data, expected, before) = (config.data.clone(), earlier.expected.clone(), earlier.read.clone());
        let read = move || Audited::read(&data, Some(expected.ends()), None, before);
        let audited = tokio::task::spawn_blocking(read).await??;
        let logs = cut_logs(&earlier.expected, &audited);
        Ok(Some(Self { earlier, audited, logs }))
    }

    /// Repositories of which there were snapshots.
    pub(crate) fn repositories(&self) -> Vec<RepositoryName> {
        let names = self.earlier.expected.repositories.iter();
        let with_any = names.filter(|(_, snapshots)| !snapshots.ids.is_empty());
        with_any.filter_map(|(name, _)| name.parse().ok()).collect()
    }

    /// Looks at a repository.
    pub(crate) async fn of(
        &self,
        session: &Session,
        repository: &RepositoryName,
    ) -> Result<Compared, Box<dyn Error>> {
        let Some(snapshots) = self.earlier.expected.repositories.get(repository.as_str()) else {
            return Ok(Compared { expected: 0, missing: None });
        };
        let there = match listing::ids(session, repository, FileType::Snapshots).await {
            Err(StoreError::NotFound) => Vec::new(),
            there => there?,
        };
        let there: BTreeSet<_> = there.iter().map(ToString::to_string).collect();
        let mut gone = BTreeSet::new();
        for id in snapshots.ids.difference(&there) {
            gone.insert(Handle::File(FileType::Snapshots, id.parse()?));
        }
        let holders = session.store.holders(repository, &gone).await?;
        let mut missing = Vec::new();
        for handle in gone.iter().filter(|handle| holders.of(handle).is_empty()) {
            let id = handle.to_string().trim_start_matches("snapshots/").to_owned();
            // It may have been brought back meanwhile.
            let is_back = session.files.facts(repository, handle).await?.is_some();
            if !is_back && !self.audited.was_purged(repository.as_str(), &id) {
                missing.push(id);
            }
        }
        let of = snapshots.ids.len();
        let missing = Missing { repository: repository.to_string(), snapshots: missing, of };
        let since = self.earlier.expected.made();
        let missing = (!missing.snapshots.is_empty()).then(|| missing.told(since, NAMED_MAX));
        Ok(Compared { expected: of, missing })
    }
}
