//! How long ago each repository was verified as a whole.
//!
//! Invariant: what was never read counts as such, however often other parts were.

use std::error::Error;

use pawl_config::Config;
use pawl_policy::{Handle, RepositoryName};
use pawl_store::maintenance::{MaintenanceStore, Place};

use super::state::{State, States};
use crate::state_file;
use crate::stores;

/// How far the verification of a repository has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Covered {
    /// Which.
    pub repository: RepositoryName,
    /// When the part was read that was read longest ago, in Unix milliseconds; `None` if there is one that never was.
    pub oldest_ms: Option<u64>,
    /// When each of its 256 parts was last read.
    pub(crate) parts: Vec<Option<u64>>,
    since_ms: Option<u64>,
}

impl Covered {
    /// Whether a byte may not have been read for longer than this. A repository that is new has that long.
    #[must_use]
    pub(crate) fn is_late(&self, now_ms: u64, within_ms: u64) -> bool {
        let began_ms = self.oldest_ms.or(self.since_ms);
        began_ms.is_none_or(|began_ms| now_ms.saturating_sub(began_ms) > within_ms)
    }

    /// `began_ms` is when its first file was received, as far as is known: nobody can have verified it before.
    pub(crate) fn of(repository: RepositoryName, state: &State, began_ms: Option<u64>) -> Self {
        let parts: Vec<_> = (0..=u8::MAX).map(|first| state.read_ms(first)).collect();
        let oldest_ms = parts.iter().copied().min().flatten();
        Self { repository, oldest_ms, parts, since_ms: state.since_ms().or(began_ms) }
    }
}

/// Looks at every repository of the directory; with a bucket, at those that were verified from this machine.
pub(crate) fn coverage(config: &Config) -> Result<Vec<Covered>, Box<dyn Error>> {
    let states = States::at(&state_file::of_verification(&config.data));
    if config.s3.is_some() {
        let known = states.known()?.into_iter();
        let covered = known.map(|name| Ok(Covered::of(name.clone(), &states.load(&name)?, None)));
        return covered.collect();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let store = stores::open_for_reading(config).await?;
        let mut covered = Vec::new();
        for name in store.repositories().await? {
            // Of one that cannot be read nobody knows how old it is.
            let versions = store.versions(&name, &Handle::Config).await.unwrap_or_default();
            let config = versions.iter().find(|version| version.place == Place::Current);
            let began_ms = config.map(|config| config.facts.received_ms);
            covered.push(Covered::of(name.clone(), &states.load(&name)?, began_ms));
        }
        Ok(covered)
    })
}
