//! Damage of which the bucket keeps no good version.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use aws_sdk_s3::primitives::ByteStream;
use pawl_tests::clients::{self, PASSWORD};
use pawl_tests::content::{id_of, noise};
use pawl_tests::faults::{Fault, Which};
use pawl_tests::on_each_s3;
use pawl_tests::program::program;
use pawl_tests::s3::S3;
use pawl_tests::store::{path_of, plant};
use serde_json::Value;

use super::host::{Host, host_with_five_backups, name_of};

on_each_s3! {
    rot_in_twenty_files_of_a_bucket_is_named_and_healed_from_a_second_store,
    what_was_set_aside_in_a_bucket_is_sent_again_by_the_next_backup,
    the_snapshots_that_need_what_is_damaged_are_named,
    a_repository_of_which_nothing_can_be_read_costs_itself_alone,
}

/// Damages these files as rot does: the same version holds other bytes, and there is no other.
pub(crate) fn rot<'a>(host: &Host, keys: impl IntoIterator<Item = &'a String>) {
    let before = host.bucket.snapshot();
    for key in keys {
        let shown = before.shown(key).unwrap();
        let mut content = shown.content.clone().unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 0x40;
        let facts: HashMap<_, _> = shown.metadata.clone().into_iter().collect();
        let put = host.bucket.ask(|client| {
            let put = client.put_object().bucket(host.bucket.name()).key(key);
            put.body(ByteStream::from(content)).set_metadata(Some(facts)).send()
        });
        drop(put.unwrap());
        for version in before.versions(key) {
            host.bucket.delete_version(key, &version.id).unwrap();
        }
    }
}

/// The store gives back nothing of one repository.
fn a_repository_of_which_nothing_can_be_read_costs_itself_alone(s3: &S3) {
    let host = host_with_five_backups(s3);
    let other = host.server.client(&clients::ready(&host.server, "other"));
    for number in 0..60 {
        let pack = noise(&format!("pack {number}"), 100);
        assert_eq!(other.post(&format!("/other/data/{}", id_of(&pack)), &pack).unwrap().status, 200);
    }
    host.line.add(Which::all("GET", "/other/data/"), Fault::Answer(403, "AccessDenied"));
    let verified = host.maintain(&["verify", "--all", "--read-data", "--json"]).expect_code(2).json();
    let of = |name: &str| {
        verified["repositories"].as_array().unwrap().iter().find(|of| of["repository"] == name).unwrap()
    };
    let why = of("other")["failed"].as_str().unwrap();
    assert!(why.starts_with("16 files in a row could not be read, the last data/"), "{verified:#}");
    assert_eq!(
        (&of("web1")["failed"], &of("web1")["bytes_read"]),
        (&Value::Null, &of("web1")["bytes"]),
        "{verified:#}"
    );
}

/// A copy of the repository as `cp -r` makes it, in a directory.
fn second_store(host: &Host) -> PathBuf {
    let second = host.server.dir().join("second");
    for (key, content) in host.visible() {
        plant(&path_of(&second, &format!("web1/{}", name_of(&key))), &content);
    }
    second
}

/// Some files of every type, 20 in all.
pub(crate) fn twenty(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let of_type = |part: &'static str, count| files.keys().filter(move |key| key.contains(part)).take(count);
    let mut twenty: BTreeSet<_> = of_type("/web1/config", 1).chain(of_type("/keys/", 1)).collect();
    twenty.extend(of_type("/index/", 4).chain(of_type("/snapshots/", 4)));
    let missing = 20 - twenty.len();
    twenty.extend(of_type("/data/", missing));
    assert_eq!(twenty.len(), 20);
    twenty.into_iter().cloned().collect()
}

/// What a verification says is damaged.
fn damaged(report: &Value) -> BTreeSet<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let damage = findings.filter(|finding| finding["severity"] == "damage");
    damage.map(|finding| finding["file"].as_str().unwrap().to_owned()).collect()
}

