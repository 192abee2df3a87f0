//! A thief with a key of the store that may overwrite and hide, which the policies would not allow it.

use std::num::NonZeroUsize;
use std::thread;

use pawl_tests::content::{id_of, noise};
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use crate::host::{Host, host_with_five_backups};

on_each_s3! {
    one_command_restores_what_a_thief_overwrote_and_hid,
}

/// Files that are overwritten, and as many that are hidden.
const FILES: usize = 500;
/// Requests of the test's own at a time.
const AT_A_TIME: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// Drill 2.
/// A220: A thief of a key of the store that no policy binds overwrites 500 files past Pawl, and hides 500 more.
fn one_command_restores_what_a_thief_overwrote_and_hid(s3: &S3) {
    let host = host_with_five_backups(s3);
    add_junk(&host, 2 * FILES);
    let before = host.visible();
    let attacked: Vec<_> = before.keys().take(2 * FILES).enumerate().collect();
    side_by_side(&attacked, |(number, key)| attack(&host, *number, key));
    let left = host.visible();
    assert!(
        before.iter().filter(|(key, content)| left.get(*key) == Some(content)).count() < before.len() - 900
    );
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    assert!(host.visible() == before, "every file is as it was");
    let _ = host.maintain(&["restore", "web1", "--dry-run"]).expect_code(0);
    host.assert_all_restore();
}

/// Overwrites every other file, and hides the others.
pub(crate) fn attack(host: &Host, number: usize, key: &str) {
    match number % 2 {
        0 => drop(host.bucket.put(key, b"overwritten by a thief").unwrap()),
        _ => host.bucket.delete(key).unwrap(),
    }
}

/// Junk that a host could add, so that there are enough files.
pub(crate) fn add_junk(host: &Host, files: usize) {
    let config = host.visible().into_keys().find(|key| key.ends_with("/config")).unwrap();
    let root = config.trim_end_matches("config");
    let numbers: Vec<_> = (0..files).collect();
    side_by_side(&numbers, |number| {
        let content = noise(&format!("file {number}"), 200);
        let id = id_of(&content);
        drop(host.bucket.put(&format!("{root}data/{}/{id}", &id[..2]), &content).unwrap());
    });
}

fn side_by_side<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        for part in items.chunks(items.len().div_ceil(AT_A_TIME.get())) {
            scope.spawn(|| part.iter().for_each(&work));
        }
    });
}
