//! Pruning and bringing back, with the real client at the real servers.
//!
//! Invariant: what is asserted is what lies in the directory and what restic reads back, not exit codes alone.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod attacks;
mod commands;
mod crash;
mod day_after;
mod enroll;
mod forget;
mod purge;
mod retire;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{back_date, plant};

const DAY: Duration = Duration::from_hours(24);

/// A host with five backups that Pawl received day by day, the last one yesterday, and the state of its files at each.
struct Host {
    server: Server,
    credential: Credential,
    restic: Restic,
    /// Snapshots, oldest first.
    snapshots: Vec<String>,
    /// The files as they were at each.
    states: Vec<PathBuf>,
}

/// The oldest backup was received this many days ago.
const OLDEST: u32 = 12;

fn host_with_five_backups(version: Version) -> Host {
    let server = Server::start();
    let credential = clients::ready(&server, "web1");
    let restic = Restic::new(version, &credential);
    let files = restic.home().join("files");
    let mut states = Vec::new();
    let mut snapshots = Vec::new();
    for day in 0..5_u32 {
        plant(&files.join("changing"), &noise(&format!("day {day}"), 200_000));
        plant(&files.join(format!("of-day-{day}")), &noise(&format!("new on day {day}"), 100_000));
        restic.backup(&files);
        let state = restic.home().join(format!("state-{day}"));
        copy(&files, &state);
        states.push(state);
        let stored = new_snapshot(server.data(), &snapshots);
        back_date(&stored, DAY * (OLDEST - day));
        snapshots.push(stored.file_name().unwrap().to_str().unwrap().to_owned());
    }
    Host { server, credential, restic, snapshots, states }
}

/// The one snapshot that is not known yet. restic 0.14 reports the beginning of its name only.
fn new_snapshot(data: &Path, known: &[String]) -> PathBuf {
    let new = |path: &PathBuf| known.iter().all(|name| !path.ends_with(name));
    let new: Vec<_> = files_below(&data.join("web1/snapshots")).into_iter().filter(new).collect();
    assert_eq!(new.len(), 1);
    new[0].clone()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        plant(&to.join(path.file_name().unwrap()), &fs::read(&path).unwrap());
    }
}

impl Host {
    /// Every snapshot restores to the bytes that were backed up, and the whole repository reads back.
    fn assert_all_restore(&self) {
        assert_eq!(self.restic.snapshots(), self.snapshots);
        self.restic.check();
        for (snapshot, state) in self.snapshots.iter().zip(&self.states) {
            self.assert_restores(snapshot, state);
        }
    }

    fn assert_restores(&self, snapshot: &str, state: &Path) {
        let target = tempfile::tempdir_in(self.restic.home()).unwrap();
        self.restic.succeed(["restore", snapshot, "--target", target.path().to_str().unwrap()]);
        let files = self.restic.home().join("files");
        let restored = target.path().join(files.strip_prefix("/").unwrap());
        let names = |path: &Path| -> BTreeSet<_> {
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names(state), names(&restored));
        for name in names(state) {
            assert!(
                fs::read(state.join(&name)).unwrap() == fs::read(restored.join(&name)).unwrap(),
                "{} of {snapshot} is restored with other bytes",
                name.display()
            );
        }
    }

    /// Names of all files of restic's in the repository, locks apart, relative to the data directory.
    fn visible(&self) -> BTreeSet<PathBuf> {
        files_below(&self.server.data().join("web1"))
            .into_iter()
            .filter(|path| !path.iter().any(|part| part == "locks"))
            .collect()
    }
}

/// Every file below a directory.
fn files_below(directory: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(directory) = ahead.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                ahead.push(path);
            } else {
                files.insert(path);
            }
        }
    }
    files
}