/// Drill 3.
fn rot_in_twenty_files_of_a_bucket_is_named_and_healed_from_a_second_store(s3: &S3) {
    let host = host_with_five_backups(s3);
    let good = host.visible();
    let second = second_store(&host);
    let rotten = twenty(&good);
    rot(&host, &rotten);
    let report = host.maintain(&["verify", "--all", "--json"]).expect_code(1).json();
    assert_eq!(damaged(&report), rotten.iter().map(|key| name_of(key)).collect());
    let _ = host.maintain(&["restore"]).expect_code(1);
    let second = second.to_str().unwrap();
    let done = host.maintain(&["restore", "--from", second]).expect_code(0);
    assert!(done.stdout.contains("Restored 20 of 20 files."), "{done:?}");
    assert!(host.visible() == good, "every file is as it was");
    let report = host.maintain(&["verify", "--all", "--json"]).expect_code(0).json();
    assert_eq!(damaged(&report), BTreeSet::new());
    host.assert_all_restore();
}

/// A file with the repository's password, and the newest restic: options for commands that run it.
fn users_restic(host: &Host) -> [String; 4] {
    let password = host.server.dir().join("password");
    plant(&password, PASSWORD.as_bytes());
    let restic = program("restic-0.19");
    [
        "--password-file".into(),
        password.display().to_string(),
        "--restic".into(),
        restic.display().to_string(),
    ]
}

/// Drill 4.
fn what_was_set_aside_in_a_bucket_is_sent_again_by_the_next_backup(s3: &S3) {
    let mut host = host_with_five_backups(s3);
    // What the last backup added, so that the host still has it.
    let before = host.visible();
    host.backup(5);
    let good = host.visible();
    let is_whole = |(key, content): &(&String, &Vec<u8>)| key.contains("/data/") && content.len() > 50_000;
    let added = good.iter().filter(|(key, _)| !before.contains_key(*key)).find(is_whole);
    let key = added.unwrap().0.clone();
    rot(&host, [&key]);
    let report = host.maintain(&["verify", "--all", "--json"]).expect_code(1).json();
    assert_eq!(damaged(&report), [name_of(&key)].into());
    let options = users_restic(&host);
    let args = ["restore", "--set-aside"].into_iter().chain(options.iter().map(String::as_str));
    let done = host.maintain(&args.collect::<Vec<_>>()).expect_code(0);
    assert!(done.stdout.contains("set aside") && done.stdout.contains("back up again"), "{done:?}");
    let now = host.visible();
    assert!(!now.contains_key(&key));
    for (other, content) in good.iter().filter(|(other, _)| !other.contains("/index/") && **other != key) {
        assert!(now.get(other) == Some(content), "{other}");
    }
    let backup = host.restic.run(["backup", host.files().to_str().unwrap()]);
    assert!(matches!(backup.code, Some(0 | 3)), "{backup:?}");
    host.restic.backup(&host.files());
    host.restic.check();
    host.assert_restores(&host.restic, 5);
}

/// A damaged pack is traced to the snapshots that need it, by the user's own restic, which reads the bucket itself.
fn the_snapshots_that_need_what_is_damaged_are_named(s3: &S3) {
    let host = host_with_five_backups(s3);
    let key = host.visible().into_keys().find(|key| key.ends_with(&host.snapshots[1])).unwrap();
    rot(&host, [&key]);
    let packs: Vec<_> = host.visible().into_keys().filter(|key| key.contains("/data/")).collect();
    rot(&host, &packs);
    let options = users_restic(&host);
    let args = ["verify", "--all", "--json"].into_iter().chain(options.iter().map(String::as_str));
    let report = host.maintain(&args.collect::<Vec<_>>()).expect_code(1);
    assert!(!report.stderr.contains("is not known"), "{report:?}");
    let report = report.json();
    let mut named = BTreeSet::new();
    for finding in report["findings"].as_array().unwrap() {
        let snapshots = finding["snapshots"].as_array().unwrap();
        named.extend(snapshots.iter().map(|id| id.as_str().unwrap().to_owned()));
    }
    assert_eq!(named, host.snapshots.iter().cloned().collect(), "{report}");
}
