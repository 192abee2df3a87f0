//! What is to be done for each file: nothing, or which copy is the right one.
//!
//! Invariant: a copy is chosen only if it was read and hashes to the file's name; of `config`, to what was noted or
//! recorded of it. Nothing is changed here.

use indicatif::ProgressBar;
use pawl_config::pace::Pace;
use pawl_policy::{Audience, FileId, FileType, Handle, RepositoryName};
use pawl_store::maintenance::{Batch, Holders, MaintenanceStore, Place, Reason, Version};
use pawl_store::{Facts, StoreError, now_ms};

use super::source::Source;
use crate::{config, content};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The visible copy is right.
    Right,
    /// This copy of the same store is right.
    PutBack(Place),
    /// The other store has a right copy. It gets these facts.
    PutIn {
        /// Where it is there.
        place: Place,
        /// What is known of the file here.
        facts: Facts,
    },
    /// No right copy was found.
    NoGoodCopy,
}

/// One file and what is to be done for it.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) handle: Handle,
    pub(super) step: Step,
    /// Whether a copy is visible that is not right, and has to go first.
    pub(super) wrong_one_there: bool,
    /// Whether a copy that is not right was moved away already.
    pub(super) displaced: bool,
    /// Whether the store cannot tell that the visible copy is wrong: it is a `config` of which something else was
    /// recorded, or nothing.
    pub(super) unrecorded: bool,
    /// What the content has to hash to.
    pub(super) expected: Option<FileId>,
}

/// Finds right copies.
#[derive(Debug)]
pub(super) struct Planner<'a, S> {
    pub(super) store: &'a S,
    pub(super) source: Option<&'a Source>,
    pub(super) repository: &'a RepositoryName,
    pub(super) batches: &'a [Batch],
    /// Which of them hold the files that are looked at.
    pub(super) holders: &'a Holders,
    /// The same in the other store.
    pub(super) holders_there: &'a Holders,
    /// What an earlier verification found the `config` to be.
    pub(super) noted_config: Option<FileId>,
    pub(super) pace: &'a Pace,
}

impl<S: MaintenanceStore> Planner<'_, S> {
    /// What is to be done for a file.
    pub(super) async fn task(&self, handle: Handle) -> Result<Task, StoreError> {
        let mut versions = self.store.versions_among(self.repository, &handle, self.holders).await?;
        versions.sort_by_key(|version| self.rank(version));
        let expected = match &handle {
            Handle::File(_, id) => Some(*id),
            Handle::Config => config::expected(&versions, self.batches, self.noted_config),
        };
        let displaced = versions.iter().any(|version| self.was_displaced(&version.place));
        let is_unrecorded =
            |version: &Version| version.place == Place::Current && version.recorded != expected;
        let unrecorded = handle == Handle::Config && versions.iter().any(is_unrecorded);
        let task =
            |step, wrong_one_there| Task { handle, step, wrong_one_there, displaced, unrecorded, expected };
        let right = async |version: &Version| {
            is(self.store, self.repository, &handle, &version.place, expected, self.pace).await
        };
        let wrong_one_there = match versions.iter().find(|version| version.place == Place::Current) {
            Some(current) if right(current).await? => {
                // Other versions of a config could count one day, unless this one is said to be it.
                let is_alone = versions.iter().all(|version| !matches!(version.place, Place::Noncurrent(_)));
                let is_settled = handle != Handle::Config || is_alone;
                let step = if is_settled { Step::Right } else { Step::PutBack(Place::Current) };
                return Ok(task(step, false));
            }
            Some(_) => true,
            None => false,
        };
        for version in versions.iter().filter(|version| version.place != Place::Current) {
            if right(version).await? {
                return Ok(task(Step::PutBack(version.place.clone()), wrong_one_there));
            }
        }
        let elsewhere = self.elsewhere(&handle, &versions, expected).await?;
        Ok(task(elsewhere.unwrap_or(Step::NoGoodCopy), wrong_one_there))
    }

    /// In which order copies are tried: the visible one, good bytes that a host sent again, then newer before older.
    fn rank(&self, version: &Version) -> (u8, usize) {
        match &version.place {
            Place::Current => (0, 0),
            Place::Rescued => (1, 0),
            Place::Hidden(id) => {
                let newer = self.batches.iter().rev().position(|batch| batch.id == *id);
                (2, newer.unwrap_or(usize::MAX))
            }
            Place::Noncurrent(_) => (3, 0),
            Place::Aside(_) => (4, 0),
        }
    }

    /// Whether a copy is in a batch of damaged files.
    fn was_displaced(&self, place: &Place) -> bool {
        matches!(place, Place::Hidden(id)
            if self.batches.iter().any(|batch| batch.id == *id && batch.reason == Reason::Damaged))
    }

    /// A right copy in the other store.
    async fn elsewhere(
        &self,
        handle: &Handle,
        here: &[Version],
        expected: Option<FileId>,
    ) -> Result<Option<Step>, StoreError> {
        let Some(source) = self.source else { return Ok(None) };
        let there = source.repository(self.repository);
        for version in source.store.versions_among(&there, handle, self.holders_there).await? {
            if is(&source.store, &there, handle, &version.place, expected, self.pace).await? {
                let facts = facts(handle, here.first(), &version);
                return Ok(Some(Step::PutIn { place: version.place, facts }));
            }
        }
        Ok(None)
    }
}

/// The facts of a file that comes from elsewhere: those that the wrong copy has, for they are not in its content.
/// Of a key of which none are left nobody knows whether hosts may see it, so that they do not.
fn facts(handle: &Handle, here: Option<&Version>, there: &Version) -> Facts {
    match here {
        Some(version) => version.facts.clone(),
        None if handle.file_type() == Some(FileType::Keys) => {
            Facts { audience: Audience::Maintenance, ..there.facts.clone() }
        }
        None => Facts { received_ms: there.facts.received_ms.min(now_ms()), ..there.facts.clone() },
    }
}

/// Whether a copy is there, can be read and hashes to this. What nothing is known of is never right.
async fn is<S: MaintenanceStore>(
    store: &S,
    repository: &RepositoryName,
    handle: &Handle,
    at: &Place,
    expected: Option<FileId>,
    pace: &Pace,
) -> Result<bool, StoreError> {
    let file = match store.open_version(repository, handle, at).await {
        Ok(file) => file,
        Err(StoreError::NotFound) => return Ok(false),
        Err(error) => return Err(error),
    };
    // A copy that cannot be read is not right, and another may be.
    let found = content::sha256(file, pace, &ProgressBar::hidden()).await;
    Ok(found.is_ok_and(|found| Some(found) == expected))
}
