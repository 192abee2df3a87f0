//! A repository of which nothing is left.

use std::fs;

use pawl_tests::clients::Version;
use pawl_tests::maintenance::Maintenance;

use super::{Stage, found};

/// A109: Somebody removes a repository as a whole from the disk.
#[test]
#[expect(clippy::disallowed_methods, reason = "does what somebody with the disk does")]
fn a_repository_that_vanished_is_missed_and_comes_back_from_a_second_store() {
    let stage = Stage::new(3);
    let good = stage.stored();
    let second = stage.second_store();
    let _ = stage.maintain(&["verify"]).expect_code(0);
    fs::rename(stage.server.data().join("web1"), stage.server.dir().join("taken away")).unwrap();

    let verified = stage.maintain(&["verify", "--json"]).expect_code(1).json();
    assert_eq!(found(&verified, "damage"), [(String::new(), "missing".to_owned())].into());
    assert!(verified["findings"][0]["detail"].as_str().unwrap().contains("all of it is gone"), "{verified}");
    let _ = stage.maintain(&["verify", "web1"]).expect_code(1);

    let nothing = stage.maintain(&["restore"]).expect_code(1);
    assert!(nothing.stdout.contains("name another store with --from"), "{nothing:?}");
    let empty = tempfile::tempdir().unwrap();
    for dry_run in [&["--dry-run"][..], &[]] {
        let args = [&["restore", "--from", empty.path().to_str().unwrap()], dry_run].concat();
        let nothing = stage.maintain(&args).expect_code(1);
        assert!(nothing.stdout.contains("has nothing of it either"), "{nothing:?}");
    }

    let done =
        stage.maintain(&["restore", "--from", second.to_str().unwrap(), "--json"]).expect_code(0).json();
    assert_eq!(done["repositories"][0]["files"].as_array().unwrap().len(), good.len());
    assert_eq!(stage.stored(), good);
    // Of a key that comes without facts nobody knows whether hosts may see it.
    let key = good.keys().find_map(|name| name.strip_prefix("keys/")).unwrap();
    let _ = stage.maintain(&["key", "expose", "web1", key]).expect_code(0);
    let _ = stage.maintain(&["verify", "--all"]).expect_code(0);
    stage.assert_healthy();
}

#[test]
fn a_repository_that_was_deleted_on_purpose_is_not_missed() {
    let stage = Stage::new(1);
    let _ = stage.maintain(&["verify"]).expect_code(0);
    let _ = stage.maintain(&["delete", "web1", "--below-floor"]).expect_code(0);
    let _ = stage.maintain(&["verify"]).expect_code(0);
    // Nor is the config that follows taken for a forged one.
    let mut door = Maintenance::start(&stage.server);
    let admin = door.restic(Version::V0_19, "web1");
    admin.succeed(["init"]);
    admin.succeed(["backup", stage.files.to_str().unwrap()]);
    admin.check();
    door.stop();
    let config = stage.stored()["config"].clone();
    let verified = stage.maintain(&["verify", "--all", "--json"]).expect_code(1).json();
    assert_eq!(found(&verified, "damage"), [].into());
    let _ = stage.maintain(&["restore", "web1", "config"]).expect_code(0);
    assert_eq!(stage.stored()["config"], config);
}
