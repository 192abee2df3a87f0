//! Nights that `pawl serve` begins by itself.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use pawl_tests::clients::{Restic, Version};
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use pawl_tests::wait;
use rustix::process::Signal;

use super::DAY;

/// A data directory in which the last run was two days ago.
fn with_a_night_that_is_due(data: &Path) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let last = serde_json::json!({ "began_ms": (now - 2 * DAY) * 1000, "ended": true });
    plant(&data.join(".pawl/maintenance/run/,run.json"), last.to_string().as_bytes());
}

/// Processes that have this in their command lines.
fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

fn nothing_is_left_of(data: &Path) {
    let data = data.to_str().unwrap();
    wait::until("no process works on the directory", || processes_with(data).is_empty().then_some(()));
}

#[test]
fn a_night_that_is_due_is_made_up_for_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    with_a_night_that_is_due(&data);
    let config = "[maintenance.run]\nat = \"03:30\"\n";
    let mut server = Server::build().data(&data).config(config).start();
    wait::until("the night was told", || server.log().text().contains("the night ended well").then_some(()));
    let seen = server.log().text();
    assert_eq!(seen.matches("the night ended").count(), 1, "{seen}");
    assert!(server.stop().success());
    nothing_is_left_of(&data);
}

#[test]
fn a_time_that_is_written_while_the_server_runs_is_noticed() {
    let server = Server::start();
    let config = Path::new(server.place()[1]);
    let before = std::fs::read_to_string(config).unwrap();
    let write = |table: &str| plant(config, format!("{before}\n{table}").as_bytes());
    let told = |text: &str| wait::until(text, || server.log().text().contains(text).then_some(()));
    write("[maintenance.run]\nat = \"03:30\"\n");
    // Or the process for the nights reads the configuration for the first time, and has seen no other.
    told("`pawl maintain run` begins every night at 03:30");
    write("[maintenance.run]\nat = \"late\"\n");
    told(
        "the configuration has changed, and cannot be read; before that: `pawl maintain run` begins every night at 03:30",
    );
    told("at: expected a time of the day such as 03:30, found");
    write("[maintenance.run]\nat = \"04:00\"\n");
    told("the configuration has changed: `pawl maintain run` begins every night at 04:00");
    write("");
    told("the configuration has changed: no night begins, because maintenance.run.at is not set");
    // None was begun by all that.
    assert!(!server.log().text().contains("the night ended"), "{}", server.log().text());
}

/// A server in whose night a password command does not end.
fn in_the_middle_of_a_night(dir: &Path) -> Server {
    let data = dir.join("data");
    with_a_night_that_is_due(&data);
    Restic::at(Version::V0_19, data.join("web1").to_str().unwrap()).succeed(["init"]);
    let begun = dir.join("begun");
    let config = format!(
        "[maintenance.run]\nat = \"03:30\"\npassword_command = \"sh -c 'echo > {} && exec sleep 1000'\"\n",
        begun.display()
    );
    let server = Server::build().data(&data).config(&config).start();
    wait::until("the night waits for its password", || begun.exists().then_some(()));
    server
}

#[test]
fn a_server_that_stops_ends_its_night() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = in_the_middle_of_a_night(dir.path());
    assert!(server.stop().success());
    nothing_is_left_of(&dir.path().join("data"));
}

#[test]
fn a_server_that_is_killed_takes_its_night_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = in_the_middle_of_a_night(dir.path());
    server.signal(Signal::KILL);
    let _ = server.wait();
    let data = dir.path().join("data");
    wait::until("nothing of it is left", || processes_with(data.to_str().unwrap()).is_empty().then_some(()));
}
