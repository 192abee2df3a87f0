//! `restic forget --prune` at the maintenance server of a bucket, and what undoes it.

use pawl_tests::clients::Backup;
use pawl_tests::content::noise;
use pawl_tests::faults::{Fault, Which};
use pawl_tests::http::{Body, Client, Request};
use pawl_tests::maintenance::{batch_of, maintain};
use pawl_tests::on_each_s3;
use pawl_tests::program::program;
use pawl_tests::s3::S3;
use pawl_tests::store::plant;
use pawl_tests::wait;

use super::host::{PRUNE, VERSION, host_with_five_backups};

on_each_s3! {
    what_was_pruned_is_undeleted_and_restores_byte_for_byte,
    a_purge_before_its_time_removes_nothing_of_a_bucket,
    a_prune_that_is_killed_is_completed_by_the_next_and_undone,
    a_backup_goes_on_while_prune_and_restore_run,
    maintenance_does_not_use_the_credential_of_the_door,
    forged_times_do_not_steer_what_is_forgotten,
    a_night_in_a_bucket_stops_while_the_store_is_gone_and_is_done_when_it_is_back,
}

/// Drill 1.
fn what_was_pruned_is_undeleted_and_restores_byte_for_byte(s3: &S3) {
    let host = host_with_five_backups(s3);
    let (before, versions) = (host.visible(), host.bucket.snapshot());
    let mut door = host.door();
    host.measured("prune", || door.restic(VERSION, "web1").succeed(PRUNE));
    assert_eq!(host.restic.snapshots(), host.snapshots[4..]);
    host.restic.check();
    let after = host.visible();
    assert!(before.iter().any(|(key, bytes)| key.contains("/data/") && after.get(key) != Some(bytes)));
    // No version is gone: what is out of sight is behind a marker.
    assert_eq!(versions.lost_in(&host.bucket.snapshot()), Vec::<String>::new());
    door.stop();
    let undone = host.maintain(&["undelete", &door.one_batch(), "--json"]).expect_code(0).json();
    assert!(undone["brought_back"].as_u64().unwrap() > 4, "{undone}");
    let back = host.visible();
    assert!(before.iter().all(|(key, bytes)| back.get(key) == Some(bytes)));
    host.assert_all_restore();
    assert_eq!(door.deleted().len(), 0);
}

fn forged_times_do_not_steer_what_is_forgotten(s3: &S3) {
    let host = host_with_five_backups(s3);
    let files = host.restic.home().join("files");
    let forged = host.restic.report_of_backup(&files, &["--time", "2200-01-01 00:00:00"]).snapshot;
    let password = host.restic.home().join("password");
    plant(&password, b"secret");
    let (restic, password) = (program("restic-0.19"), password.to_str().unwrap());
    let restic = restic.to_str().unwrap();
    let args =
        ["forget", "web1", "--keep-last", "3", "--json", "--restic", restic, "--password-file", password];
    let report = maintain(&host.server.place(), &args).expect_code(1).json();
    assert_eq!((report["removed"].as_u64(), report["suspicious"].as_u64()), (Some(2), Some(1)), "{report}");
    let mut left = host.restic.snapshots();
    assert!(left.contains(&forged));
    left.retain(|id| *id != forged);
    assert_eq!(left, host.snapshots[2..]);
    let batch = report["batch"].as_str().unwrap();
    let _ = maintain(&host.server.place(), &["undelete", batch]).expect_code(0);
    let file = format!("snapshots/{forged}");
    let _ = maintain(&host.server.place(), &["delete", "web1", &file]).expect_code(0);
    host.assert_all_restore();
}

fn a_purge_before_its_time_removes_nothing_of_a_bucket(s3: &S3) {
    let host = host_with_five_backups(s3);
    let mut door = host.door();
    let forgotten = &host.snapshots[0];
    let (key, content) =
        host.visible().into_iter().find(|(key, _)| key.ends_with(&format!("snapshots/{forgotten}"))).unwrap();
    door.restic(VERSION, "web1").succeed(PRUNE);
    door.stop();
    let before = host.bucket.snapshot();
    let kept = host.maintain(&["purge", "--assume-clock-synced", "--json"]).expect_code(0).json();
    assert_eq!(kept[0]["outcome"], "kept", "{kept}");
    assert_eq!(before.lost_in(&host.bucket.snapshot()), Vec::<String>::new());
    // The forgotten snapshot, sent again by the host, is refused.
    let url = format!("/web1/snapshots/{forgotten}");
    let credential = host.server.add_host("web1-again", &["--repository", "web1"]);
    let client = Client::new(host.server.address(), &credential.user, &credential.password);
    let refused = client.send(Request::new("POST", &url).body(Body::Sized(content))).unwrap();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(host.bucket.get(&key).is_err());
}

