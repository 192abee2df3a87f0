//! A simulated year of backups and nights, beside plain restic on the same history.
//!
//! Invariant: restic, `pawl serve` and `pawl maintain run` are the real ones; the clock of a night is so many days ahead.
//! Every snapshot that the rules keep is restored byte for byte in the end.
//!
//! Only `scripts/test --cross` runs these tests. `PAWL_YEAR_NIGHTS=365` makes them a year; without it they are a month.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod first;
mod ground;
mod host;
mod plain;
mod table;

use pawl_tests::clock::{Clock, Kernel};
use pawl_tests::power::{Kind, Mounted};
use pawl_tests::server::Server;
use tempfile::TempDir;

use first::First;
use ground::Ground;

const DAY: u64 = 24 * 3600;
/// Nights of a run that is to take minutes: more than the floor of 7 days, the delay of 14, and some to see what follows.
const NIGHTS: u64 = 30;
/// restic's options for the rules.
const RULES: [&str; 6] = ["--keep-daily", "14", "--keep-weekly", "8", "--keep-monthly", "12"];

/// Twice what a host with daily backups needs, with what is kept back.
const DISK_BYTES: u64 = 640 << 20;

/// How many backups a host makes on a day.
type Backups = fn(u64) -> u64;

const HOURLY: Backups = |_| 24;
const DAILY: Backups = |_| 1;
const WEEKLY: Backups = |day| u64::from(day % 7 == 0);
/// Once its first backup has ended.
const AFTER_FIRST: Backups = |day| u64::from(day > 3);

fn nights() -> u64 {
    std::env::var_os("PAWL_YEAR_NIGHTS").map_or(NIGHTS, |number| number.to_str().unwrap().parse().unwrap())
}

/// A machine that follows others, of which systemd knows, as in a unit that keeps the question from the kernel.
fn machine(dir: &TempDir) -> Clock {
    Clock::default().of(Kernel::Silent).and_timedatectl(dir.path(), Some("yes"))
}

#[test]
fn a_host_with_hourly_backups() {
    let dir = tempfile::tempdir().unwrap();
    let mut ground = Ground::new("hourly", machine(&dir), Server::build(), &[("hourly", HOURLY)]);
    for day in 0..nights() {
        ground.back_up(day);
        ground.night(day);
    }
    ground.end();
}

#[test]
fn hosts_with_daily_and_weekly_backups_and_one_whose_first_takes_four_days() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = [("daily", DAILY), ("weekly", WEEKLY), (first::NAME, AFTER_FIRST)];
    let mut ground = Ground::new("shared", machine(&dir), Server::build().config(first::CONFIG), &hosts);
    let mut first = First::of(&mut ground);
    for day in 0..nights() {
        ground.back_up(day);
        first.day(&mut ground, day);
        ground.night(day);
        first.after_night(&mut ground, day);
    }
    ground.end();
}

#[test]
fn a_machine_that_is_off_two_nights_a_week() {
    let dir = tempfile::tempdir().unwrap();
    let mut ground = Ground::new("off", machine(&dir), Server::build(), &[("off", DAILY)]);
    for day in (0..nights()).filter(|day| day % 7 < 5) {
        ground.back_up(day);
        ground.night(day);
    }
    ground.end();
}

/// It has no D-Bus, and the kernel's word alone.
#[test]
fn a_container() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::default().of(Kernel::Synchronised).and_timedatectl(dir.path(), None);
    let mut ground = Ground::new("container", clock, Server::build(), &[("container", DAILY)]);
    for day in 0..nights() {
        ground.back_up(day);
        ground.night(day);
    }
    ground.end();
}

/// For four days of each month something else takes all room on the disk.
#[test]
#[ignore = "mounts a disk, as root; scripts/test --cross runs it"]
fn a_disk_that_fills() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk");
    std::fs::File::create_new(&image).unwrap().set_len(DISK_BYTES).unwrap();
    let disk = Mounted::make(&image, Kind::Ext4);
    let server = Server::build().data(&disk.path().join("data"));
    let mut ground = Ground::new("full", machine(&dir), server, &[("full", DAILY)]);
    for day in 0..nights() {
        ground.fill(matches!(day % 30, 20..24).then(|| disk.path()));
        ground.back_up(day);
        ground.night(day);
    }
    ground.end();
    assert!(ground.hosts[0].tally.refused > 0 || nights() < 21, "the disk was never full");
    drop(ground);
    disk.check().unwrap();
}
