//! A thief with a key of the store that may overwrite and hide, which the policies would not allow it.

use pawl_tests::content::{id_of, noise};
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use super::host_with_five_backups;

on_each_s3! {
    one_command_restores_what_a_thief_overwrote_and_hid,
}

/// Files that are overwritten, and as many that are hidden.
const FILES: usize = 500;

fn one_command_restores_what_a_thief_overwrote_and_hid(s3: &S3) {
    let host = host_with_five_backups(s3);
    // Junk that a host could add, so that there are enough files.
    let config = host.visible().into_iter().find(|(key, _)| key.ends_with("/config")).unwrap().0;
    let root = config.trim_end_matches("config");
    for number in 0..2 * FILES {
        let content = noise(&format!("file {number}"), 200);
        let id = id_of(&content);
        host.bucket.put(&format!("{root}data/{}/{id}", &id[..2]), &content).unwrap();
    }
    let before = host.visible();
    for (number, (key, _)) in before.iter().take(2 * FILES).enumerate() {
        if number % 2 == 0 {
            host.bucket.put(key, b"overwritten by a thief").unwrap();
        } else {
            host.bucket.delete(key).unwrap();
        }
    }
    assert!(host.visible().iter().filter(|file| before.contains(file)).count() < before.len() - 900);
    let mut door = host.door();
    door.stop();
    let _ = door.run_command(&["restore", "web1"]).expect_code(0);
    assert!(host.visible() == before, "every file is as it was");
    let _ = door.run_command(&["restore", "web1", "--dry-run"]).expect_code(0);
    host.assert_all_restore();
}