fn a_prune_that_is_killed_is_completed_by_the_next_and_undone(s3: &S3) {
    let host = host_with_five_backups(s3);
    let before = host.visible();
    let mut door = host.door();
    let admin = door.restic(VERSION, "web1");
    let run = admin.start(PRUNE);
    wait::until("some files are hidden", || {
        let now = host.visible();
        (before.iter().filter(|(key, bytes)| now.get(*key) != Some(bytes)).count() >= 3).then_some(())
    });
    door.kill();
    run.kill();
    door.start_again();
    admin.succeed(["unlock", "--remove-all"]);
    admin.succeed(PRUNE);
    host.restic.check();
    door.stop();
    let first = batch_of(&door.deleted()[0]);
    let _ = door.run_command(&["undelete", &first]).expect_code(0);
    let back = host.visible();
    assert!(before.iter().all(|(key, bytes)| back.get(key) == Some(bytes)));
    host.assert_all_restore();
}

/// Drill 7: a backup that has sent its data, and has not said yet what it is, while admins prune and restore.
fn a_backup_goes_on_while_prune_and_restore_run(s3: &S3) {
    let host = host_with_five_backups(s3);
    let mut door = host.door();
    let admin = door.restic(VERSION, "web1");
    admin.succeed(["forget", "--keep-last", "1"]);
    let other = host.restic.home().join("other");
    plant(&other.join("large"), &noise("large", 20_000_000));
    host.line.add(Which::first("PUT", "/web1/index/"), Fault::Stall);
    let backup = host.restic.start(["backup", "--json", other.to_str().unwrap()]);
    host.line.wait_for_faults(1);
    // restic respects the lock of the host: its prune is refused, and harms nothing.
    let refused = admin.run(["prune", "--max-unused", "0"]);
    assert!(refused.stderr.contains("locked"), "{refused:?}");
    door.stop();
    let packs: Vec<_> =
        host.visible().into_iter().filter(|(key, _)| key.contains("/data/")).take(4).collect();
    for (number, (key, _)) in packs.iter().enumerate() {
        match number % 2 {
            0 => drop(host.bucket.put(key, b"overwritten meanwhile").unwrap()),
            _ => host.bucket.delete(key).unwrap(),
        }
    }
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    host.line.let_through();
    let snapshot = Backup::reported(&backup.end().expect_code(0).stdout).snapshot;
    let now = host.visible();
    assert!(packs.iter().all(|(key, content)| now.get(key) == Some(content)));
    door.start_again();
    host.measured("prune", || admin.succeed(["prune", "--max-unused", "0"]));
    host.restic.check();
    let target = host.restic.home().join("restored-other");
    host.restic.succeed(["restore", &snapshot, "--target", target.to_str().unwrap()]);
    let restored = target.join(other.strip_prefix("/").unwrap()).join("large");
    assert!(std::fs::read(restored).unwrap() == std::fs::read(other.join("large")).unwrap());
    host.assert_restores(&host.restic, 4);
}

fn maintenance_does_not_use_the_credential_of_the_door(s3: &S3) {
    let bucket = s3.bucket("pawl", pawl_tests::bucket::Kind::Versioned);
    let server = pawl_tests::server::Server::build().bucket(&bucket).start();
    let refused = maintain(&server.place(), &["deleted"]).expect_code(1);
    assert!(refused.stderr.contains("maintenance.credentials_file"), "{refused:?}");
}

fn a_night_in_a_bucket_stops_while_the_store_is_gone_and_is_done_when_it_is_back(s3: &S3) {
    let host = host_with_five_backups(s3);
    let before = host.visible();
    let password = host.restic.home().join("password");
    plant(&password, b"secret");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (restic, password) = (program("restic-0.19"), password.to_str().unwrap());
    let run = || {
        let options = ["--restic", restic.to_str().unwrap(), "--password-file", password];
        let args = ["run", "--keep-last", "2", "--max-share", "80%", "--json"];
        maintain(&host.server.place(), &[&args[..], &options].concat())
    };
    host.line.go_away();
    let gone = run().expect_code(2).json();
    assert!(gone["error"].is_string() && gone["repositories"] == 0, "{gone:#}");
    host.line.come_back();
    assert_eq!(host.visible(), before);
    let report = run().expect_code(0).json();
    let ends: Vec<_> = report["steps"].as_array().unwrap().iter().map(|step| &step["ended"]).collect();
    assert_eq!(ends, ["well"; 6], "{report:#}");
    assert_eq!(host.restic.snapshots(), host.snapshots[3..]);
    host.restic.check();
    let forget = report["steps"].as_array().unwrap().iter().find(|step| step["step"] == "forget").unwrap();
    let batch = forget["batch"].as_str().unwrap().to_owned();
    let _ = host.maintain(&["undelete", &batch]).expect_code(0);
    host.assert_all_restore();
}
