//! What else admins do, with restic and with `pawl maintain`.

use std::fs;
use std::time::Duration;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::pawl;
use pawl_tests::content::noise;
use pawl_tests::maintenance::Maintenance;
use pawl_tests::server::Server;
use pawl_tests::store::{back_date, plant};
use pawl_tests::{with_each_restic, with_newer_restic};

use super::{files_below, host_with_five_backups};

with_each_restic! {
    keys_tags_locks_and_indexes_are_the_admins_as_always,
}

with_newer_restic! {
    a_snapshot_is_rewritten_in_its_place,
}

fn keys_tags_locks_and_indexes_are_the_admins_as_always(version: Version) {
    let host = host_with_five_backups(version);
    let door = Maintenance::for_version(&host.server, version);
    let admin = door.restic(version, "web1");
    let file = admin.home().join("password");
    plant(&file, b"another");
    admin.succeed(["key", "add", "--new-password-file", file.to_str().unwrap()]);
    let other = door.restic(version, "web1").option("--password-file").option(file.to_str().unwrap());
    other.succeed(["snapshots"]);
    plant(&file.with_extension("new"), b"a third");
    other.succeed(["key", "passwd", "--new-password-file", file.with_extension("new").to_str().unwrap()]);
    assert_ne!(other.run(["snapshots"]).code, Some(0));

    admin.succeed(["tag", "--add", "monthly", &host.snapshots[0]]);
    assert_eq!(admin.snapshots().len(), 5);
    assert!(!admin.snapshots().contains(&host.snapshots[0]));

    // A lock that another left behind: only maintenance removes it while it is live.
    let lock = noise("a lock that blocks everybody", 150);
    let id = pawl_tests::content::id_of(&lock);
    assert_eq!(
        host.server.client(&host.credential).post(&format!("/web1/locks/{id}"), &lock).unwrap().status,
        200
    );
    admin.succeed(["unlock", "--remove-all"]);
    assert_eq!(files_below(&host.server.data().join("web1/locks")).len(), 0);

    let rebuild: &[&str] = if version == Version::V0_14 { &["rebuild-index"] } else { &["repair", "index"] };
    admin.succeed([rebuild, &["--read-all-packs"]].concat());
    admin.check();
    host.restic.check();
    host.assert_restores(&host.snapshots[4], &host.states[4]);
}

fn a_snapshot_is_rewritten_in_its_place(version: Version) {
    let host = host_with_five_backups(version);
    let door = Maintenance::start(&host.server);
    let admin = door.restic(version, "web1");
    admin.succeed(["rewrite", "--forget", "--exclude", "of-day-0", &host.snapshots[1]]);
    let snapshots = host.restic.snapshots();
    assert!(snapshots.len() == 5 && !snapshots.contains(&host.snapshots[1]), "{snapshots:?}");
    admin.succeed(["prune"]);
    host.restic.check();
}

#[test]
fn a_repository_is_upgraded_and_comes_back_as_it_was() {
    let version = Version::V0_19;
    let server = Server::start();
    let credential = server.add_host("web1", &[]);
    let host = Restic::new(version, &credential);
    host.succeed(["init", "--repository-version", "1"]);
    let files = host.home().join("files");
    plant(&files.join("a"), &noise("a", 100_000));
    host.backup(&files);
    let config = fs::read(server.data().join("web1/config")).unwrap();
    let mut door = Maintenance::start(&server);
    door.restic(version, "web1").succeed(["migrate", "upgrade_repo_v2"]);
    assert_ne!(fs::read(server.data().join("web1/config")).unwrap(), config);
    host.check();
    // The old config does not replace the new one.
    let batch = door.one_batch();
    door.stop();
    let undone = door.run_command(&["undelete", &batch]).expect_code(1);
    assert!(undone.stdout.contains("config: a file with other content"), "{undone:?}");
    host.check();
}

