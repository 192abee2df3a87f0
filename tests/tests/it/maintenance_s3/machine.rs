//! The machine of the server is destroyed, with Pawl's own directory: the bucket is all that is left.

use pawl_tests::clients::Restic;
use pawl_tests::maintenance::maintain;
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use pawl_tests::server::Server;

use super::host::{VERSION, host_with_five_backups, write_credentials};

on_each_s3! {
    a_new_server_on_the_same_bucket_restores_everything,
}

/// Drill 9.
fn a_new_server_on_the_same_bucket_restores_everything(s3: &S3) {
    let mut host = host_with_five_backups(s3);
    let mut door = host.door();
    door.restic(VERSION, "web1").succeed(["forget", &host.snapshots[0], "--prune", "--max-unused", "0"]);
    door.kill();
    host.server.kill();

    let file = host.restic.home().join("credentials-of-the-new-machine");
    write_credentials(&file, &host.roles.maintenance);
    let table =
        format!("[maintenance]\nmin_snapshot_age_days = 0\ncredentials_file = \"{}\"", file.display());
    let writer = host.bucket.with(&host.roles.writer).through(host.line.address());
    // The directory of the old one goes with it.
    host.server = Server::build().bucket(&writer).config(&table).start();
    let server = &host.server;
    // The old machine holds the lock of maintenance until it has shown no sign of life for long enough.
    let refused = maintain(&server.place(), &["restore", "web1"]).expect_code(2);
    assert!(refused.stderr.contains("other maintenance is at work in this bucket"), "{refused:?}");
    let rescue = server.add_host("rescue", &["--role", "restore", "--repository", "web1"]);
    let restic = Restic::new(VERSION, &rescue);
    assert_eq!(restic.snapshots(), host.snapshots[1..]);
    host.measured("check and restore of 4 snapshots", || {
        restic.check();
        for day in 1..5 {
            host.assert_restores(&restic, day);
        }
    });
    // What was deleted is known there as well, and the new credential adds nothing.
    let deleted = maintain(&server.place(), &["deleted", "--json"]).expect_code(0).json();
    assert_eq!(deleted.as_array().unwrap().len(), 1, "{deleted}");
    let before = host.visible();
    let refused = restic.run(["backup", host.files().to_str().unwrap()]);
    assert!(refused.code != Some(0), "{refused:?}");
    assert!(host.visible() == before, "nothing was added");
}
