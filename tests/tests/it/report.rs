//! `pawl maintain report`: what somebody should look at is on top, what is missing is named, and what a host wrote is
//! text wherever it is shown.
//!
//! Invariant: backups are made by the real restic; what a run would have written down is written by the test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod browser;
mod delivery;
mod hostile;
mod losses;
mod said;

use std::path::PathBuf;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::Finished;
use pawl_tests::content::noise;
use pawl_tests::maintenance::maintain;
use pawl_tests::server::{Builder, Server};
use pawl_tests::store::plant;
use serde_json::Value;

const VERSION: Version = Version::V0_19;

/// A host with two backups, all of which was verified.
struct Ground {
    server: Server,
    restic: Restic,
    snapshots: Vec<String>,
}

impl Ground {
    fn new() -> Self {
        Self::on(Server::build())
    }

    /// Snapshots can be deleted at once: there is no floor.
    fn on(builder: Builder) -> Self {
        Self::with("", builder)
    }

    /// With a table `[maintenance.report]`.
    fn reporting(table: &str) -> Self {
        Self::with(&format!("[maintenance.report]\n{table}"), Server::build())
    }

    fn with(table: &str, builder: Builder) -> Self {
        let server = builder
            .config(&format!(
                "[maintenance]\nmin_snapshot_age_days = 0\nrun.assume_clock_synced = true\n{table}"
            ))
            .start();
        let credential = clients::ready(&server, "web1");
        let restic = Restic::new(VERSION, &credential);
        let snapshots = ["first", "second"].map(|content| {
            plant(&restic.home().join("files/file"), &noise(content, 100_000));
            restic.report_of_backup(&restic.home().join("files"), &["--host", "web1"]).snapshot
        });
        let ground = Self { server, restic, snapshots: snapshots.to_vec() };
        let _ = ground.maintain(&["verify", "--all"]).expect_code(0);
        ground
    }

    fn maintain(&self, args: &[&str]) -> Finished {
        maintain(&self.server.place(), args)
    }

    fn report(&self, args: &[&str]) -> Finished {
        self.maintain(&[&["report"], args].concat())
    }

    /// The report as JSON, with this exit code, which it says itself as well.
    fn json(&self, code: u8, args: &[&str]) -> Value {
        let report = self.report(&[args, &["--json"]].concat()).expect_code(code.into()).json();
        assert_eq!(report["summary"]["exit"], code, "{report}");
        report
    }

    /// The page, as it would be opened.
    fn page(&self) -> String {
        let path = self.page_path();
        let _ = self.report(&["--html", path.to_str().unwrap()]);
        std::fs::read_to_string(path).unwrap()
    }

    fn page_path(&self) -> PathBuf {
        self.restic.home().join("report.html")
    }

    fn snapshot_path(&self, id: &str) -> PathBuf {
        self.server.data().join("web1/snapshots").join(id)
    }

    /// What runs would have written down.
    fn remember(&self, record: &Value) {
        plant(&self.server.data().join(".pawl/maintenance/run/web1.json"), record.to_string().as_bytes());
    }
}

/// What somebody should look at, each in one line.
fn attention(report: &Value) -> Vec<String> {
    let all = report["attention"].as_array().unwrap().iter();
    all.map(|attention| {
        let text = |key: &str| attention[key].as_str().unwrap_or("-").to_owned();
        format!("{} {}: {}", text("grade"), text("repository"), text("text"))
    })
    .collect()
}

/// The last line, for programs.
fn last_line(finished: &Finished) -> Value {
    let line = finished.stdout.lines().last().expect("something was printed");
    serde_json::from_str(line.strip_prefix("pawl-report: ").expect("the last line is for programs")).unwrap()
}
