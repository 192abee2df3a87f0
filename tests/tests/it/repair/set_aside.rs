//! Damage without a good copy anywhere.

use pawl_tests::clients::PASSWORD;
use pawl_tests::program::program;
use pawl_tests::store::plant;

use super::{Stage, damaged};

#[test]
fn what_was_set_aside_is_sent_again_by_the_next_backup() {
    let stage = Stage::new(3);
    let good = stage.stored();
    let password = stage.server.dir().join("password");
    plant(&password, PASSWORD.as_bytes());
    let largest = good.iter().filter(|(name, _)| name.starts_with("data/"));
    let name = largest.max_by_key(|(_, content)| content.len()).unwrap().0.clone();
    stage.rot([&name]);
    let verified = stage.maintain(&["verify", "--all", "--json"]).expect_code(1).json();
    assert_eq!(damaged(&verified), [name.clone()].into());

    let without_password = stage.maintain(&["restore", "--set-aside"]).expect_code(2);
    assert!(without_password.stderr.contains("--password-file"), "{without_password:?}");
    assert!(stage.path(&name).exists());

    let restic = program("restic-0.19");
    let done = stage
        .maintain(&[
            "restore",
            "--set-aside",
            "--password-file",
            password.to_str().unwrap(),
            "--restic",
            restic.to_str().unwrap(),
        ])
        .expect_code(0);
    assert!(done.stdout.contains("set aside") && done.stdout.contains("back up again"), "{done:?}");
    assert!(!stage.path(&name).exists());
    let now = stage.stored();
    for (other, content) in good.iter().filter(|(other, _)| !other.starts_with("index/") && **other != name) {
        assert!(now.get(other) == Some(content), "{other}");
    }
    // That it is missing is known, and no finding any more.
    let _ = stage.maintain(&["verify", "--all"]).expect_code(0);

    let backup = stage.restic.run(["backup", stage.files.to_str().unwrap()]);
    assert!(matches!(backup.code, Some(0 | 3)), "{backup:?}");
    stage.restic.backup(&stage.files);
    stage.assert_healthy();
    for snapshot in stage.restic.snapshots() {
        stage.restic.succeed(["ls", &snapshot]);
    }
}

#[test]
fn a_lost_snapshot_is_set_aside_and_the_others_stay_whole() {
    let stage = Stage::new(3);
    let password = stage.server.dir().join("password");
    plant(&password, PASSWORD.as_bytes());
    let oldest = stage.restic.snapshots().remove(0);
    let name = format!("snapshots/{oldest}");
    stage.rot([&name]);
    let _ = stage.maintain(&["verify", "--all"]).expect_code(1);
    let restic = program("restic-0.19");
    let done = stage
        .maintain(&[
            "restore",
            "--set-aside",
            "--password-command",
            &format!("cat {}", password.display()),
            "--restic",
            restic.to_str().unwrap(),
        ])
        .expect_code(1);
    assert!(done.stdout.contains("is lost, and cannot be healed"), "{done:?}");
    assert!(!stage.path(&name).exists());
    assert_eq!(stage.restic.snapshots().len(), 2);
    stage.assert_healthy();
}
