//! The first start on what people have.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use pawl_tests::clients::{Restic, Version};
use pawl_tests::command::pawl_command;
use pawl_tests::content::noise;
use pawl_tests::disk::Union;
use pawl_tests::maintenance::Maintenance;
use pawl_tests::program::Run;
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use pawl_tests::wait;
use rustix::process::Signal;

#[test]
#[ignore = "needs root, FUSE and mergerfs: scripts/setup --full"]
fn on_a_file_system_whose_renames_always_replace_all_works_and_nothing_is_replaced() {
    let Some(disk) = Union::new() else { return };
    let config = "[maintenance]\nmin_snapshot_age_days = 0";
    let mut server = Server::build().data(&disk.data()).config(config).start();
    for missing in ["no unnamed files (O_TMPFILE)", "cannot rename without replacing (RENAME_NOREPLACE)"] {
        let _ = server.log().wait_for_line(&["WARN", missing]);
    }
    let credential = server.add_host("web1", &[]);
    let restic = Restic::new(Version::V0_19, &credential);
    restic.succeed(["init"]);
    let files = restic.home().join("files");
    for day in ["one", "two"] {
        plant(&files.join(day), &noise(day, 300_000));
        restic.backup(&files);
    }
    let before = server.stored();
    let other = server.client(&credential).post("/web1/config", b"another config").unwrap();
    assert_eq!(other.status, 403);
    before.assert_unchanged(&server.stored());

    let mut door = Maintenance::start(&server);
    let admin = door.restic(Version::V0_19, "web1");
    admin.succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    restic.check();
    let batch = door.one_batch();
    door.stop();
    let _ = door.run_command(&["undelete", &batch]).expect_code(0);
    assert_eq!(restic.snapshots().len(), 2);
    restic.check();
    server.kill();
    server.start_again();
    restic.backup(&files);
    restic.check();
    assert!(!server.log().text().contains("ERROR"), "{}", server.log().text());
    // What waits there was handed over ahead of need; nothing that is stored has a second name there.
    for waiting in fs::read_dir(server.data().join(".pawl/staging")).unwrap() {
        let waiting = waiting.unwrap().metadata().unwrap();
        assert_eq!((waiting.len(), waiting.nlink()), (0, 1));
    }
}

/// As in a container that was not given the right, or on a volume of a file server that allows it to nobody.
#[test]
#[ignore = "needs root"]
fn on_a_volume_that_gives_files_to_nobody_the_first_start_works_and_says_so() {
    const VOLUME_OWNER: u32 = 12345;
    let place = tempfile::tempdir().unwrap();
    chown(place.path(), Some(VOLUME_OWNER), Some(VOLUME_OWNER)).unwrap();
    let data = place.path().join("data");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-chown", "--inh-caps=-chown"]).arg(pawl_command().get_program());
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let mut run = Run::start(command);
    wait::until("the server listens", || {
        assert!(!run.has_ended(), "{}", run.seen());
        run.seen().contains("listening on").then_some(())
    });
    let seen = run.seen();
    let said = format!("{}: what is new there cannot be given to uid {VOLUME_OWNER}", place.path().display());
    assert!(seen.contains(&said), "{seen}");
    assert_eq!(fs::metadata(&data).unwrap().uid(), 0);
    let _ = run.end_by(Signal::TERM).expect_code(0);
}
