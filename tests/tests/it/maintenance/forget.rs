//! `restic forget --prune` at the maintenance server, and what undoes it.

use std::fs;

use pawl_tests::clients::Version;
use pawl_tests::maintenance::{Maintenance, batch_of};
use pawl_tests::store::{self, fact, plant};
use pawl_tests::wait;
use pawl_tests::with_each_restic;

use super::{files_below, host_with_five_backups};

with_each_restic! {
    what_was_pruned_is_undeleted_and_restores_byte_for_byte,
    a_young_snapshot_is_kept_and_so_is_what_it_needs,
    a_backup_goes_on_while_prune_runs,
}

fn what_was_pruned_is_undeleted_and_restores_byte_for_byte(version: Version) {
    let host = host_with_five_backups(version);
    let before = host.server.stored();
    let mut door = Maintenance::for_version(&host.server, version);
    let visible = host.visible();
    door.restic(version, "web1").succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    assert_eq!(host.restic.snapshots(), host.snapshots[4..]);
    host.restic.check();
    host.assert_restores(&host.snapshots[4], &host.states[4]);
    let gone: Vec<_> = visible.difference(&host.visible()).cloned().collect();
    assert!(gone.iter().any(|path| path.to_string_lossy().contains("/data/")), "{gone:?}");
    // All that is out of sight lies in the batch.
    let batch = door.one_batch();
    let pending = host.server.data().join(".pawl/deleted").join(&batch);
    for path in &gone {
        let name = path.file_name().unwrap();
        let found = files_below(&pending).into_iter().find(|hidden| hidden.file_name() == Some(name));
        assert!(found.is_some(), "{} is neither visible nor pending", path.display());
    }
    // What prune itself wrote and removed again is there as well.
    let listed = door.deleted();
    assert_eq!(listed[0]["principal"], "tester");

    door.stop();
    let undone = door.run_command(&["undelete", &batch, "--json"]).expect_code(0).json();
    assert_eq!(undone["brought_back"], listed[0]["files"], "{undone}");
    before.assert_kept(&host.server.stored());
    host.assert_all_restore();
    assert_eq!(door.deleted().len(), 0);
    assert!(!host.server.data().join(".pawl/tombstones/web1/snapshots").join(&host.snapshots[0]).exists());
}

/// A99: An admin's restic is refused a young snapshot and prunes what only that snapshot needs.
fn a_young_snapshot_is_kept_and_so_is_what_it_needs(version: Version) {
    let host = host_with_five_backups(version);
    for snapshot in &host.snapshots[1..] {
        let path = host.server.data().join("web1/snapshots").join(snapshot);
        store::back_date(&path, super::DAY * 6);
    }
    let door = Maintenance::for_version(&host.server, version);
    let visible = host.visible();
    let admin = door.restic(version, "web1");
    admin.refused(["forget", "--keep-last", "1", "--prune"], "403 snapshot is younger than the floor");
    // The oldest is gone, nothing else, whatever restic made of the refusal.
    let gone: Vec<_> = visible.difference(&host.visible()).cloned().collect();
    assert!(gone.iter().all(|path| path.ends_with(&host.snapshots[0])), "{gone:?}");
    host.restic.check();
    for (snapshot, state) in host.snapshots.iter().zip(&host.states).skip(1) {
        host.assert_restores(snapshot, state);
    }
    // The next run is another one.
    if version != Version::V0_14 {
        admin.succeed(["forget", "--keep-within", "8d", "--prune"]);
        host.restic.check();
    }
}

