//! `kill -9` in the middle of maintenance. Run again, it completes.

use std::path::Path;

use pawl_tests::clients::Version;
use pawl_tests::command::pawl_command;
use pawl_tests::maintenance::{Maintenance, batch_of, maintain_at_time, start_at_time};
use pawl_tests::program::Run;
use pawl_tests::wait;

use super::{Host, files_below, host_with_five_backups};

const VERSION: Version = Version::V0_19;

fn pending(host: &Host) -> usize {
    let is_file = |path: &&std::path::PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
    files_below(&host.server.data().join(".pawl/deleted")).iter().filter(is_file).count()
}

/// Every file that was there is visible, or pending, with the same bytes.
fn assert_nothing_lost(host: &Host, before: &std::collections::BTreeSet<std::path::PathBuf>) {
    let deleted = files_below(&host.server.data().join(".pawl/deleted"));
    for path in before {
        let name = path.file_name().unwrap();
        let there = path.exists() || deleted.iter().any(|hidden| hidden.file_name() == Some(name));
        assert!(there, "{} is neither visible nor pending", path.display());
    }
}

#[test]
fn a_prune_that_is_killed_is_completed_by_the_next_and_undone_as_a_whole() {
    for files in [1, 3, 6, 9] {
        let host = host_with_five_backups(VERSION);
        let mut door = Maintenance::start(&host.server);
        let before = host.visible();
        let admin = door.restic(VERSION, "web1");
        let run = admin.start(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
        wait::until("some files are hidden", || (pending(&host) >= files).then_some(()));
        door.kill();
        run.kill();
        assert_nothing_lost(&host, &before);
        door.start_again();
        admin.succeed(["unlock", "--remove-all"]);
        admin.succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
        host.restic.check();
        host.assert_restores(&host.snapshots[4], &host.states[4]);
        assert_nothing_lost(&host, &before);
        door.stop();
        let first = batch_of(&door.deleted()[0]);
        let _ = door.run_command(&["undelete", &first]).expect_code(0);
        host.assert_all_restore();
    }
}

/// A command of maintenance on the host's data, as it would be typed.
fn started(host: &Host, args: &[&str]) -> Run {
    let mut command = pawl_command();
    command.arg("maintain").args(args).args(host.server.place());
    Run::start(command)
}

#[test]
fn an_undelete_that_is_killed_is_completed_by_the_next() {
    for left in [10, 6, 2] {
        let host = host_with_five_backups(VERSION);
        let mut door = Maintenance::start(&host.server);
        let before = host.visible();
        door.restic(VERSION, "web1").succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
        door.stop();
        let batch = door.one_batch();
        let run = started(&host, &["undelete", &batch]);
        wait::until("some files are back", || (pending(&host) <= left).then_some(()));
        run.kill();
        assert_nothing_lost(&host, &before);
        if pending(&host) > 0 {
            let _ = door.run_command(&["undelete", &batch]).expect_code(0);
        }
        host.assert_all_restore();
        assert_eq!(pending(&host), 0);
    }
}

#[test]
fn a_purge_that_is_killed_is_completed_by_the_next() {
    let host = host_with_five_backups(VERSION);
    let mut door = Maintenance::start(&host.server);
    door.restic(VERSION, "web1").succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    door.stop();
    let place = host.server.place();
    for day in 1..=6 {
        let _ = maintain_at_time(&format!("+{day}d"), &place, &["purge", "--assume-clock-synced"]);
    }
    let (all, visible) = (pending(&host), host.visible());
    let run = start_at_time("+15d", &place, &["purge", "--assume-clock-synced"]);
    wait::until("some files are gone", || (pending(&host) < all).then_some(()));
    run.kill();
    println!("killed with {} of {all} files left", pending(&host));
    let _ = maintain_at_time("+15d", &place, &["purge", "--assume-clock-synced"]).expect_code(0);
    assert_eq!(pending(&host), 0);
    assert_eq!(door.deleted().len(), 0);
    assert_eq!(host.visible(), visible);
    host.restic.check();
    assert!(Path::new(&host.server.data().join(".pawl/deleted")).read_dir().unwrap().next().is_none());
}
