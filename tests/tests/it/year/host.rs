//! A host: what it has on a day, what it stored, and what came of its nights.
//!
//! Invariant: what it has follows from its name and from the number of its last backup.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pawl_tests::clients::{self, Backup, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::server::Server;
use pawl_tests::store::{plant, set_fact};

use super::Backups;
use super::ground::text;
use super::plain::{Plain, files};
use super::table::Tally;

/// A host has so many files, of which it changes one between two backups: ten packs of restic's. One of a single pack says
/// more about when a prune happened to write that anew.
const FILES: u64 = 160;
const FILE_BYTES: usize = 1 << 20;
/// What its files have in all.
pub(super) const BYTES: u64 = FILES * FILE_BYTES as u64;
/// What a large first backup has beside these.
pub(super) const PART_BYTES: usize = 2 << 20;

/// A host.
pub(super) struct Host {
    pub(super) name: &'static str,
    /// How many backups it makes on a day.
    pub(super) backups: Backups,
    pub(super) restic: Restic,
    /// A repository of plain restic with the host's history.
    pub(super) plain: Plain,
    /// The number of its last backup.
    number: u64,
    /// How many parts it has beside its files, which never change.
    parts: u64,
    /// The numbers of its backups, by the ids of their snapshots.
    pub(super) stored: BTreeMap<String, u64>,
    pub(super) tally: Tally,
    /// Files of which it was written down when they were received.
    received: BTreeSet<PathBuf>,
}

impl Host {
    pub(super) fn new(server: &Server, name: &'static str, backups: Backups) -> Self {
        let restic = Restic::new(Version::V0_19, &clients::ready(server, name)).variable("TZ", "UTC");
        let plain = Plain::beginning_as(&server.data().join(name));
        let host = Self {
            name,
            backups,
            restic,
            plain,
            number: 0,
            parts: 0,
            stored: BTreeMap::new(),
            tally: Tally::default(),
            received: BTreeSet::new(),
        };
        host.write(&(0..FILES).collect::<Vec<_>>(), 0);
        host
    }

    pub(super) fn files(&self) -> PathBuf {
        self.restic.home().join("files")
    }

    /// Where a part lies.
    pub(super) fn part(&self, part: u64) -> PathBuf {
        self.files().join(format!("part-{part}"))
    }

    fn content_of_part(&self, part: u64) -> Vec<u8> {
        noise(&format!("{} part {part}", self.name), PART_BYTES)
    }

    pub(super) fn write_parts(&mut self, parts: u64) {
        self.parts = parts;
        for part in 0..parts {
            plant(&self.part(part), &self.content_of_part(part));
        }
    }

    /// The options with which it backs up.
    fn backup_at<'a>(time: &'a str, files: &'a str) -> [&'a str; 6] {
        ["backup", "--json", "--no-scan", "--time", time, files]
    }

    /// Its first backup is this one, made at this time by another hand.
    pub(super) fn note_first(&mut self, snapshot: String, time: u64) {
        let (files, claimed) = (self.files(), text(time));
        self.stored.insert(snapshot, self.number);
        let plain = self.plain.start(&Self::backup_at(&claimed, files.to_str().unwrap()));
        self.plain.note(plain, self.number, time);
    }

    /// What a file holds at the backup of this number.
    fn content(&self, file: u64, number: u64) -> Vec<u8> {
        let since_changed = (number + FILES - file) % FILES;
        let changed = number.saturating_sub(since_changed);
        noise(&format!("{} {file} {changed}", self.name), FILE_BYTES)
    }

    fn write(&self, files: &[u64], number: u64) {
        for file in files {
            plant(&self.files().join(format!("file-{file}")), &self.content(*file, number));
        }
    }

    /// Changes a file, and backs all up, in both repositories, with a clock that shows this time. A host whose repository
    /// has no room for it is told of in the tally, and goes on the next time.
    pub(super) fn back_up(&mut self, time: u64, may_be_refused: bool) {
        self.number += 1;
        self.write(&[self.number % FILES], self.number);
        let files = self.files();
        let claimed = text(time);
        let args = Self::backup_at(&claimed, files.to_str().unwrap());
        let plain = (!may_be_refused).then(|| self.plain.start(&args));
        let Some(printed) = self.tally.backup(self.restic.start(args)) else {
            assert!(may_be_refused, "{}: a backup was refused", self.name);
            self.number -= 1; // plain restic has the same history, without this one
            return;
        };
        self.stored.insert(Backup::reported(&printed).snapshot, self.number);
        let plain = plain.unwrap_or_else(|| self.plain.start(&args));
        self.plain.note(plain, self.number, time);
    }

    /// What it stored since the last time was received at this time.
    pub(super) fn note_received(&mut self, data: &Path, time: u64) {
        let there: BTreeSet<_> = files(data).into_keys().collect();
        for file in there.difference(&self.received) {
            set_fact(file, "received", &(time * 1000).to_string());
        }
        self.received = there;
    }

    /// Restores the snapshot, and compares every byte with what there was.
    pub(super) fn assert_restores(&self, snapshot: &str) {
        let number = self.stored[snapshot];
        let target = tempfile::tempdir().unwrap();
        let (from, to) = (format!("{snapshot}:{}", self.files().display()), target.path().to_str().unwrap());
        self.restic.succeed(["restore", &from, "--target", to, "--no-lock"]);
        for file in 0..FILES {
            let restored = std::fs::read(target.path().join(format!("file-{file}"))).unwrap();
            assert!(restored == self.content(file, number), "{}: file-{file} of {snapshot}", self.name);
        }
        for part in 0..self.parts {
            let restored = std::fs::read(target.path().join(format!("part-{part}"))).unwrap();
            assert!(restored == self.content_of_part(part), "{}: part-{part} of {snapshot}", self.name);
        }
        assert_eq!(std::fs::read_dir(target.path()).unwrap().count() as u64, FILES + self.parts);
    }

    /// How much of what plain restic would need with the same delay it needs.
    pub(super) fn percent(&self) -> u64 {
        self.tally.disk * 100 / self.plain.bytes().1
    }

    /// The line about it in the table.
    pub(super) fn row(&self, snapshots: usize) -> [String; 11] {
        let Tally { well, notices, failed, requests, refused, disk, worst, .. } = &self.tally;
        let (plain, delayed) = self.plain.bytes();
        [
            self.name.to_owned(),
            well.to_string(),
            notices.to_string(),
            failed.to_string(),
            requests.to_string(),
            refused.to_string(),
            snapshots.to_string(),
            format!("{} KiB", disk / 1024),
            format!("{} KiB", plain / 1024),
            format!("{} KiB", delayed / 1024),
            format!("{} % ({worst} %)", self.percent()),
        ]
    }
}
