//! Making deletions final, and what keeps them from it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pawl_tests::clients::Version;
use pawl_tests::maintenance::{Maintenance, maintain_at_time};
use pawl_tests::store::Stored;
use serde_json::Value;

use super::{Host, files_below, host_with_five_backups};

const VERSION: Version = Version::V0_19;
/// Bytes a second: what passes at once however low the rate is.
const RATE: u64 = 256 << 10;

/// A host whose four older snapshots were forgotten and pruned, and the server, which was stopped.
fn pruned() -> (Host, Maintenance) {
    let host = host_with_five_backups(VERSION);
    let mut door = Maintenance::start(&host.server);
    door.restic(VERSION, "web1").succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    door.stop();
    (host, door)
}

fn pending(host: &Host) -> Vec<PathBuf> {
    let is_file = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
    files_below(&host.server.data().join(".pawl/deleted")).into_iter().filter(is_file).collect()
}

fn purge_at(host: &Host, time: &str, options: &[&str]) -> Value {
    let args: Vec<_> = ["purge", "--json"].iter().chain(options).copied().collect();
    maintain_at_time(time, &host.server.place(), &args).expect_code(0).json()
}

/// A91: Maintenance is made to purge before its time, by running it early.
#[test]
fn a_purge_before_its_time_removes_nothing() {
    let (host, door) = pruned();
    let before = pending(&host);
    assert!(before.len() > 8);
    let purged = door.run_command(&["purge", "--assume-clock-synced"]).expect_code(0);
    assert!(purged.stdout.contains("its delay has not passed"), "{purged:?}");
    assert_eq!(pending(&host), before);
}

/// A92: Somebody sets the clock of the server forward, so that deletions seem old enough to be final.
#[test]
fn a_clock_set_forward_makes_nothing_final() {
    let (host, door) = pruned();
    let before = pending(&host);
    for time in ["+15d", "+400d"] {
        let verdicts = purge_at(&host, time, &["--assume-clock-synced"]);
        let reason = verdicts[0]["reason"].as_str().unwrap();
        assert!(reason.contains("of the 7 days that are needed"), "{verdicts}");
        assert_eq!(pending(&host), before);
    }
    // Nor does one that does not say that it follows others.
    for day in 1..=7 {
        let verdicts = purge_at(&host, &format!("+{}d", 14 + day), &[]);
        assert_eq!(verdicts[0]["outcome"], "kept", "{verdicts}");
    }
    assert!(purge_at(&host, "+30d", &[])[0]["reason"].as_str().unwrap().contains("synchronised"));
    // Nor one that stands before what happened.
    assert!(
        purge_at(&host, "-1d", &["--assume-clock-synced"])[0]["reason"].as_str().unwrap().contains("delay")
    );
    assert_eq!(pending(&host), before);
    let batch = door.one_batch();
    let _ = door.run_command(&["undelete", &batch]).expect_code(0);
    host.assert_all_restore();
}

#[test]
fn what_waited_and_was_seen_is_purged_and_the_rest_stays_whole() {
    let (host, door) = pruned();
    let before = host.server.stored();
    for day in 1..=6 {
        let verdicts = purge_at(&host, &format!("+{day}d"), &["--assume-clock-synced"]);
        assert_eq!(verdicts[0]["outcome"], "kept", "{verdicts}");
    }
    let files = pending(&host).len();
    let told = purge_at(&host, "+15d", &["--assume-clock-synced", "--dry-run"]);
    assert_eq!(told[0]["outcome"], "kept", "a dry run notes nothing: {told}");
    let _ = purge_at(&host, "+13d", &["--assume-clock-synced"]);
    let told = purge_at(&host, "+15d", &["--assume-clock-synced", "--dry-run"]);
    assert_eq!((&told[0]["outcome"], &told[0]["removed_files"]), (&"would be purged".into(), &files.into()));
    assert_eq!(pending(&host).len(), files);

    let verdicts = purge_at(&host, "+15d", &["--assume-clock-synced"]);
    assert_eq!((&verdicts[0]["outcome"], &verdicts[0]["removed_files"]), (&"purged".into(), &files.into()));
    assert_eq!(pending(&host), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(host.server.data().join(".pawl/deleted")).unwrap().count(), 0);
    assert_eq!(door.deleted().len(), 0);
    // Nothing but the batch is gone, and the tombstones are not.
    let losses = before.losses(&host.server.stored());
    assert!(losses.iter().all(|line| line.starts_with("- .pawl/deleted/")), "{losses:?}");
    assert!(host.server.data().join(".pawl/tombstones/web1/snapshots").join(&host.snapshots[0]).exists());
    host.restic.check();
    host.assert_restores(&host.snapshots[4], &host.states[4]);
}

#[test]
fn a_purge_reads_no_faster_than_it_may() {
    let (host, _door) = pruned();
    let mut bytes = 0;
    for lost in pending(&host).into_iter().filter(|path| path.to_string_lossy().contains("/data/")) {
        let (content, name) = (fs::read(&lost).unwrap(), lost.file_name().unwrap().to_str().unwrap());
        bytes += content.len() as u64;
        let visible = pawl_tests::store::path_of(host.server.data(), &format!("web1/data/{name}"));
        pawl_tests::store::plant(&visible, &content);
    }
    for day in 1..=7 {
        let _ = purge_at(&host, &format!("+{day}d"), &["--assume-clock-synced"]);
    }
    // As much as passes in a second does so at once.
    let beyond = bytes.checked_sub(RATE).unwrap();
    assert!(beyond >= RATE, "too little to tell the pace by: {bytes} bytes");
    let began = Instant::now();
    let verdicts = purge_at(&host, "+15d", &["--assume-clock-synced", "--bytes-per-second", "256KiB"]);
    assert_eq!(verdicts[0]["outcome"], "purged", "{verdicts}");
    assert!(began.elapsed() >= Duration::from_millis(beyond * 1000 / RATE), "{:?}", began.elapsed());
}

#[test]
fn a_pending_copy_is_kept_while_the_visible_one_is_damaged() {
    let (host, door) = pruned();
    let batch = door.one_batch();
    let lost = pending(&host).into_iter().find(|path| path.to_string_lossy().contains("/data/")).unwrap();
    let name = lost.file_name().unwrap().to_str().unwrap();
    let visible = pawl_tests::store::path_of(host.server.data(), &format!("web1/data/{name}"));
    pawl_tests::store::plant(&visible, b"rotten");
    for day in 1..=7 {
        let _ = purge_at(&host, &format!("+{day}d"), &["--assume-clock-synced"]);
    }
    let verdicts = purge_at(&host, "+15d", &["--assume-clock-synced"]);
    assert!(verdicts[0]["reason"].as_str().unwrap().contains("damaged"), "{verdicts}");
    assert_eq!(pending(&host), vec![lost]);
    // It does not come back over what stands there, either.
    let stored = Stored::read(host.server.data());
    let undone = door.run_command(&["undelete", &batch]).expect_code(1);
    assert!(undone.stdout.contains("another file") || undone.stdout.contains("other content"), "{undone:?}");
    stored.assert_kept(&host.server.stored());
}
