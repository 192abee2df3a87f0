//! The power is cut, at any moment, while hosts store and maintenance prunes.
//!
//! Invariant: what was confirmed before a cut is there after it, and nothing that is there is a part of a file.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod look;
mod promises;
mod work;

use std::env;
use std::path::Path;

use pawl_tests::not_tested;
use pawl_tests::power::{Cut, Kept, Kind, Replay};
use pawl_tests::random::Random;

use look::look;
use work::{DISK_BYTES, Extent, Recording};

/// Cuts on each file system, besides those just when something had been done.
const CUTS: u64 = 32;
/// What they leave of what was not flushed.
const KEPT: [Kept; 5] =
    [Kept::Nothing, Kept::Sixteenths(1), Kept::Sixteenths(8), Kept::Sixteenths(15), Kept::All];
/// Where disks lie that are looked at.
const IN_MEMORY: &str = "/dev/shm";
/// The disk that forgets does so with this many flushes: more than one upload needs, with all that is around it.
const FORGOTTEN: usize = 30;
/// How often it does so.
const TIMES: usize = 3;

/// Chooses what is stored, and where and how the power is cut. `PAWL_SEED` sets another.
fn seed() -> u64 {
    env::var_os("PAWL_SEED").map_or(20_261_121, |seed| seed.to_str().unwrap().parse().unwrap())
}

/// In the order of their positions: cuts one in each part of the tape, half of them just behind a flush; and one that
/// leaves nothing else just when something larger had been done.
fn cuts(recording: &Recording, random: &mut Random) -> Vec<Cut> {
    let &Recording { begin, end, .. } = recording;
    let part = |number: u64| begin + (end - begin) * to_usize(number) / to_usize(CUTS);
    let mut cuts: Vec<_> = (0..CUTS)
        .map(|number| {
            let (from, to) = (part(number) + 1, part(number + 1));
            let flushes = recording.disk.tape().flushes(from, to);
            let any = from + to_usize(random.below((to - from) as u64 + 1));
            let flush = to_usize(random.below(flushes.len().max(1) as u64));
            let at = flushes.get(flush).copied().filter(|_| number % 2 == 0).unwrap_or(any);
            let seed = random.below(u64::MAX);
            Cut { at, kept: KEPT[to_usize(random.below(KEPT.len() as u64))], seed }
        })
        .collect();
    let done = recording.promises.milestones();
    cuts.extend(done.into_iter().map(|at| Cut { at, kept: Kept::Nothing, seed: 0 }));
    cuts.sort_by_key(|cut| cut.at);
    cuts
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// Whether this kernel has what the disk and its file system are made of. Others are told loudly that nothing was tested.
fn can_be_tested(kind: Kind) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    let name = format!("{kind:?}").to_lowercase();
    let is_there = Path::new("/dev/fuse").exists() && known.lines().any(|line| line.ends_with(&name));
    if !is_there {
        not_tested(&format!("this kernel has no /dev/fuse, or no {name}"));
    }
    is_there
}

fn survives_cuts(kind: Kind) {
    if !can_be_tested(kind) {
        return;
    }
    let recording = Recording::make(kind, seed(), Extent::Everything);
    let mut replay = Replay::new(recording.disk.tape(), DISK_BYTES, kind.sector());
    let place = tempfile::tempdir_in(IN_MEMORY).unwrap();
    let mut in_question = 0;
    for cut in cuts(&recording, &mut Random::new(seed())) {
        let (disk, sectors) = replay.disk(cut, place.path());
        let told = format!(
            "{kind:?}, PAWL_SEED={}, {cut:?} between {} and {}, {sectors} sectors in question",
            seed(),
            recording.begin,
            recording.end
        );
        println!("{told}"); // for a server that does not start, which ends the test
        let wrong = look(&recording, &disk, cut.at);
        assert!(wrong.is_empty(), "{told}:\n{}", wrong.join("\n"));
        in_question += sectors;
    }
    assert!(in_question > 0, "no cut was between a write and its flush");
}

#[test]
#[ignore = "mounts file systems of its own; scripts/test --full runs it"]
fn nothing_confirmed_is_lost_on_ext4() {
    survives_cuts(Kind::Ext4);
}

#[test]
#[ignore = "mounts file systems of its own; scripts/test --full runs it"]
fn nothing_confirmed_is_lost_on_xfs() {
    survives_cuts(Kind::Xfs);
}

#[test]
#[ignore = "mounts file systems of its own; scripts/test --full runs it"]
fn nothing_confirmed_is_lost_on_btrfs() {
    survives_cuts(Kind::Btrfs);
}

/// That the tests above would notice: just when a backup was promised, its last files are among what is forgotten.
#[test]
#[ignore = "mounts file systems of its own; scripts/test --full runs it"]
fn a_disk_that_forgets_what_it_flushed_is_found_out() {
    if !can_be_tested(Kind::Ext4) {
        return;
    }
    let recording = Recording::make(Kind::Ext4, seed(), Extent::Uploads);
    let mut replay = Replay::new(recording.disk.tape(), DISK_BYTES, Kind::Ext4.sector());
    let place = tempfile::tempdir_in(IN_MEMORY).unwrap();
    let mut promised = recording.promises.milestones();
    promised.sort_unstable();
    for &at in promised.iter().rev().take(TIMES).rev() {
        let cut = Cut { at, kept: Kept::Nothing, seed: 0 };
        let disk = replay.forgetful_disk(cut, FORGOTTEN, place.path());
        let wrong = look(&recording, &disk, at);
        let lost = wrong.iter().filter(|line| line.starts_with("lost: ")).count();
        assert!(lost > 0, "the disk lost {FORGOTTEN} flushes, and nobody noticed:\n{}", wrong.join("\n"));
        println!("{lost} lost");
    }
}
