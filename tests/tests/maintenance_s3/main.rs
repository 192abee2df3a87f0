//! Pruning, bringing back and repairing in a bucket, with the real client and the real commands.
//!
//! Invariant: what is asserted is what lies in the bucket and what restic reads back, not exit codes alone.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod cut;
mod forget;
mod thief;

use std::fs;
use std::path::{Path, PathBuf};

use pawl_tests::bucket::{Bucket, Kind};
use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::Finished;
use pawl_tests::content::noise;
use pawl_tests::maintenance::{Maintenance, maintain};
use pawl_tests::s3::S3;
use pawl_tests::server::Server;
use pawl_tests::store::plant;

const VERSION: Version = Version::V0_19;

/// A host with five backups in a bucket.
struct Host {
    server: Server,
    bucket: Bucket,
    restic: Restic,
    /// Snapshots, oldest first.
    snapshots: Vec<String>,
    /// The files as they were at each.
    states: Vec<PathBuf>,
    _secret: tempfile::TempDir,
}

/// Received times cannot be set back in a bucket, so that the floor is off.
fn host_with_five_backups(s3: &S3) -> Host {
    let bucket = s3.bucket("pawl", Kind::Versioned);
    let secret = tempfile::tempdir().unwrap();
    let file = secret.path().join("credentials");
    let access = bucket.access();
    let text =
        format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", access.key, access.secret);
    plant(&file, text.as_bytes());
    let table = format!("[maintenance]\nfloor_days = 0\ncredentials_file = \"{}\"", file.display());
    let server = Server::build().bucket(&bucket).config(&table).start();
    let restic = Restic::new(VERSION, &clients::ready(&server, "web1"));
    let files = restic.home().join("files");
    let (mut states, mut snapshots) = (Vec::new(), Vec::new());
    for day in 0..5_u32 {
        plant(&files.join("changing"), &noise(&format!("day {day}"), 200_000));
        plant(&files.join(format!("of-day-{day}")), &noise(&format!("new on day {day}"), 100_000));
        snapshots.push(restic.report_of_backup(&files, &[]).snapshot);
        let state = restic.home().join(format!("state-{day}"));
        for entry in fs::read_dir(&files).unwrap() {
            let path = entry.unwrap().path();
            plant(&state.join(path.file_name().unwrap()), &fs::read(&path).unwrap());
        }
        states.push(state);
    }
    Host { server, bucket, restic, snapshots, states, _secret: secret }
}

impl Host {
    /// Every snapshot restores to the bytes that were backed up, and the whole repository reads back.
    fn assert_all_restore(&self) {
        let (mut found, mut expected) = (self.restic.snapshots(), self.snapshots.clone());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
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
        for entry in fs::read_dir(state).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            assert!(fs::read(&path).unwrap() == fs::read(restored.join(name)).unwrap(), "{}", path.display());
        }
    }

    /// Names and bytes of all files of restic's that are visible, locks apart.
    fn visible(&self) -> Vec<(String, Vec<u8>)> {
        let snapshot = self.bucket.snapshot();
        let visible = snapshot.visible();
        let is_file = |key: &str| {
            key.contains("/web1/")
                && (key.ends_with("/config") || key.rsplit('/').next().unwrap().len() == 64)
        };
        let kept = visible.iter().filter(|(key, _)| is_file(key) && !key.contains("/locks/"));
        kept.map(|(key, bytes)| ((*key).to_owned(), bytes.to_vec())).collect()
    }

    fn maintain(&self, args: &[&str]) -> Finished {
        maintain(&self.server.place(), args)
    }

    fn door(&self) -> Maintenance {
        Maintenance::start(&self.server)
    }
}
