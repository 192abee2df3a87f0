//! What was read or counted once: the snapshots, how large each tree is, whether it holds the canaries, and which snapshots
//! fell sharply.
//!
//! Invariant: it is safe to lose. Snapshots are read again, and sizes and canaries counted again; only a snapshot that fell, and before which
//! nothing is left to compare it with, would not be told any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pawl_config::files::{self, FileError};
use pawl_policy::RepositoryName;
use pawl_policy::retention::{DaysLeft, Group, Rules, Size};
use serde::{Deserialize, Serialize};

use super::listed::Listed;
use crate::state_file;

/// What is remembered of a repository.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// All snapshots when restic last listed them, in its order.
    #[serde(default)]
    pub(super) listed: Vec<Listed>,
    /// By the id of the tree, which says what it holds.
    #[serde(default)]
    trees: BTreeMap<String, Counted>,
    /// By `PATH=SHA256`: trees in which the file is as it should be, or is not.
    #[serde(default)]
    canaries: BTreeMap<String, BTreeMap<String, bool>>,
    /// Snapshots that fell sharply.
    #[serde(default)]
    pub(super) fell: BTreeSet<String>,
    /// What was left of each group by the last run that was allowed to judge it.
    #[serde(default)]
    left: Vec<Left>,
}

/// Of which days a run left backups of a group.
#[derive(Debug, Serialize, Deserialize)]
struct Left {
    host: Option<String>,
    paths: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    /// The rules by which that was done, to be compared with others only.
    rules: String,
    /// Days since 1970-01-01.
    days: BTreeSet<i64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Counted {
    files: u64,
    bytes: u64,
}

impl State {
    pub(super) fn load(data: &Path, repository: &RepositoryName) -> Result<Self, FileError> {
        state_file::load(&path(data, repository)).map(Option::unwrap_or_default)
    }

    pub(super) fn save(&self, data: &Path, repository: &RepositoryName) -> Result<(), FileError> {
        files::make_directory(&directory(data), 0o700)?;
        state_file::save(&path(data, repository), self)
    }

    /// What a tree holds, if that was counted.
    pub(super) fn size(&self, tree: &str) -> Option<Size> {
        self.trees.get(tree).map(|Counted { files, bytes }| Size { files: *files, bytes: *bytes })
    }

    pub(super) fn note_size(&mut self, tree: String, Size { files, bytes }: Size) {
        self.trees.insert(tree, Counted { files, bytes });
    }

    /// Whether a tree holds a canary, if that was looked up.
    pub(super) fn holds(&self, tree: &str, canary: &str) -> Option<bool> {
        self.canaries.get(canary)?.get(tree).copied()
    }

    pub(super) fn note_canary(&mut self, tree: String, canary: String, holds: bool) {
        self.canaries.entry(canary).or_default().insert(tree, holds);
    }

    /// What was left of each group that was last judged by these rules.
    pub(super) fn left_by(&self, rules: &Rules) -> DaysLeft {
        let rules = text(rules);
        let same = self.left.iter().filter(|left| left.rules == rules);
        same.map(|left| (left.group(), left.days.clone())).collect()
    }

    /// The groups that rules were allowed to judge.
    pub(super) fn judged(&self) -> BTreeSet<Group> {
        self.left.iter().map(Left::group).collect()
    }

    /// Notes what these rules left of groups. Of those that they were not allowed to judge, what was left before stays.
    pub(super) fn note_left(&mut self, rules: &Rules, all: &BTreeSet<&Group>, left: DaysLeft) {
        self.left.retain(|earlier| {
            let group = earlier.group();
            all.contains(&group) && !left.contains_key(&group)
        });
        let rules = text(rules);
        self.left.extend(left.into_iter().map(|(Group { host, paths, tags }, days)| Left {
            host,
            paths,
            tags,
            rules: rules.clone(),
            days,
        }));
    }

    /// Forgets what belongs to snapshots that are gone.
    pub(super) fn retain(&mut self, snapshots: &BTreeSet<String>, trees: &BTreeSet<&str>) {
        self.fell.retain(|id| snapshots.contains(id));
        self.trees.retain(|tree, _| trees.contains(tree.as_str()));
        for holding in self.canaries.values_mut() {
            holding.retain(|tree, _| trees.contains(tree.as_str()));
        }
        self.canaries.retain(|_, holding| !holding.is_empty());
    }
}

impl Left {
    fn group(&self) -> Group {
        Group { host: self.host.clone(), paths: self.paths.clone(), tags: self.tags.clone() }
    }
}

fn text(rules: &Rules) -> String {
    format!("{rules:?}")
}

fn directory(data: &Path) -> PathBuf {
    state_file::directory(data).join("forget")
}

fn path(data: &Path, repository: &RepositoryName) -> PathBuf {
    directory(data).join(state_file::file_name(repository))
}