fn a_backup_goes_on_while_prune_runs(version: Version) {
    let host = host_with_five_backups(version);
    let door = Maintenance::for_version(&host.server, version);
    let admin = door.restic(version, "web1");
    admin.succeed(["forget", "--keep-last", "1"]);
    let other = host.restic.home().join("other");
    plant(&other.join("large"), &pawl_tests::content::noise("large", 20_000_000));
    // The host reads slowly, so that prune finds it at work; restic waits for locks by itself only from 0.16 on.
    let backup = host.restic.start(["backup", "--limit-upload", "10000", "--json", other.to_str().unwrap()]);
    wait::until("the backup has its lock", || {
        (!files_below(&host.server.data().join("web1/locks")).is_empty()).then_some(())
    });
    // Restic respects the lock of the host: prune is refused by itself or waits, and harms nothing.
    let _ = admin.run(["prune"]);
    let ended = backup.end().expect_code(0);
    let snapshot = pawl_tests::clients::Backup::reported(&ended.stdout).snapshot;
    admin.succeed(["prune", "--max-unused", "0"]);
    host.restic.check();
    let target = host.restic.home().join("restored-other");
    host.restic.succeed(["restore", &snapshot, "--target", target.to_str().unwrap()]);
    let restored = target.join(other.strip_prefix("/").unwrap()).join("large");
    assert!(fs::read(restored).unwrap() == fs::read(other.join("large")).unwrap());
}

/// A96: An older batch is brought back after a later prune, so that what comes back is incomplete.
#[test]
fn later_batches_come_back_with_an_earlier_one_unless_it_alone_is_asked_for() {
    let version = Version::V0_19;
    for only in [false, true] {
        let host = host_with_five_backups(version);
        let mut door = Maintenance::start(&host.server);
        let admin = door.restic(version, "web1");
        admin.succeed(["forget", &host.snapshots[0], "--prune", "--max-unused", "0"]);
        // A server that was started anew begins another batch.
        door.stop();
        door.start_again();
        admin.succeed(["forget", &host.snapshots[1], &host.snapshots[2], "--prune", "--max-unused", "0"]);
        door.stop();
        let batches: Vec<_> = door.deleted().iter().map(batch_of).collect();
        assert_eq!(batches.len(), 2);
        if only {
            let undone = door.run_command(&["undelete", &batches[0], "--only"]).expect_code(0);
            assert!(undone.stdout.contains("Brought back"), "{undone:?}");
            assert_eq!(door.one_batch(), batches[1]);
            assert_eq!(host.restic.snapshots().len(), 3);
            let gone = door.run_command(&["undelete", &batches[0]]).expect_code(1);
            assert!(gone.stderr.contains("there is no batch"), "{gone:?}");
        }
        let _ = door.run_command(&["undelete", &batches[usize::from(only)]]).expect_code(0);
        assert_eq!(door.deleted().len(), 0);
        host.assert_all_restore();
    }
}

#[test]
fn facts_come_back_and_usage_is_what_is_visible() {
    let version = Version::V0_19;
    let host = host_with_five_backups(version);
    let mut door = Maintenance::start(&host.server);
    let numbers = |name: &str| -> Vec<u64> {
        let text = fact(&host.server.data().join("web1"), name).unwrap_or_else(|| "1 0 0 0 0".to_owned());
        text.split(' ').skip(1).map(|number| number.parse().unwrap()).collect()
    };
    // What the keeper of the hosts has counted, what maintenance has added, less what it has taken away.
    let usage = || {
        let (own, of) = (numbers("usage"), numbers("maintained"));
        [own[0] + of[0] - of[2], own[1] + of[1] - of[3]]
    };
    let visible = || {
        let files = host.visible();
        let bytes: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len().max(4096)).sum();
        [bytes, files.len() as u64]
    };
    wait::until("what was stored is written", || (usage() == visible()).then_some(()));
    let oldest = host.server.data().join("web1/snapshots").join(&host.snapshots[0]);
    let (creator, received) = (fact(&oldest, "creator"), fact(&oldest, "received"));
    door.restic(version, "web1").succeed(["forget", "--keep-last", "1", "--prune"]);
    assert_eq!(usage(), visible());
    let batch = door.one_batch();
    door.stop();
    let _ = door.run_command(&["undelete", &batch]).expect_code(0);
    assert_eq!(usage(), visible());
    assert_eq!((fact(&oldest, "creator"), fact(&oldest, "received")), (creator, received));
}
