//! `pawl maintain forget`: what it removes is what restic would, and a thief of a host cannot steer it.
//!
//! Invariant: good and forged snapshots are made by the real restic; only the times at which Pawl received them are
//! written by the test, as the user of maintenance could.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod attacks;
mod drill;
mod faults;
mod honest;
mod locks;
mod same;
mod side_by_side;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::Finished;
use pawl_tests::content::noise;
use pawl_tests::http::Client;
use pawl_tests::maintenance::maintain;
use pawl_tests::program::program;
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{plant, plant_secret, remove};
use serde_json::Value;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A host, and the options with which maintenance reads its repository.
struct Ground {
    server: Server,
    credential: Credential,
    restic: Restic,
    /// The host, without restic.
    host: Client,
    files: PathBuf,
    options: Vec<String>,
    /// Seconds that backups of every day are older, so that what is a little newer is still of the same day in UTC: an
    /// hour in the last hour of a day.
    before_midnight: u64,
}

impl Ground {
    fn new() -> Self {
        Self::on(Server::start())
    }

    fn on(server: Server) -> Self {
        let credential = clients::ready(&server, "web1");
        let restic = Restic::new(Version::V0_19, &credential);
        let host = server.client(&credential);
        let files = restic.home().join("files");
        for name in 0..10 {
            plant(&files.join(format!("file-{name}")), &noise(&format!("{name}"), 1000));
        }
        let password = server.dir().join("password");
        plant_secret(&password, b"secret");
        let program = program("restic-0.19");
        let options = ["--restic", program.to_str().unwrap(), "--password-file", password.to_str().unwrap()];
        let options = options.map(str::to_owned).to_vec();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let before_midnight = if now % DAY >= DAY - HOUR { HOUR } else { 0 };
        Self { server, credential, restic, host, files, options, before_midnight }
    }

    /// Backs the host's files up, and has Pawl believe that it received the snapshot so many seconds ago. It claims that
    /// time as well unless the options say otherwise.
    fn backup(&self, ago: u64, options: &[&str]) -> String {
        self.backup_of(&self.files.clone(), ago, options)
    }

    fn backup_of(&self, path: &std::path::Path, ago: u64, options: &[&str]) -> String {
        let claimed = time(ago);
        let usual: &[&str] = if options.contains(&"--time") { &[] } else { &["--time", &claimed] };
        let options = [&["--host", "web1"], usual, options].concat();
        let id = self.restic.report_of_backup(path, &options).snapshot;
        self.receive(&id, ago);
        id
    }

    fn receive(&self, id: &str, ago: u64) {
        self.server.back_date(&format!("web1/snapshots/{id}"), Duration::from_secs(ago));
    }

    /// A good backup a day, from so many days ago on, the oldest first.
    fn daily(&self, from: u64, days: u64) -> Vec<String> {
        (0..days).map(|day| self.backup((from - day) * DAY + self.before_midnight, &[])).collect()
    }

    /// An empty backup a day, from 20 days ago on, each a minute newer than the one that [`Self::daily`] makes that day.
    fn daily_and_empty(&self, days: u64) -> Vec<String> {
        self.empty();
        (0..days).map(|day| self.backup((20 - day) * DAY + self.before_midnight - 60, &[])).collect()
    }

    /// An empty directory at the path of the host's files.
    fn empty(&self) {
        for entry in std::fs::read_dir(&self.files).unwrap() {
            remove(&entry.unwrap().path());
        }
    }

    fn forget(&self, args: &[&str]) -> Finished {
        let options: Vec<_> = self.options.iter().map(String::as_str).collect();
        maintain(&self.server.place(), &[&["forget", "web1"], args, &options[..]].concat())
    }

    fn report(&self, args: &[&str]) -> Value {
        let finished = self.forget(&[args, &["--json"]].concat());
        assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
        finished.json()
    }

    fn adopt(&self, ids: &[&str]) -> Finished {
        maintain(&self.server.place(), &[&["trust", "web1"], ids].concat())
    }

    /// Snapshots that are visible.
    fn there(&self) -> BTreeSet<String> {
        let names = std::fs::read_dir(self.server.data().join("web1/snapshots")).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Every one of these is there, and the whole repository reads back.
    fn assert_there(&self, good: &[String]) {
        let there = self.there();
        assert!(good.iter().all(|id| there.contains(id)), "missing of {good:?} in {there:?}");
        self.restic.check();
    }

    /// What restic itself would remove by these rules, asked at the directory.
    fn restic_would_remove(&self, args: &[&str]) -> BTreeSet<String> {
        let mut command = Command::new(program("restic-0.19"));
        command.arg("-r").arg(self.server.data().join("web1")).env("RESTIC_PASSWORD", "secret");
        command
            .env("TZ", "UTC")
            .args(["forget", "--dry-run", "--json", "--no-lock", "--no-cache"])
            .args(args);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "restic forget {args:?}: {said}");
        let groups: Value = serde_json::from_slice(&output.stdout).unwrap();
        let removed = groups.as_array().unwrap().iter().filter_map(|group| group["remove"].as_array());
        removed.flatten().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The time so many seconds ago, as restic takes it in UTC.
fn time(ago: u64) -> String {
    at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - ago)
}

/// A time in Unix seconds, as restic takes it.
fn at(seconds: u64) -> String {
    let output = Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%F %T"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Ids with this verdict.
fn with_verdict(report: &Value, verdict: &str) -> BTreeSet<String> {
    let snapshots = report["snapshots"].as_array().unwrap().iter();
    let meant = snapshots.filter(|snapshot| snapshot["verdict"] == verdict);
    meant.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// Each of these is held, for a reason that says this.
fn assert_held(report: &Value, ids: &[String], reason: &str) {
    for id in ids {
        let mut snapshots = report["snapshots"].as_array().unwrap().iter();
        let line = snapshots.find(|snapshot| snapshot["id"] == **id).expect("it is in the report");
        assert_eq!(line["verdict"], "held", "{line}");
        assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
    }
}
