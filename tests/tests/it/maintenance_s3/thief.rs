//! A thief with a key of the store that may overwrite and hide, which the policies would not allow it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::thread;

use pawl_tests::content::{id_of, noise};
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use pawl_tests::store::plant;

use super::host::{Host, host_with_five_backups};

on_each_s3! {
    one_command_restores_what_a_thief_overwrote_and_hid,
    what_was_overwritten_twice_with_the_same_bytes_is_found_and_restored,
    what_was_hidden_and_put_anew_is_found_and_restored,
    a_config_that_was_hidden_and_put_anew_is_neither_served_nor_taken_for_the_true_one,
    a_repository_that_was_hidden_as_a_whole_comes_back,
    a_repository_of_which_no_version_is_left_comes_back_from_a_second_store,
    a_config_is_known_after_the_store_has_ended_the_true_version,
}

/// Files that are overwritten, and as many that are hidden.
const FILES: usize = 500;
/// Requests of the test's own at a time.
const AT_A_TIME: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// Drill 2.
/// A110: A thief of a key of the store that no policy binds overwrites 500 files past Pawl, and hides 500 more.
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

/// The first of the files of each of these types.
fn files_of<const N: usize>(host: &Host, types: [&str; N]) -> [(String, Vec<u8>); N] {
    let visible = host.visible();
    let of_type = |name: &str| {
        let mut files = visible.iter();
        let (key, content) = files.find(|(key, _)| key.contains(&format!("/web1/{name}"))).unwrap();
        (key.clone(), content.clone())
    };
    types.map(of_type)
}

/// What a verification that reads as good as nothing says is unexplained.
fn unexplained(host: &Host, code: i32) -> BTreeSet<String> {
    let report = host.maintain(&["verify", "--share", "1/10000", "--json"]).expect_code(code).json();
    let findings = report["findings"].as_array().unwrap().iter();
    let found = findings.filter(|finding| finding["kind"] == "unexplained");
    found.map(|finding| finding["file"].as_str().unwrap().to_owned()).collect()
}

/// As restic names the file of a key in the bucket.
fn named(key: &str) -> String {
    let (_, rest) = key.split_once("/web1/").unwrap();
    let (first, last) = (rest.split('/').next().unwrap(), rest.rsplit('/').next().unwrap());
    if first == last { first.to_owned() } else { format!("{first}/{last}") }
}

/// Finds what was done to these files, restores it, and finds nothing any more.
fn assert_found_and_restored<const N: usize>(
    host: &Host,
    before: &BTreeMap<String, Vec<u8>>,
    keys: [&str; N],
) {
    assert_eq!(unexplained(host, 1), keys.map(named).into());
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    assert!(host.visible() == *before, "every file is as it was");
    assert_eq!(unexplained(host, 0), BTreeSet::new());
    host.assert_all_restore();
}

/// A104: A thief who may overwrite does it twice with the same bytes, so that the newest versions look alike.
fn what_was_overwritten_twice_with_the_same_bytes_is_found_and_restored(s3: &S3) {
    let host = host_with_five_backups(s3);
    let before = host.visible();
    let files = files_of(&host, ["data/", "index/", "snapshots/", "keys/"]);
    for (key, _) in &files {
        host.bucket.put(key, b"overwritten by a thief").unwrap();
        host.bucket.put(key, b"overwritten by a thief").unwrap();
    }
    assert_found_and_restored(&host, &before, files.each_ref().map(|(key, _)| key.as_str()));
}

/// A105: A thief who may hide puts a marker on a file and another file in its place, as if it had come back.
fn what_was_hidden_and_put_anew_is_found_and_restored(s3: &S3) {
    let host = host_with_five_backups(s3);
    let before = host.visible();
    let files = files_of(&host, ["data/", "index/", "snapshots/", "keys/"]);
    for (key, _) in &files {
        host.bucket.delete(key).unwrap();
        host.bucket.put(key, b"put by a thief").unwrap();
    }
    assert_found_and_restored(&host, &before, files.each_ref().map(|(key, _)| key.as_str()));
}

