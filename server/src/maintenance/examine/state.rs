//! Which files were opened and found good, so that every run looks at new ones only.
//!
//! Invariant: it is safe to lose. Then all are opened again, as they are when the rules have changed by which they were good.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pawl_policy::{Handle, RepositoryName};
use serde::{Deserialize, Serialize};

use super::super::{remembered, session};
use crate::files::{self, FileError};

/// The rules by which files are found good. Another number whenever one becomes stricter: what older rules called good need
/// not be.
const RULES: u32 = 1;

/// What is remembered of a repository.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::maintenance) struct State {
    /// By which rules; none are written where they had no number yet.
    #[serde(default)]
    rules: u32,
    /// Indexes, snapshots and keys by `TYPE/ID`.
    #[serde(default)]
    good: BTreeSet<String>,
    /// The key that the password of management opens: it is tried first.
    #[serde(default)]
    pub(super) key: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self { rules: RULES, good: BTreeSet::new(), key: None }
    }
}

impl State {
    pub(super) fn load(data: &Path, repository: &RepositoryName) -> Result<Self, FileError> {
        remembered::load(&path(data, repository)).map(by_these_rules)
    }

    /// What is remembered; that it cannot be understood is an error.
    pub(in crate::maintenance) fn understand(
        data: &Path,
        repository: &RepositoryName,
    ) -> Result<Self, FileError> {
        remembered::understand(&path(data, repository)).map(by_these_rules)
    }

    pub(super) fn save(&self, data: &Path, repository: &RepositoryName) -> Result<(), FileError> {
        files::make_directory(&directory(data), 0o700)?;
        remembered::save(&path(data, repository), self)
    }

    /// Whether nothing was ever found good.
    pub(in crate::maintenance) fn is_new(&self) -> bool {
        self.good.is_empty()
    }

    pub(in crate::maintenance) fn is_good(&self, handle: &Handle) -> bool {
        self.good.contains(&handle.to_string())
    }

    /// These are good, and nothing else that was is there any more.
    pub(super) fn replace(&mut self, good: impl Iterator<Item = Handle>) {
        self.good = good.map(|handle| handle.to_string()).collect();
    }
}

/// What counts of what was remembered.
fn by_these_rules(remembered: Option<State>) -> State {
    remembered.filter(|state| state.rules == RULES).unwrap_or_default()
}

fn directory(data: &Path) -> PathBuf {
    session::directory(data).join("examined")
}

fn path(data: &Path, repository: &RepositoryName) -> PathBuf {
    directory(data).join(remembered::file_name(repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_rules_called_good_counts_for_nothing() {
        let data = tempfile::tempdir().unwrap();
        let repository: RepositoryName = "web1".parse().unwrap();
        let handle: Handle = format!("snapshots/{}", "5f".repeat(32)).parse().unwrap();
        let mut state = State::load(data.path(), &repository).unwrap();
        assert!(state.is_new() && !state.is_good(&handle));
        state.replace(std::iter::once(handle));
        state.save(data.path(), &repository).unwrap();
        assert!(State::load(data.path(), &repository).unwrap().is_good(&handle));

        let path = path(data.path(), &repository);
        let written = std::fs::read_to_string(&path).unwrap();
        let rules = format!("\"rules\": {RULES},");
        assert!(written.contains(&rules), "{written}");
        let other = written.replace(&rules, &format!("\"rules\": {},", RULES + 1));
        for other in [other, written.replace(&rules, "")] {
            std::fs::write(&path, &other).unwrap();
            let loaded = State::load(data.path(), &repository).unwrap();
            let told = State::understand(data.path(), &repository).unwrap();
            assert!([loaded, told].iter().all(|state| state.is_new() && !state.is_good(&handle)), "{other}");
        }
    }
}
