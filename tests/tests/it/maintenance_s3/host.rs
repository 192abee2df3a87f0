//! A host with five backups in a bucket, and what was measured of a command.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::primitives::ByteStream;
use pawl_tests::bucket::{Access, Bucket, Kind};
use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::{Finished, pawl_command};
use pawl_tests::content::noise;
use pawl_tests::faults::Faults;
use pawl_tests::maintenance::{Maintenance, maintain};
use pawl_tests::program::Run;
use pawl_tests::roles::Roles;
use pawl_tests::s3::S3;
use pawl_tests::server::{Builder, PREFIX, Server};
use pawl_tests::store::plant;
use pawl_tests::wait;

pub(crate) const VERSION: Version = Version::V0_19;

/// Options of a prune that leaves nothing of what was forgotten.
pub(crate) const PRUNE: [&str; 6] = ["forget", "--keep-last", "1", "--prune", "--max-unused", "0"];

/// A host with five backups in a bucket.
pub(crate) struct Host {
    pub(crate) server: Server,
    /// Seen by somebody who may do everything.
    pub(crate) bucket: Bucket,
    pub(crate) roles: Roles,
    /// What Pawl asks of the store passes here.
    pub(crate) line: Faults,
    pub(crate) restic: Restic,
    /// Snapshots, oldest first.
    pub(crate) snapshots: Vec<String>,
    /// The files as they were at each.
    states: Vec<PathBuf>,
    _secret: tempfile::TempDir,
}

/// With the credential of maintenance, which may not remove versions. Received times are not set back, so that the floor
/// is off.
pub(crate) fn host_with_five_backups(s3: &S3) -> Host {
    host(s3, 0, |roles| roles.maintenance.clone())
}

/// With a floor of so many days, and a credential of maintenance of the test's choice.
pub(crate) fn host(s3: &S3, min_snapshot_age_days: u32, credential: impl Fn(&Roles) -> Access) -> Host {
    host_behind(s3, min_snapshot_age_days, credential, |_| {}, |server| server)
}

/// With a line and a server that the test prepares.
pub(crate) fn host_behind(
    s3: &S3,
    min_snapshot_age_days: u32,
    credential: impl Fn(&Roles) -> Access,
    prepare_line: impl FnOnce(&Faults),
    prepare_server: impl FnOnce(Builder) -> Builder,
) -> Host {
    host_in(s3, Kind::Versioned, min_snapshot_age_days, credential, prepare_line, prepare_server)
}

/// A host with a line and a server that the test prepares, in a bucket of this kind.
pub(crate) fn host_in(
    s3: &S3,
    kind: Kind,
    min_snapshot_age_days: u32,
    credential: impl Fn(&Roles) -> Access,
    prepare_line: impl FnOnce(&Faults),
    prepare_server: impl FnOnce(Builder) -> Builder,
) -> Host {
    let roles = Roles::new(s3, PREFIX, kind);
    host_of(roles, min_snapshot_age_days, credential, prepare_line, prepare_server)
}

/// A host with a line and a server that the test prepares, in the bucket of these roles.
pub(crate) fn host_of(
    roles: Roles,
    min_snapshot_age_days: u32,
    credential: impl Fn(&Roles) -> Access,
    prepare_line: impl FnOnce(&Faults),
    prepare_server: impl FnOnce(Builder) -> Builder,
) -> Host {
    let secret = tempfile::tempdir().unwrap();
    let file = secret.path().join("credentials");
    write_credentials(&file, &credential(&roles));
    let line = Faults::in_front_of(roles.owner.address());
    prepare_line(&line);
    let table = format!(
        "[maintenance]\nmin_snapshot_age_days = {min_snapshot_age_days}\ncredentials_file = \"{}\"",
        file.display()
    );
    let writer = roles.owner.with(&roles.writer).through(line.address());
    let server = prepare_server(Server::build().bucket(&writer).config(&table)).start();
    let credential = clients::ready(&server, "web1");
    let restic = Restic::new(VERSION, &credential);
    let bucket = roles.owner.clone();
    let (snapshots, states) = (Vec::new(), Vec::new());
    let mut host = Host { server, bucket, roles, line, restic, snapshots, states, _secret: secret };
    for day in 0..5 {
        host.backup(day);
    }
    host
}

/// A file of credentials as the AWS tools have it.
pub(crate) fn write_credentials(file: &Path, access: &Access) {
    let text =
        format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", access.key, access.secret);
    plant(file, text.as_bytes());
}

impl Host {
    pub(crate) fn backup(&mut self, day: u32) {
        let files = self.files();
        plant(&files.join("changing"), &noise(&format!("day {day}"), 200_000));
        plant(&files.join(format!("of-day-{day}")), &noise(&format!("new on day {day}"), 100_000));
        self.snapshots.push(self.restic.report_of_backup(&files, &[]).snapshot);
        let state = self.restic.home().join(format!("state-{day}"));
        for entry in fs::read_dir(&files).unwrap() {
            let path = entry.unwrap().path();
            plant(&state.join(path.file_name().unwrap()), &fs::read(&path).unwrap());
        }
        self.states.push(state);
    }

