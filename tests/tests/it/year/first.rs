//! A host whose first backup takes four days: it is cut on two evenings, goes on over the third night, and ends then.
//!
//! Invariant: what it sent before is not sent again.

use pawl_tests::clients::{Backup, Restic};
use pawl_tests::program::Run;
use pawl_tests::proxy::{Fault, Proxy};

use super::DAY;
use super::ground::{Ground, NIGHT, text};
use super::host::{BYTES, PART_BYTES};

/// A night has until then for it, and its lock lives longer.
pub(super) const CONFIG: &str =
    "[maintenance.run.repositories.\"first\"]\nuntil = \"03:45\"\nlock_wait = \"1s\"\n";
pub(super) const NAME: &str = "first";
/// Parts of the first backup beside what every host has.
const PARTS: u64 = 4;
/// More than this was sent again.
const AGAIN_MAX: u64 = PART_BYTES as u64 / 2;

/// The first backup, as far as it has come.
pub(super) struct First {
    over_night: Option<(Proxy, Restic, Run)>,
}

impl First {
    pub(super) fn of(ground: &mut Ground) -> Self {
        ground.host(NAME).write_parts(PARTS);
        Self { over_night: None }
    }

    /// What it does on a day.
    pub(super) fn day(&mut self, ground: &mut Ground, day: u64) {
        match day {
            0 | 1 => Self::is_cut(ground, day),
            2 => self.begins_at_night(ground, day),
            _ => {}
        }
    }

    /// It sends one more part, and is cut before its snapshot.
    fn is_cut(ground: &mut Ground, day: u64) {
        let time = text(ground.time(day * DAY + DAY / 2));
        let host = ground.host(NAME);
        let mut args: Vec<_> = ["backup", "--json", "--no-scan", "--time", &time].map(str::to_owned).to_vec();
        args.extend((0..=day).map(|part| host.part(part).to_str().unwrap().to_owned()));
        let Backup { snapshot, added } = Backup::reported(&host.restic.succeed(&args));
        assert!(added < PART_BYTES as u64 + AGAIN_MAX, "day {day}: {added} bytes were sent");
        ground.server.remove(&format!("{NAME}/snapshots/{snapshot}"));
        ground.receive(NAME, day * DAY + DAY / 2);
    }

    /// It is at work when the night begins: its packs are there, and no index of them.
    fn begins_at_night(&mut self, ground: &mut Ground, day: u64) {
        let time = text(ground.time((day + 1) * DAY + NIGHT - 300));
        let line = Proxy::start(ground.server.address(), Fault::Hold, &format!("POST /{NAME}/index/"));
        let host = ground.host(NAME);
        let restic = host.restic.through(line.address()).variable("TZ", "UTC");
        let files = host.files();
        let backup =
            restic.start(["backup", "--json", "--no-scan", "--time", &time, files.to_str().unwrap()]);
        line.wait_for_fault();
        ground.receive(NAME, (day + 1) * DAY + NIGHT - 300);
        self.over_night = Some((line, restic, backup));
    }

    /// It ends after the night.
    pub(super) fn after_night(&mut self, ground: &mut Ground, day: u64) {
        let Some((line, _restic, backup)) = self.over_night.take() else { return };
        line.let_through();
        let printed = backup.end().expect_code(0).stdout;
        let Backup { snapshot, added } = Backup::reported(&printed);
        let left = PARTS - day;
        assert!(added < BYTES + left * PART_BYTES as u64 + AGAIN_MAX, "{added} bytes were sent");
        let time = ground.time((day + 1) * DAY + NIGHT - 300);
        ground.host(NAME).note_first(snapshot, time);
        ground.receive(NAME, (day + 1) * DAY + 5 * 3600);
    }
}
