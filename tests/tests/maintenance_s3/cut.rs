//! A command that was killed in the middle, and is run again.

use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use serde_json::json;

use crate::host::host_with_five_backups;

on_each_s3! {
    a_key_that_a_killed_command_left_out_of_sight_is_shown_again,
}

const BATCH: &str = "20261121T014500Z-1a2b3c4d";

fn a_key_that_a_killed_command_left_out_of_sight_is_shown_again(s3: &S3) {
    let host = host_with_five_backups(s3);
    let before = host.visible();
    let (key, content) = before.iter().find(|(key, _)| key.contains("/web1/keys/")).unwrap();
    let (root, id) = (key.split_once("web1/").unwrap().0, key.rsplit('/').next().unwrap());
    // What such a command leaves, as far as it comes before the key is put back.
    let version = host.bucket.snapshot().shown(key).unwrap().id.clone();
    let header =
        json!({"repository": "web1", "principal": "maintenance", "reason": "deleted", "began_ms": 1});
    let note = json!({
        "version": version, "etag": null, "bytes": content.len(), "hidden_ms": 1, "creator": "web1",
        "received_ms": 1, "audience": "all", "sha256": null,
    });
    let batch = format!("{root}.pawl/deleted/{BATCH}");
    host.bucket.put(&format!("{batch}/batch.json"), header.to_string().as_bytes()).unwrap();
    host.bucket.put(&format!("{batch}/audience"), b"").unwrap();
    host.bucket.put(&format!("{batch}/keys/{id}"), note.to_string().as_bytes()).unwrap();
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