    /// What is backed up.
    pub(crate) fn files(&self) -> PathBuf {
        self.restic.home().join("files")
    }

    /// Every snapshot restores to the bytes that were backed up, and the whole repository reads back.
    pub(crate) fn assert_all_restore(&self) {
        self.assert_all_restore_with(&self.restic);
    }

    /// The same with another restic.
    pub(crate) fn assert_all_restore_with(&self, restic: &Restic) {
        let (mut found, mut expected) = (restic.snapshots(), self.snapshots.clone());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        restic.check();
        for day in 0..self.states.len() {
            self.assert_restores(restic, day);
        }
    }

    /// The backup of this day restores to the bytes that were backed up.
    pub(crate) fn assert_restores(&self, restic: &Restic, day: usize) {
        let target = tempfile::tempdir_in(restic.home()).unwrap();
        restic.succeed(["restore", &self.snapshots[day], "--target", target.path().to_str().unwrap()]);
        let restored = target.path().join(self.files().strip_prefix("/").unwrap());
        for entry in fs::read_dir(&self.states[day]).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            assert!(fs::read(&path).unwrap() == fs::read(restored.join(name)).unwrap(), "{}", path.display());
        }
    }

    /// Keys and bytes of all files of restic's that are visible, locks apart.
    pub(crate) fn visible(&self) -> BTreeMap<String, Vec<u8>> {
        let snapshot = self.bucket.snapshot();
        let is_file = |key: &str| {
            key.contains("/web1/")
                && (key.ends_with("/config") || key.rsplit('/').next().unwrap().len() == 64)
        };
        let visible = snapshot.visible().into_iter();
        let kept = visible.filter(|(key, _)| is_file(key) && !key.contains("/locks/"));
        kept.map(|(key, bytes)| (key.to_owned(), bytes.to_vec())).collect()
    }

    /// Has Pawl believe that it received a file of the first host so long ago, by the owner's hand.
    pub(crate) fn back_date(&self, key: &str, by: Duration) {
        let received_ms = (SystemTime::now() - by).duration_since(UNIX_EPOCH).unwrap().as_millis();
        let snapshot = self.bucket.snapshot();
        let mut facts = snapshot.shown(key).unwrap().metadata.clone();
        facts.insert("pawl-received".to_owned(), received_ms.to_string());
        let content = self.bucket.get(key).unwrap();
        let modified = || self.bucket.head(key).unwrap().last_modified;
        let before = modified();
        // What Pawl knows of an object it knows by name and time, which has whole seconds.
        wait::until("the object is of another second", || {
            let (body, facts) = (ByteStream::from(content.clone()), facts.clone().into_iter().collect());
            let put = self.bucket.ask(|client| {
                let put = client.put_object().bucket(self.bucket.name()).key(key).body(body);
                put.set_metadata(Some(facts)).send()
            });
            drop(put.unwrap());
            (modified() != before).then_some(())
        });
    }

    /// Runs `pawl maintain` with these arguments, and prints what it took.
    pub(crate) fn maintain(&self, args: &[&str]) -> Finished {
        self.measured(args.first().unwrap(), || maintain(&self.server.place(), args))
    }

    /// Starts it.
    pub(crate) fn start_maintaining(&self, args: &[&str]) -> Run {
        let mut command = pawl_command();
        command.arg("maintain").args(args).args(self.server.place());
        Run::start(command)
    }

    /// Does something, and prints how long it took and what Pawl asked of the store.
    pub(crate) fn measured<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let (begun, requests, bytes) = (Instant::now(), self.line.seen().len(), self.line.answered_bytes());
        let done = work();
        println!(
            "measured: {what}: {:.1} s, {} requests, {} bytes of answers",
            begun.elapsed().as_secs_f64(),
            self.line.seen().len() - requests,
            self.line.answered_bytes() - bytes
        );
        done
    }

    pub(crate) fn door(&self) -> Maintenance {
        Maintenance::start(&self.server)
    }

    /// Whether each of these files is visible, or behind a version that a marker hides.
    pub(crate) fn assert_nothing_lost(&self, before: &BTreeMap<String, Vec<u8>>) {
        let snapshot = self.bucket.snapshot();
        for (key, content) in before {
            let mut versions = snapshot.versions(key).iter();
            assert!(versions.any(|version| version.content.as_ref() == Some(content)), "{key} is gone");
        }
    }
}

/// A file as restic names it, and `pawl maintain` with it: `data/<id>` of `…/web1/data/ab/<id>`.
pub(crate) fn name_of(key: &str) -> String {
    let (_, rest) = key.split_once("/web1/").unwrap();
    match rest.strip_prefix("data/") {
        Some(data) => format!("data/{}", data.rsplit('/').next().unwrap()),
        None => rest.to_owned(),
    }
}
