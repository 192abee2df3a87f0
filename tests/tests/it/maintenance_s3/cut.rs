//! A command that was killed in the middle, and is run again.

use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use serde_json::{Value, json};

use super::host::{Host, host_with_five_backups, name_of};

on_each_s3! {
    a_key_that_a_killed_command_left_out_of_sight_is_shown_again,
    a_deletion_that_was_cut_before_its_marker_is_no_file_that_came_back,
}

const BATCH: &str = "20261121T014500Z-1a2b3c4d";

fn a_key_that_a_killed_command_left_out_of_sight_is_shown_again(s3: &S3) {
    let host = host_with_five_backups(s3);
    let before = host.visible();
    let (key, content) = before.iter().find(|(key, _)| key.contains("/web1/keys/")).unwrap();
    let id = key.rsplit('/').next().unwrap();
    // What such a command leaves, as far as it comes before the key is put back.
    let batch = note_in_a_batch(&host, key, content);
    host.bucket.put(&format!("{batch}/audience"), b"").unwrap();
    host.bucket.delete(key).unwrap();
    let listed = || host.maintain(&["key", "list", "web1"]).expect_code(0).stdout;
    assert!(!listed().contains(id));

    let refused = host.maintain(&["key", "expose", "web1", &"0".repeat(64)]).expect_code(1);
    assert!(refused.stderr.contains("there is no key"), "{refused:?}");
    let _ = host.maintain(&["key", "expose", "web1", id]).expect_code(0);
    assert!(listed().contains(id));
    assert!(host.visible() == before, "every file is as it was");
    assert_eq!(host.maintain(&["deleted", "--json"]).expect_code(0).json(), json!([]));
    host.assert_all_restore();
}

fn a_deletion_that_was_cut_before_its_marker_is_no_file_that_came_back(s3: &S3) {
    let host = host_with_five_backups(s3);
    let before = host.visible();
    let (key, content) = before.iter().find(|(key, _)| key.contains("/web1/snapshots/")).unwrap();
    let _ = note_in_a_batch(&host, key, content);
    let tombstone = format!("{}.pawl/tombstones/web1/{}", root_of(key), name_of(key));
    host.bucket.put(&tombstone, b"").unwrap();
    let verify = |code| host.maintain(&["verify", "--json"]).expect_code(code).json();
    assert_eq!(verify(0)["findings"], json!([]));

    // Once it went, whatever stands there came back, even if it is the same.
    host.bucket.delete(key).unwrap();
    assert_eq!(verify(0)["findings"], json!([]));
    host.bucket.put(key, content).unwrap();
    let report = verify(1);
    let is_revived = |finding: &&Value| finding["kind"] == "revived" && finding["file"] == *name_of(key);
    assert_eq!(report["findings"].as_array().unwrap().iter().filter(is_revived).count(), 1, "{report}");
    let _ = host.maintain(&["undelete", BATCH]).expect_code(0);
    let report = host.maintain(&["verify", "--json"]).json();
    assert_eq!(report["findings"].as_array().unwrap().iter().filter(is_revived).count(), 0, "{report}");
    host.assert_all_restore();
}

/// What lies before the repository's name.
fn root_of(key: &str) -> &str {
    key.split_once("web1/").unwrap().0
}

/// Has a batch of deleted files note the version that is shown, as far as that comes before its marker, and returns where
/// the batch lies.
fn note_in_a_batch(host: &Host, key: &str, content: &[u8]) -> String {
    let version = host.bucket.snapshot().shown(key).unwrap().id.clone();
    let header =
        json!({"repository": "web1", "principal": "maintenance", "reason": "deleted", "began_ms": 1});
    let note = json!({
        "version": version, "etag": null, "bytes": content.len(), "hidden_ms": 1, "creator": "web1",
        "received_ms": 1, "audience": "all", "sha256": null,
    });
    let batch = format!("{}.pawl/deleted/{BATCH}", root_of(key));
    host.bucket.put(&format!("{batch}/batch.json"), header.to_string().as_bytes()).unwrap();
    host.bucket.put(&format!("{batch}/{}", name_of(key)), note.to_string().as_bytes()).unwrap();
    batch
}