/// A106: A thief who may hide puts a marker on a `config` and another in its place, to be taken for the true one.
fn a_config_that_was_hidden_and_put_anew_is_neither_served_nor_taken_for_the_true_one(s3: &S3) {
    let host = host_with_five_backups(s3);
    assert_eq!(unexplained(&host, 0), BTreeSet::new());
    let before = host.visible();
    let [(key, _)] = files_of(&host, ["config"]);
    host.bucket.delete(&key).unwrap();
    // To the hosts it is still there, and no other is taken.
    host.restic.check();
    host.bucket.put(&key, b"put by a thief").unwrap();
    host.restic.check();
    assert_found_and_restored(&host, &before, [&key]);
    // Whatever the bucket had, once it was restored there is one that counts.
    host.bucket.delete(&key).unwrap();
    host.restic.check();
    assert_found_and_restored(&host, &before, [&key]);
}

/// A107: A thief puts a `config` that says of itself that it is right, and waits until the true version is ended.
fn a_config_is_known_after_the_store_has_ended_the_true_version(s3: &S3) {
    let host = host_with_five_backups(s3);
    assert_eq!(unexplained(&host, 0), BTreeSet::new());
    let [(key, content)] = files_of(&host, ["config"]);
    let id = host.bucket.snapshot().versions(&key)[0].id.clone();
    let forged = noise("another config", 155);
    let sha256 = [("pawl-sha256".to_owned(), id_of(&forged))];
    let put = |client: aws_sdk_s3::Client| {
        let put = client.put_object().bucket(host.bucket.name()).key(&key);
        put.set_metadata(Some(sha256.into())).body(forged.clone().into()).send()
    };
    host.bucket.ask(put).unwrap();
    host.bucket
        .ask(|client| client.delete_object().bucket(host.bucket.name()).key(&key).version_id(&id).send())
        .unwrap();
    let report = host.maintain(&["verify", "web1", "--json"]).expect_code(1).json();
    let is_config = |finding: &&serde_json::Value| finding["file"] == "config";
    let finding = report["findings"].as_array().unwrap().iter().find(is_config).unwrap();
    assert_eq!(finding["kind"], "damaged");
    assert!(finding["detail"].as_str().unwrap().contains(&id_of(&content)), "{finding}");
    // The forged one says that it is right, and is not taken for it.
    let refused = host.maintain(&["restore", "web1", "--json"]).expect_code(1).json();
    assert_eq!(refused["repositories"][0]["files"][0]["outcome"], "not restored", "{refused}");
}

/// A108: A thief who may hide hides a repository as a whole, so that nothing is left to be missed.
fn a_repository_that_was_hidden_as_a_whole_comes_back(s3: &S3) {
    let host = host_with_five_backups(s3);
    assert_eq!(unexplained(&host, 0), BTreeSet::new());
    let before = host.visible();
    for key in host.bucket.snapshot().visible().keys().filter(|key| key.contains("/web1/")) {
        host.bucket.delete(key).unwrap();
    }
    assert!(host.visible().is_empty());
    let hidden = before.keys().map(|key| named(key)).collect();
    assert_eq!(unexplained(&host, 1), hidden);
    let _ = host.maintain(&["restore"]).expect_code(0);
    assert!(host.visible() == before, "every file is as it was");
    assert_eq!(unexplained(&host, 0), BTreeSet::new());
    host.assert_all_restore();
}

fn a_repository_of_which_no_version_is_left_comes_back_from_a_second_store(s3: &S3) {
    let host = host_with_five_backups(s3);
    assert_eq!(unexplained(&host, 0), BTreeSet::new());
    let (before, all) = (host.visible(), host.bucket.snapshot());
    let second = tempfile::tempdir().unwrap();
    for (key, content) in &before {
        plant(&second.path().join("web1").join(key.split_once("/web1/").unwrap().1), content);
    }
    for key in all.keys().filter(|key| key.contains("/web1/")) {
        for version in all.versions(key) {
            host.bucket.delete_version(key, &version.id).unwrap();
        }
    }
    let verified = host.maintain(&["verify", "--json"]).expect_code(1).json();
    assert_eq!(verified["findings"][0]["kind"], "missing", "{verified}");
    let _ = host.maintain(&["restore"]).expect_code(1);
    let _ = host.maintain(&["restore", "--from", second.path().to_str().unwrap()]).expect_code(0);
    assert!(host.visible() == before, "every file is as it was");
    let [(key, _)] = files_of(&host, ["keys/"]);
    let _ = host.maintain(&["key", "expose", "web1", named(&key).trim_start_matches("keys/")]).expect_code(0);
    assert_eq!(unexplained(&host, 0), BTreeSet::new());
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
