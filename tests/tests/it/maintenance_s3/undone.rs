//! What maintenance deleted comes back by `undelete`, as far as it is there, and by nothing else.

use pawl_tests::content::noise;
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use super::host::{Host, PRUNE, VERSION, host_with_five_backups, name_of};

on_each_s3! {
    a_version_that_the_bucket_has_ended_keeps_no_other_from_coming_back,
    what_maintenance_deleted_and_another_hand_put_anew_is_left_alone_by_restore,
}

/// Has maintenance prune, and returns the batch and the keys of what is hidden now.
fn prune(host: &Host) -> (String, Vec<String>) {
    let before = host.visible();
    let mut door = host.door();
    door.restic(VERSION, "web1").succeed(PRUNE);
    let after = host.visible();
    door.stop();
    let hidden = before.into_keys().filter(|key| !after.contains_key(key)).collect();
    (door.one_batch(), hidden)
}

fn a_version_that_the_bucket_has_ended_keeps_no_other_from_coming_back(s3: &S3) {
    let host = host_with_five_backups(s3);
    let before = host.visible();
    let (batch, hidden) = prune(&host);
    let ended = hidden.iter().find(|key| key.contains("/data/")).unwrap();
    for version in host.bucket.snapshot().versions(ended).iter().filter(|it| it.content.is_some()) {
        host.bucket.delete_version(ended, &version.id).unwrap();
    }
    let undone = host.maintain(&["undelete", &batch, "--json"]).expect_code(1).json();
    let left: Vec<_> = undone["left"].as_array().unwrap().iter().map(|left| left.as_str().unwrap()).collect();
    assert!(left.len() == 1 && left[0].starts_with(&name_of(ended)), "{undone}");
    let back = host.visible();
    for (key, content) in before.iter().filter(|(key, _)| *key != ended) {
        assert!(back.get(key) == Some(content), "{key}");
    }
    assert!(!back.contains_key(ended));
}

fn what_maintenance_deleted_and_another_hand_put_anew_is_left_alone_by_restore(s3: &S3) {
    let host = host_with_five_backups(s3);
    let (batch, hidden) = prune(&host);
    // A pack that is back would be unused. A snapshot would show again what was forgotten.
    let key = hidden.iter().find(|key| key.contains("/snapshots/")).unwrap();
    let foreign = noise("by another hand", 5000);
    host.bucket.put(key, &foreign).unwrap();
    let put = host.bucket.snapshot();
    let verified = host.maintain(&["verify", "--all"]);
    assert!(verified.stdout.contains(&name_of(key)), "{verified:?}");
    let _ = host.maintain(&["restore", "web1"]);
    // Nothing that prune hid is shown again, and the foreign bytes are not taken for the file's.
    let now = host.visible();
    for key in &hidden {
        assert!(now.get(key).is_none_or(|content| *content == foreign), "{key}");
    }
    assert_eq!(put.lost_in(&host.bucket.snapshot()), Vec::<String>::new());
    // Not even what was deleted takes the place of something: that is taken away first.
    let undone = host.maintain(&["undelete", &batch, "--json"]).expect_code(1).json();
    assert!(undone["left"][0].as_str().unwrap().contains("other content stands in its place"), "{undone}");
    let _ = host.maintain(&["delete", "web1", &name_of(key)]).expect_code(0);
    let undone = host.maintain(&["undelete", &batch, "--only", "--json"]).expect_code(0).json();
    assert_eq!(undone["left"].as_array().unwrap().len(), 0, "{undone}");
    host.assert_all_restore();
}
