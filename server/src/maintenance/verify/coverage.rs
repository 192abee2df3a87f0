//! How long ago each repository was verified as a whole.
//!
//! Invariant: what was never read counts as such, however often other parts were.

use std::error::Error;

use pawl_policy::RepositoryName;

use super::state::{State, States};
use crate::config::Config;
use crate::maintenance::stores;
use crate::store::maintenance::MaintenanceStore;

/// How far the verification of a repository has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// Which.
    pub repository: RepositoryName,
    /// When the part was read that was read longest ago, in Unix milliseconds; `None` if there is one that never was.
    pub oldest_ms: Option<u64>,
    /// When each of its 256 parts was last read.
    pub(in crate::maintenance) parts: Vec<Option<u64>>,
    since_ms: Option<u64>,
}

impl Covered {
    /// Whether a byte may not have been read for longer than this. A repository that is new has that long.
    #[must_use]
    pub fn is_late(&self, now_ms: u64, within_ms: u64) -> bool {
        let began_ms = self.oldest_ms.or(self.since_ms);
        began_ms.is_none_or(|began_ms| now_ms.saturating_sub(began_ms) > within_ms)
    }

    pub(in crate::maintenance) fn of(repository: RepositoryName, state: &State) -> Self {
        let parts: Vec<_> = (0..=u8::MAX).map(|first| state.read_ms(first)).collect();
        let oldest_ms = parts.iter().copied().min().flatten();
        Self { repository, oldest_ms, parts, since_ms: state.since_ms() }
    }
}

/// Looks at every repository of the directory; with a bucket, at those that were verified from this machine.
pub fn coverage(config: &Config) -> Result<Vec<Covered>, Box<dyn Error>> {
    let states = States::at(&super::directory(&config.data));
    let repositories = if config.s3.is_some() {
        states.known()?.into_iter().collect()
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let store = runtime.block_on(stores::open_for_reading(config))?;
        runtime.block_on(store.repositories())?
    };
    let covered = repositories.into_iter().map(|repository| {
        let state = states.load(&repository)?;
        Ok(Covered::of(repository, &state))
    });
    covered.collect()
}
