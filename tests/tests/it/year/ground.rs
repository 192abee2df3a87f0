//! A server with its hosts, day after day.
//!
//! Invariant: the backups of a day are followed by its night, at half past three of the next. Maintenance sees a clock that
//! is ahead; the keeper inherits no environment, so that the test writes down when it received a file.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use pawl_tests::clock::Clock;
use pawl_tests::command::pawl_command;
use pawl_tests::program::{Run, program};
use pawl_tests::server::{Builder, Server};
use pawl_tests::store::{plant_secret, remove};
use serde_json::Value;

use super::host::Host;
use super::plain::files;
use super::{Backups, DAY, RULES, table};

/// When a night begins, after midnight.
pub(super) const NIGHT: u64 = 3 * 3600 + 1800;
/// After so many nights it says how far it is: a year takes hours.
const NIGHTS_TOLD: u64 = 30;
/// Of what plain restic needs with the same delay, Pawl needs so many percent at most.
const PERCENT_MAX: u64 = 130;

/// A server, its hosts, and the machine that it runs on.
pub(super) struct Ground {
    name: &'static str,
    clock: Clock,
    pub(super) server: Server,
    pub(super) hosts: Vec<Host>,
    /// The first day's midnight, in Unix seconds.
    midnight: u64,
    /// Where something else takes room.
    filled: Option<PathBuf>,
    /// What must not be.
    faults: Vec<String>,
}