#[test]
fn junk_is_deleted_by_name_and_a_repository_as_a_whole() {
    let host = host_with_five_backups(Version::V0_19);
    let place = host.server.place();
    let maintain = |args: &[&str]| pawl_tests::maintenance::maintain(&place, args);
    let junk = noise("no index at all", 500);
    let id = pawl_tests::content::id_of(&junk);
    let target = format!("/web1/index/{id}");
    assert_eq!(host.server.client(&host.credential).post(&target, &junk).unwrap().status, 200);
    assert_ne!(host.restic.run(["check"]).code, Some(0));
    let deleted = maintain(&["delete", "web1", &format!("index/{id}")]).expect_code(0);
    assert!(deleted.stdout.contains("To undo: pawl maintain undelete"), "{deleted:?}");
    host.assert_all_restore();
    assert_eq!(host.server.client(&host.credential).post(&target, &junk).unwrap().status, 403);

    // A young snapshot stays unless that is written out; then nothing of the rest goes, either.
    let visible = host.visible();
    back_date(&host.server.data().join("web1/snapshots").join(&host.snapshots[4]), Duration::from_hours(1));
    let refused = maintain(&["delete", "web1"]).expect_code(1);
    assert!(refused.stderr.contains("younger than the floor"), "{refused:?}");
    let absent = maintain(&["delete", "web1", &format!("data/{id}")]).expect_code(1);
    assert!(absent.stderr.contains("there is no data/"), "{absent:?}");
    let unknown = maintain(&["delete", "web2"]).expect_code(1);
    assert!(unknown.stderr.contains("there is no repository web2"), "{unknown:?}");
    assert_eq!(host.visible(), visible);

    let gone = maintain(&["delete", "web1", "--below-floor", "--json"]).expect_code(0).json();
    assert_eq!(gone["hidden"], visible.len());
    assert!(host.visible().is_empty());
    let begun = host.restic.run(["init"]);
    assert!(begun.code != Some(0) && begun.stderr.contains("already initialised"), "{begun:?}");
    let _ = maintain(&["undelete", gone["batch"].as_str().unwrap()]).expect_code(0);
    assert_eq!(host.visible(), visible);
    host.assert_all_restore();
}

#[test]
fn the_last_key_that_hosts_see_is_not_hidden_and_a_hidden_one_is_shown_again() {
    let server = Server::start();
    let host = Restic::new(Version::V0_19, &clients::ready(&server, "web1"));
    let place = server.place();
    let maintain = |args: &[&str]| pawl_tests::maintenance::maintain(&place, args);
    let listed = maintain(&["key", "list", "web1", "--json"]).expect_code(0).json();
    let keys: Vec<_> = listed.as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 2);
    let _ = maintain(&["key", "hide", "web1", keys[0]]).expect_code(0);
    let last = maintain(&["key", "hide", "web1", keys[1]]).expect_code(1);
    assert!(last.stderr.contains("only key"), "{last:?}");
    let count = || host.succeed(["key", "list", "--json"]).matches("\"id\"").count();
    assert_eq!(count(), 1);
    let _ = maintain(&["key", "expose", "web1", keys[0]]).expect_code(0);
    assert_eq!(count(), 2);
}

#[test]
fn admins_come_and_go_and_only_one_maintenance_works_at_a_time() {
    let server = Server::start();
    let _ = clients::ready(&server, "web1");
    let mut door = Maintenance::start(&server);
    assert!(door.seen().contains("The password is shown only now"), "{}", door.seen());
    let names = door.run_command(&["admin", "list", "--json"]).expect_code(0).json();
    assert_eq!(names, serde_json::json!(["admin", "tester"]));
    let again = door.run_command(&["admin", "add", "tester"]).expect_code(1);
    assert!(again.stderr.contains("pawl maintain admin rotate tester"), "{again:?}");
    let admin = door.restic(Version::V0_19, "web1");
    admin.succeed(["snapshots"]);
    let _ = door.run_command(&["admin", "rotate", "tester"]).expect_code(0);
    admin.refused(["snapshots"], "401");
    let _ = door.run_command(&["admin", "revoke", "tester"]).expect_code(0);
    let unknown = door.run_command(&["admin", "revoke", "tester"]).expect_code(1);
    assert!(unknown.stderr.contains("there is no admin"), "{unknown:?}");

    // What only reads needs no lock; what acts is told who has it.
    let _ = door.run_command(&["deleted"]).expect_code(0);
    let second = door.run_command(&["purge"]).expect_code(1);
    assert!(second.stderr.contains("other maintenance is at work"), "{second:?}");
    assert!(second.stderr.contains("process "), "{second:?}");
    door.stop();
    let _ = door.run_command(&["purge"]).expect_code(0);

    let [_, data] = ["--data", server.data().to_str().unwrap()];
    let verified = pawl(["audit", "verify", "--json", "--data", data]).expect_code(0).json();
    assert!(verified["maintenance"]["lines"].as_u64().unwrap() > 5, "{verified}");
    let head = verified["maintenance"]["head"].as_str().unwrap();
    let _ = pawl(["audit", "verify", "--data", data, "--head", head]).expect_code(0);
}
