//! `pawl maintain run`: a whole night, and what can come between.
//!
//! Invariant: backups are made by the real restic, and so are forgetting, pruning and checking; where restic is to behave
//! badly, a script does so in front of the real one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod attacks;
mod attention;
mod busy;
mod cut;
mod drill;
mod faults;
mod full;
mod made_final;
mod migrated;
mod night;
mod nights;
mod only;
mod young;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::{Finished, pawl_command};
use pawl_tests::content::{id_of, noise};
use pawl_tests::forger::Forger;
use pawl_tests::http::Client;
use pawl_tests::maintenance::maintain;
use pawl_tests::program::{self, program};
use pawl_tests::server::Server;
use pawl_tests::store::{plant, plant_program, plant_secret};
use serde_json::Value;

const DAY: u64 = 24 * 3600;
/// Of six daily backups, none of them young, two go.
const RULES: [&str; 2] = ["--keep-last", "4"];

/// Hosts with a history each, and the options with which maintenance comes to them.
struct Ground {
    server: Server,
    hosts: Vec<(&'static str, Restic)>,
    /// The same hosts, without restic.
    clients: BTreeMap<&'static str, Client>,
    password: PathBuf,
}

impl Ground {
    fn new(names: &[&'static str]) -> Self {
        Self::on(Server::start(), names)
    }

    /// Nobody misses their backups of the last days.
    fn on(server: Server, names: &[&'static str]) -> Self {
        let config = PathBuf::from(server.place()[1]);
        let written = std::fs::read_to_string(&config).unwrap();
        plant(&config, format!("{written}\n[maintenance.report]\nsilent_days = 365\n").as_bytes());
        Self::with_silent(server, names)
    }

    fn with_silent(server: Server, names: &[&'static str]) -> Self {
        let password = server.dir().join("management.password");
        plant_secret(&password, b"secret");
        let mut clients = BTreeMap::new();
        let hosts = names.iter().map(|name| {
            let credential = clients::ready(&server, name);
            clients.insert(*name, server.client(&credential));
            let restic = Restic::new(Version::V0_19, &credential);
            for file in 0..10 {
                plant(
                    &restic.home().join(format!("files/file-{file}")),
                    &noise(&format!("{name} {file}"), 1000),
                );
            }
            (*name, restic)
        });
        let hosts = hosts.collect();
        let ground = Self { server, hosts, clients, password };
        for name in names {
            for day in (10..16).rev() {
                ground.backup(name, day);
            }
        }
        ground
    }

    /// Somebody who has all that a host has.
    fn thief(&self, name: &str) -> Forger {
        Forger::new(self.restic(name), self.clients[name].clone(), name)
    }

    fn restic(&self, name: &str) -> &Restic {
        &self.hosts.iter().find(|(host, _)| *host == name).unwrap().1
    }

    /// A backup so many days ago, with something of its own in it, for prune to remove.
    fn backup(&self, name: &str, day: u64) -> String {
        let restic = self.restic(name);
        let files = restic.home().join("files");
        plant(&files.join("of-this-day"), &noise(&format!("{name} on day {day}"), 1000));
        let claimed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - day * DAY;
        let claimed = text_of(claimed);
        let before = self.files(name);
        let id = restic.report_of_backup(&files, &["--host", name, "--time", &claimed]).snapshot;
        for file in self.files(name).difference(&before) {
            self.server.back_date(file, Duration::from_secs(day * DAY));
        }
        id
    }

    /// Names of all packs, indexes and snapshots that are visible.
    fn files(&self, name: &str) -> BTreeSet<String> {
        let stored = self.server.stored();
        let names = stored.names().filter_map(|path| path.to_str());
        let kinds = ["data", "index", "snapshots"].map(|kind| format!("{name}/{kind}/"));
        let is_file = |path: &&str| {
            let is_named = path.rsplit('/').next().is_some_and(|id| id.len() == 64);
            is_named && kinds.iter().any(|kind| path.starts_with(kind.as_str()))
        };
        names.filter(is_file).map(name_of).collect()
    }

    /// The options that name this restic, and the password.
    fn options(&self, restic: &std::path::Path) -> Vec<String> {
        let (restic, password) = (restic.to_str().unwrap(), self.password.to_str().unwrap());
        ["--restic", restic, "--password-file", password].map(str::to_owned).to_vec()
    }

    /// Starts a run with this restic.
    fn start(&self, restic: &std::path::Path, args: &[&str]) -> program::Run {
        let mut command = pawl_command();
        command.args(["maintain", "run"]).args(args).args(self.options(restic)).args(self.server.place());
        program::Run::start(command)
    }

    /// A run with restic 0.19.
    fn run(&self, args: &[&str]) -> Finished {
        self.start(&program("restic-0.19"), args).end()
    }

    /// A run without anything of restic.
    fn run_alone(&self, args: &[&str]) -> Finished {
        maintain(&self.server.place(), &[&["run"], args].concat())
    }

    /// A restic that does this before what it is asked for; `$*` is what that is.
    fn scripted(&self, lines: &str) -> PathBuf {
        let path = self.server.dir().join(format!("restic-{}", id_of(lines.as_bytes())));
        let real = program("restic-0.19");
        plant_program(&path, &format!("#!/bin/bash\nreal={}\n{lines}\nexec $real \"$@\"\n", real.display()));
        path
    }

    /// Snapshots that are visible.
    fn snapshots(&self, name: &str) -> BTreeSet<String> {
        let names = std::fs::read_dir(self.server.data().join(name).join("snapshots")).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// No lock is left in any repository.
    fn assert_unlocked(&self) {
        for (name, _) in &self.hosts {
            let locks = std::fs::read_dir(self.server.data().join(name).join("locks")).unwrap();
            assert_eq!(locks.count(), 0, "locks are left in {name}");
        }
    }
}

/// A time in Unix seconds, as restic takes it in UTC.
fn text_of(seconds: u64) -> String {
    let output = Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%F %T"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The name of a file that lies there: `web1/data/ID` for `web1/data/ab/ID`.
fn name_of(path: &str) -> String {
    let parts: Vec<_> = path.split('/').collect();
    match parts.as_slice() {
        [repository, "data", _, id] => format!("{repository}/data/{id}"),
        _ => path.to_owned(),
    }
}

fn chmod(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What the last line says.
fn last_line(finished: &Finished) -> Value {
    let last = finished.stdout.lines().last().unwrap_or_default();
    let json = last.strip_prefix("pawl-run: ").unwrap_or_else(|| panic!("no last line: {finished:#?}"));
    let parsed: Value = serde_json::from_str(json).unwrap();
    let keys: Vec<_> = parsed.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "attention",
        "began",
        "delivered",
        "ended_by",
        "error",
        "exit",
        "failed",
        "left",
        "notices",
        "repositories",
        "resumed",
        "seconds",
        "unknown",
        "well",
    ];
    assert_eq!(keys, documented);
    assert_eq!(parsed["exit"].as_i64(), finished.code.map(i64::from), "{finished:#?}");
    parsed
}

/// The exit code of a run if the report had nothing to add.
fn code_of_steps(report: &Value) -> i32 {
    let is_some = |key: &str| report[key].as_u64().unwrap() > 0;
    let code = if is_some("failed") || !report["error"].is_null() {
        2
    } else {
        i32::from(is_some("notices") || !report["unknown"].as_array().unwrap().is_empty())
    };
    assert_eq!(report["exit"], code.max(i32::from(report["attention"].as_u64() > Some(0))), "{report:#}");
    code
}

/// The line of a step in a repository.
fn step<'a>(report: &'a Value, repository: &str, step: &str) -> &'a Value {
    let mut steps = report["steps"].as_array().unwrap().iter();
    let found = steps.find(|line| line["repository"] == repository && line["step"] == step);
    found.unwrap_or_else(|| panic!("no {step} of {repository} in {report:#}"))
}

/// How each step of a repository ended, as `verify well`.
fn ends(report: &Value, repository: &str) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap().iter();
    // The first run in a data directory has nothing to compare with.
    let is_compared = |line: &&Value| line["step"] == "compare" && line["ended"] == "well";
    let of = steps.filter(|line| line["repository"] == repository && !is_compared(line));
    of.map(|line| format!("{} {}", line["step"].as_str().unwrap(), line["ended"].as_str().unwrap())).collect()
}

const WELL: [&str; 6] =
    ["verify well", "purge well", "examine well", "forget well", "prune well", "check well"];
