//! Which files were opened and found good, so that every run looks at new ones only.
//!
//! Invariant: it is safe to lose. Then all are opened again, as they are when the rules have changed by which they were good.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pawl_config::files::{self, FileError};
use pawl_policy::{Handle, RepositoryName};
use serde::{Deserialize, Serialize};

use crate::state_file;

/// The rules by which files are found good. Another number whenever one becomes stricter: what older rules called good need
/// not be.
const RULES: u32 = 1;

/// Time between two writings while it grows, at least, and by how much more than the writing itself takes.
const WRITE_EVERY: Duration = Duration::from_secs(1);
const WRITING_TIMES: u32 = 50;

/// What is remembered of a repository.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// By which rules; none are written where they had no number yet.
    #[serde(default)]
    rules: u32,
    /// Whether everything that was there was looked at once: the first look is over.
    #[serde(default)]
    whole: bool,
    /// Whether indexes named packs that were lost.
    #[serde(default)]
    lost: bool,
    /// Indexes, snapshots and keys by `TYPE/ID`.
    #[serde(default)]
    good: BTreeSet<String>,
    /// Indexes that were lost and that nothing lacks any more, by `TYPE/ID`: the audit log tells of them for ever.
    #[serde(default)]
    settled: BTreeSet<String>,
    /// The key that the password of management opens: it is tried first.
    #[serde(default)]
    pub(super) key: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            rules: RULES,
            whole: false,
            lost: false,
            good: BTreeSet::new(),
            settled: BTreeSet::new(),
            key: None,
        }
    }
}

impl State {
    pub(super) fn load(data: &Path, repository: &RepositoryName) -> Result<Self, FileError> {
        state_file::load(&path(data, repository)).map(by_these_rules)
    }

    /// What is remembered; that it cannot be understood is an error.
    pub(crate) fn understand(data: &Path, repository: &RepositoryName) -> Result<Self, FileError> {
        state_file::understand(&path(data, repository)).map(by_these_rules)
    }

    fn save(&self, data: &Path, repository: &RepositoryName) -> Result<(), FileError> {
        files::make_directory(&directory(data), 0o700)?;
        state_file::save(&path(data, repository), self)
    }

    /// Whether the first look is not over.
    pub(crate) fn is_new(&self) -> bool {
        !self.whole
    }

    /// Whether the loss of this index was made good.
    pub(super) fn is_settled(&self, index: &Handle) -> bool {
        self.settled.contains(&index.to_string())
    }

    /// Whether packs were lost when everything was last looked at.
    pub(super) fn has_lost(&self) -> bool {
        self.lost
    }

    /// Whether it is known which keys there were.
    pub(super) fn knows_keys(&self) -> bool {
        self.good.iter().any(|file| is_key(file))
    }

    pub(crate) fn is_good(&self, handle: &Handle) -> bool {
        self.good.contains(&handle.to_string())
    }

    /// These are good, and nothing else that was is there any more.
    fn replace(&mut self, good: impl IntoIterator<Item = Handle>, lost: bool) {
        self.lost = lost;
        self.good = good.into_iter().map(|handle| handle.to_string()).collect();
        self.whole = true;
    }
}

/// A state that is written as it grows, and when the work ends early, so that the next run goes on from there. What is in it
/// was examined, whenever it is written.
#[derive(Debug)]
pub(super) struct Growing<'a> {
    data: &'a Path,
    repository: &'a RepositoryName,
    state: State,
    is_written: bool,
    /// When it may be written again.
    due: Instant,
}