impl Ground {
    pub(super) fn new(
        name: &'static str,
        clock: Clock,
        server: Builder,
        hosts: &[(&'static str, Backups)],
    ) -> Self {
        let now = now();
        let midnight = now - now % DAY;
        let server = server.start();
        plant_secret(&server.dir().join("management.password"), b"secret");
        let hosts = hosts.iter().map(|(name, backups)| Host::new(&server, name, *backups)).collect();
        Self { name, clock, server, hosts, midnight, filled: None, faults: Vec::new() }
    }

    pub(super) fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.iter_mut().find(|host| host.name == name).unwrap()
    }

    /// A time in Unix seconds, said in seconds from the first day's midnight on.
    pub(super) const fn time(&self, seconds: u64) -> u64 {
        self.midnight + seconds
    }

    /// All that a host has stored since the last time was received then, in seconds from the first day's midnight on.
    pub(super) fn receive(&mut self, name: &str, seconds: u64) {
        let received = self.midnight + seconds;
        let data = self.server.data().join(name);
        self.host(name).note_received(&data, received);
    }

    /// The backups of a day.
    pub(super) fn back_up(&mut self, day: u64) {
        for host in &mut self.hosts {
            let (backups, data) = ((host.backups)(day), self.server.data().join(host.name));
            for backup in 0..backups {
                let time = self.midnight + day * DAY + (backup + 1) * DAY / (backups + 1);
                host.back_up(time, self.filled.is_some());
                host.note_received(&data, time);
            }
        }
    }

    /// Something else takes all room of this file system, or gives it back.
    pub(super) fn fill(&mut self, place: Option<&Path>) {
        match (place, self.filled.take()) {
            (Some(place), None) => {
                let ballast = place.join("ballast");
                let mut file = std::fs::File::create_new(&ballast).unwrap();
                for bytes in [1 << 20, 4096] {
                    while file.write_all(&vec![0; bytes]).is_ok() {}
                }
                self.filled = Some(ballast);
            }
            (Some(_), filled) => self.filled = filled,
            (None, Some(ballast)) => remove(&ballast),
            (None, None) => {}
        }
    }

    fn maintain(&self, at: u64, args: &[&str]) -> Run {
        let mut command = pawl_command();
        command.arg("maintain").args(args).args(self.server.place()).env("TZ", "UTC");
        command.envs(self.clock.clone().at(&ahead(at)).variables());
        Run::start(command)
    }

    /// The night after a day, for Pawl and for plain restic.
    pub(super) fn night(&mut self, day: u64) {
        let began = self.midnight + (day + 1) * DAY + NIGHT;
        let password = self.server.dir().join("management.password");
        let restic = program("restic-0.19");
        let mut args = vec!["run", "--json", "--password-file", password.to_str().unwrap()];
        args.extend(["--restic", restic.to_str().unwrap()]);
        args.extend(RULES);
        let ended = self.maintain(began, &args).end();
        assert!(ended.stdout.starts_with('{'), "{}, night {day}: {ended:#?}", self.name);
        let report = ended.json();
        if !report["error"].is_null() {
            self.fault(day, &format!("the run failed: {}", report["error"]));
        }
        let listed = self.maintain(began + 60, &["deleted", "--json"]).end();
        let pending = listed.expect_code(0).json().as_array().unwrap().clone();
        for at in 0..self.hosts.len() {
            self.judge(at, day, &report, &pending);
        }
    }

    fn judge(&mut self, at: usize, day: u64, report: &Value, pending: &[Value]) {
        let night = self.midnight + (day + 1) * DAY + NIGHT;
        let began = text(night).replace(' ', "T");
        let host = &mut self.hosts[at];
        let steps = report["steps"].as_array().unwrap().iter().filter(|line| line["repository"] == host.name);
        let mut said = Vec::new();
        let mut purge = "skipped";
        for line in steps {
            let ended = line["ended"].as_str().unwrap();
            if line["step"] == "purge" {
                purge = ended;
            }
            if matches!(ended, "notice" | "failed") {
                let sentences: Vec<_> =
                    line["said"].as_array().unwrap().iter().map(|said| said.as_str().unwrap()).collect();
                said.push((
                    ended.to_owned(),
                    format!("{}: {}", line["step"].as_str().unwrap(), sentences.join("; ")),
                ));
            }
        }
        host.tally.night(day, &said);
        host.plain.night(night);
        let own = pending.iter().filter(|batch| batch["repository"] == host.name);
        let due: Vec<_> =
            own.clone().filter(|batch| batch["final_from"].as_str().unwrap() < began.as_str()).collect();
        let kept_back: u64 = own.map(|batch| batch["bytes"].as_u64().unwrap()).sum();
        let stored: u64 = files(&self.server.data().join(host.name)).values().sum();
        host.tally.disk = stored + kept_back;
        if host.plain.has_backups() {
            host.tally.worst = host.tally.worst.max(host.percent());
        }
        let name = host.name;
        if (day + 1).is_multiple_of(NIGHTS_TOLD) {
            let (percent, worst) = (host.percent(), host.tally.worst);
            eprintln!(
                "{name}: {} nights; {percent} % of what plain restic needs, {worst} % at most",
                day + 1
            );
        }
        let is_dubious = !matches!(purge, "failed" | "notice") && !due.is_empty();
        let is_dubious = is_dubious.then(|| format!("purge was {purge}, and {due:?} stayed"));
        let wrong = said
            .iter()
            .filter(|(_, text)| !is_right(text, self.filled.is_some()))
            .map(|(ended, text)| format!("{ended}: {text}"));
        for fault in is_dubious.into_iter().chain(wrong).collect::<Vec<_>>() {
            self.fault(day, &format!("{name}: {fault}"));
        }
    }

    fn fault(&mut self, night: u64, what: &str) {
        eprintln!("{}, night {night}: {what}", self.name);
        self.faults.push(format!("night {night}: {what}"));
    }

    /// Restores all that is kept, prints the table, and judges.
    pub(super) fn end(&mut self) {
        let mut rows = Vec::new();
        for host in &self.hosts {
            let there = host.restic.snapshots();
            let numbers: BTreeSet<_> = there.iter().map(|id| host.stored[id]).collect();
            let lost: Vec<_> = host.plain.kept().difference(&numbers).copied().collect();
            if !lost.is_empty() {
                self.faults
                    .push(format!("{}: the rules keep the backups {lost:?}, and they are gone", host.name));
            }
            for snapshot in &there {
                host.assert_restores(snapshot);
            }
            host.restic.check();
            if host.tally.worst > PERCENT_MAX {
                self.faults.push(format!(
                    "{}: it needs {} % of what plain restic does",
                    host.name, host.tally.worst
                ));
            }
            rows.push(host.row(there.len()));
        }
        table::print(&rows);
        for host in &self.hosts {
            table::print_said(host.name, &host.tally);
        }
        assert!(self.faults.is_empty(), "{}:\n{}", self.name, self.faults.join("\n"));
    }
}

/// Whether there is a good reason to say this.
fn is_right(said: &str, is_full: bool) -> bool {
    is_full && (said.contains("no space") || said.contains("No space"))
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// How far this time is ahead.
fn ahead(time: u64) -> String {
    format!("{:+}", i128::from(time) - i128::from(now()))
}

/// A time in Unix seconds, in UTC.
pub(super) fn text(time: u64) -> String {
    let output = Command::new("date").args(["-u", "-d", &format!("@{time}"), "+%F %T"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
