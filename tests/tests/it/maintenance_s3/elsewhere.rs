//! A second bucket that has copies, or says so.

use std::collections::BTreeMap;

use pawl_tests::bucket::{Access, Bucket, Kind};
use pawl_tests::content::noise;
use pawl_tests::on_each_s3;
use pawl_tests::roles::Roles;
use pawl_tests::s3::S3;
use pawl_tests::server::PREFIX;
use pawl_tests::store::plant;

use super::host::{Host, host_with_five_backups, write_credentials};
use super::rot::{rot, twenty};

on_each_s3! {
    a_second_bucket_heals_what_rotted_in_the_first,
    other_content_in_a_second_bucket_is_never_put_in_place,
}

/// A second bucket, seen by its owner, and a credential that reads it.
fn second_bucket(s3: &S3) -> (Bucket, Access) {
    match s3 {
        S3::Moto(moto) => {
            let owner = moto.bucket("second", Kind::Versioned);
            let reader = owner.access().clone();
            (owner, reader)
        }
        S3::Rgw(_) => {
            let Roles { owner, reader, .. } = Roles::new(s3, PREFIX, Kind::Plain);
            (owner, reader)
        }
    }
}

/// A configuration of Pawl's that names it.
fn configuration(host: &Host, bucket: &Bucket, access: &Access) -> String {
    let file = host.server.dir().join("second-credentials");
    write_credentials(&file, access);
    let path = host.server.dir().join("second.toml");
    let text = format!(
        "data = \"/nowhere\"\n[s3]\nbucket = {:?}\nprefix = {PREFIX:?}\nendpoint = {:?}\ncredentials_file = \"{}\"\n",
        bucket.name(),
        bucket.endpoint_url(),
        file.display()
    );
    plant(&path, text.as_bytes());
    path.display().to_string()
}

fn fill(bucket: &Bucket, files: &BTreeMap<String, Vec<u8>>, change: impl Fn(&str, &[u8]) -> Vec<u8>) {
    for (key, content) in files {
        drop(bucket.put(key, &change(key, content)).unwrap());
    }
}

fn a_second_bucket_heals_what_rotted_in_the_first(s3: &S3) {
    let (second, reader) = second_bucket(s3);
    let host = host_with_five_backups(s3);
    let good = host.visible();
    fill(&second, &good, |_, content| content.to_vec());
    let before = second.snapshot();
    let from = configuration(&host, &second, &reader);
    rot(&host, &twenty(&good));
    let _ = host.maintain(&["verify", "--all"]).expect_code(1);
    let planned = host.maintain(&["restore", "--from", &from, "--dry-run", "--json"]).expect_code(0).json();
    assert_eq!(planned["repositories"][0]["files"].as_array().unwrap().len(), 20, "{planned}");
    let done = host.maintain(&["restore", "--from", &from]).expect_code(0);
    assert!(done.stdout.contains("Restored 20 of 20 files."), "{done:?}");
    assert!(host.visible() == good, "every file is as it was");
    // What is there no more, not even as a version, comes back on request.
    let gone: Vec<_> = good.keys().filter(|key| key.contains("/data/")).take(2).collect();
    let versions = host.bucket.snapshot();
    for key in gone {
        for version in versions.versions(key) {
            host.bucket.delete_version(key, &version.id).unwrap();
        }
    }
    let _ = host.maintain(&["restore", "--from", &from, "--missing"]).expect_code(0);
    assert!(host.visible() == good, "every file is as it was");
    let _ = host.maintain(&["verify", "--all"]).expect_code(0);
    host.assert_all_restore();
    assert_eq!(second.snapshot(), before, "a second store is only read");
    let own = host.server.place()[1].to_owned();
    let refused = host.maintain(&["restore", "--from", &own]).expect_code(2);
    assert!(refused.stderr.contains("this is the store that is to be repaired"), "{refused:?}");
}

/// A114: Somebody offers for restoration a bucket with other content under good names, in versions and overwritten ones.
fn other_content_in_a_second_bucket_is_never_put_in_place(s3: &S3) {
    let (second, reader) = second_bucket(s3);
    let host = host_with_five_backups(s3);
    let good = host.visible();
    fill(&second, &good, |key, content| noise(key, content.len()));
    fill(&second, &good, |key, content| noise(&format!("again {key}"), content.len()));
    let from = configuration(&host, &second, &reader);
    rot(&host, &twenty(&good));
    let _ = host.maintain(&["verify", "--all"]).expect_code(1);
    let (bad, versions) = (host.visible(), host.bucket.snapshot());
    let report = host.maintain(&["restore", "--from", &from, "--json"]).expect_code(1).json();
    let lines = report["repositories"][0]["files"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["outcome"] == "not restored"), "{report}");
    // Not even the damaged copies were moved.
    assert!(host.visible() == bad);
    let files = |key: &String| key.contains("/web1/");
    let lost = versions.lost_in(&host.bucket.snapshot());
    assert_eq!(lost.into_iter().filter(files).collect::<Vec<_>>(), Vec::<String>::new());
}
