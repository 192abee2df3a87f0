//! Plain restic with a directory, `restic forget --prune` every night, and what that needs on the disk.
//!
//! Invariant: what was removed counts as long as Pawl would keep it back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use pawl_tests::clients::{Backup, Restic, Version};
use pawl_tests::program::Run;
use pawl_tests::shared::copy;
use serde_json::Value;
use tempfile::TempDir;

use super::{DAY, RULES};

/// What is deleted becomes final after 14 days, and a night begins a little earlier than what it follows ended.
const NIGHTS_KEPT_BACK: usize = 15;

/// No snapshot that was received after that is deleted.
const FLOOR: u64 = 7 * DAY;

/// A repository of plain restic.
pub(super) struct Plain {
    restic: Restic,
    directory: PathBuf,
    _dir: TempDir,
    /// The numbers of its backups and when they were made, in Unix seconds, by the ids of their snapshots.
    backups: BTreeMap<String, (u64, u64)>,
    /// What lay there before and after each of the last nights, by name, with sizes.
    nights: VecDeque<[BTreeMap<PathBuf, u64>; 2]>,
}

impl Plain {
    /// One that has the keys and the config of this one, in which nothing is stored yet.
    pub(super) fn beginning_as(repository: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("plain");
        copy(repository, &directory);
        let restic = Restic::at(Version::V0_19, directory.to_str().unwrap())
            .variable("TZ", "UTC")
            .option("--no-cache");
        Self { restic, directory, _dir: dir, backups: BTreeMap::new(), nights: VecDeque::new() }
    }

    pub(super) fn start(&self, args: &[&str]) -> Run {
        self.restic.start(args)
    }

    /// A backup that was started ends.
    pub(super) fn note(&mut self, backup: Run, number: u64, time: u64) {
        let snapshot = Backup::reported(&backup.end().expect_code(0).stdout).snapshot;
        self.backups.insert(snapshot, (number, time));
    }

    /// Forgets and prunes. Pawl deletes no snapshot of the last 7 days, and neither does this. restic's own `--keep-within`
    /// goes by the machine's clock.
    pub(super) fn night(&mut self, time: u64) {
        let before = files(&self.directory);
        if !self.backups.is_empty() {
            let rules = ["forget", "--dry-run", "--json"].iter().chain(&RULES);
            let groups: Value = serde_json::from_str(&self.restic.succeed(rules)).unwrap();
            let removed = groups.as_array().unwrap().iter().filter_map(|group| group["remove"].as_array());
            let ids = removed.flatten().map(|snapshot| snapshot["id"].as_str().unwrap());
            let old: Vec<_> = ids.filter(|id| self.backups[*id].1 + FLOOR <= time).collect();
            if !old.is_empty() {
                self.restic.succeed(["forget", "--prune", "--quiet"].into_iter().chain(old));
            }
        }
        self.nights.push_back([before, files(&self.directory)]);
        if self.nights.len() > NIGHTS_KEPT_BACK + 1 {
            self.nights.pop_front();
        }
    }

    /// Whether there is anything to compare with: a first backup that takes days has stored much before it ends.
    pub(super) fn has_backups(&self) -> bool {
        !self.backups.is_empty()
    }

    /// What it needs, and would need if it kept back what it removes.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let all: BTreeMap<_, _> = self.nights.iter().flatten().flatten().collect();
        (self.nights.back().map_or(0, |[_, after]| after.values().sum()), all.into_values().sum())
    }

    /// The numbers of the backups that the rules keep.
    pub(super) fn kept(&self) -> BTreeSet<u64> {
        let listed: Value = serde_json::from_str(&self.restic.succeed(["snapshots", "--json"])).unwrap();
        let ids = listed.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap());
        ids.map(|id| self.backups[id].0).collect()
    }
}

/// All files below a directory, with their sizes.
pub(super) fn files(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let (mut found, mut ahead) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                ahead.push(entry.path());
            } else {
                found.insert(entry.path(), meta.len());
            }
        }
    }
    found
}
