//! The credential that prunes and brings back.

use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use super::stand::{Stand, content, name};

on_each_s3!(what_maintenances_key_hides_or_overwrites_is_still_there, maintenances_key_removes_no_version);

/// A88: A thief of maintenance's key hides and overwrites everything.
fn what_maintenances_key_hides_or_overwrites_is_still_there(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    let all: Vec<_> = before.0.keys().map(str::to_owned).collect();
    for key in &all {
        let _ = stand.maintenance.put(key, b"a thief's");
        stand.maintenance.delete(key).unwrap();
    }
    assert!(stand.owner.snapshot().visible().is_empty());
    stand.harmless("everything", &before);
    // And all of it is brought back, with the same right.
    for key in &all {
        let good = before.0.versions(key).first().unwrap();
        let bytes = stand.maintenance.get_version(key, &good.id).unwrap();
        stand.maintenance.put_new(key, &bytes).unwrap();
    }
    assert_eq!(stand.owner.snapshot().visible(), before.0.visible());
    assert_eq!(stand.reader.get(&name("web1", "data")).unwrap(), content("web1", "data"));
}

/// A89: A thief of maintenance's key removes versions, or markers, for good.
fn maintenances_key_removes_no_version(s3: &S3) {
    let stand = Stand::new(s3);
    stand.maintenance.delete(&name("web1", "data")).unwrap();
    let before = stand.look();
    for key in before.0.keys() {
        for version in before.0.versions(key) {
            stand.refused(key, stand.maintenance.delete_version(key, &version.id));
        }
    }
    stand.unchanged(&before);
}