impl<'a> Growing<'a> {
    pub(super) fn load(data: &'a Path, repository: &'a RepositoryName) -> Result<Self, FileError> {
        let state = State::load(data, repository)?;
        Ok(Self { data, repository, state, is_written: true, due: Instant::now() })
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// Nothing lacks these indexes any more.
    pub(super) fn settle(&mut self, indexes: impl IntoIterator<Item = Handle>) {
        self.state.settled.extend(indexes.into_iter().map(|index| index.to_string()));
    }

    pub(super) fn set_key(&mut self, id: String) {
        self.state.key = Some(id);
    }

    /// These are good as well. That this cannot be written is only warned of: what was found bad is still to be hidden.
    pub(super) fn add(&mut self, good: impl IntoIterator<Item = Handle>) {
        let before = self.state.good.len();
        self.state.good.extend(good.into_iter().map(|handle| handle.to_string()));
        self.is_written &= self.state.good.len() == before;
        if !self.is_written && Instant::now() >= self.due {
            self.try_to_write();
        }
    }

    /// Everything was looked at. These are good, and nothing else that was is there any more.
    pub(super) fn finish(
        mut self,
        good: impl IntoIterator<Item = Handle>,
        lost: bool,
    ) -> Result<(), FileError> {
        self.state.replace(good, lost);
        self.write()
    }

    fn try_to_write(&mut self) {
        if let Err(error) = self.write() {
            tracing::warn!(%error, "what was examined will be examined again");
        }
    }

    fn write(&mut self) -> Result<(), FileError> {
        let began = Instant::now();
        let saved = self.state.save(self.data, self.repository);
        self.is_written = true; // what could not be written now is written with the next, and not tried again at the end
        let now = Instant::now();
        self.due = now + WRITE_EVERY.max(now.duration_since(began).saturating_mul(WRITING_TIMES));
        saved
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        if !self.is_written {
            self.try_to_write();
        }
    }
}

/// What counts of what was remembered. Of other rules, which keys there were: that one is new is told whatever the rules.
fn by_these_rules(remembered: Option<State>) -> State {
    let Some(state) = remembered else { return State::default() };
    if state.rules == RULES {
        return state;
    }
    let keys = state.good.into_iter().filter(|file| is_key(file));
    State { good: keys.collect(), key: state.key, ..State::default() }
}

fn is_key(file: &str) -> bool {
    file.starts_with("keys/")
}

fn directory(data: &Path) -> PathBuf {
    state_file::directory(data).join("examined")
}

fn path(data: &Path, repository: &RepositoryName) -> PathBuf {
    directory(data).join(state_file::file_name(repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_rules_called_good_counts_for_nothing() {
        let data = tempfile::tempdir().unwrap();
        let repository: RepositoryName = "web1".parse().unwrap();
        let handle: Handle = format!("snapshots/{}", "5f".repeat(32)).parse().unwrap();
        let key: Handle = format!("keys/{}", "5f".repeat(32)).parse().unwrap();
        let growing = Growing::load(data.path(), &repository).unwrap();
        assert!(growing.state().is_new() && !growing.state().is_good(&handle));
        growing.finish([handle, key], false).unwrap();
        let state = State::load(data.path(), &repository).unwrap();
        assert!(state.is_good(&handle) && !state.is_new());

        let path = path(data.path(), &repository);
        let written = std::fs::read_to_string(&path).unwrap();
        let rules = format!("\"rules\": {RULES},");
        assert!(written.contains(&rules), "{written}");
        let other = written.replace(&rules, &format!("\"rules\": {},", RULES + 1));
        for other in [other, written.replace(&rules, "")] {
            files::replace(&path, &other, 0o640).unwrap();
            let loaded = State::load(data.path(), &repository).unwrap();
            let told = State::understand(data.path(), &repository).unwrap();
            assert!(
                [&loaded, &told].iter().all(|state| state.is_new() && !state.is_good(&handle)),
                "{other}"
            );
            assert!(loaded.knows_keys() && loaded.is_good(&key), "that a key is new is told all the same");
        }
    }

    #[test]
    fn what_grew_is_kept_when_the_work_ends_early_and_the_first_look_is_not_over() {
        let data = tempfile::tempdir().unwrap();
        let repository: RepositoryName = "web1".parse().unwrap();
        let handle = |digit: &str| -> Handle { format!("index/{}", digit.repeat(64)).parse().unwrap() };
        let mut growing = Growing::load(data.path(), &repository).unwrap();
        growing.add([handle("1")]);
        let loaded = || State::load(data.path(), &repository).unwrap();
        assert!(loaded().is_good(&handle("1")), "the first is written at once");
        growing.due = Instant::now() + Duration::from_hours(1);
        growing.add([handle("2")]);
        assert!(!loaded().is_good(&handle("2")), "the next one soon, and not yet");
        drop(growing);
        assert!(["1", "2"].iter().all(|digit| loaded().is_good(&handle(digit))) && loaded().is_new());

        let mut growing = Growing::load(data.path(), &repository).unwrap();
        growing.add([handle("3")]);
        growing.finish([handle("2")], false).unwrap();
        assert!(loaded().is_good(&handle("2")) && !loaded().is_good(&handle("3")) && !loaded().is_new());
    }
}
