//! Servers of one bucket tell of each other.
//!
//! Invariant: what they say is in the log and in `pawl doctor`, and keeps nobody from anything.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use pawl_tests::bucket::{Bucket, Kind};
use pawl_tests::command::pawl;
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use pawl_tests::server::{Builder, PREFIX, Server};
use pawl_tests::wait::until;

use crate::maintenance_s3::host::write_credentials;

on_each_s3!(two_servers_that_each_say_that_they_are_the_only_one_are_told_of_each_other);

fn signs(bucket: &Bucket) -> Vec<String> {
    let root = format!("{PREFIX}/.pawl-probe/servers/");
    bucket.list(&root).unwrap().iter().map(|key| key[root.len()..].to_owned()).collect()
}

fn server(bucket: &Bucket, file: &Path) -> Builder {
    Server::build().bucket_by(bucket, file)
}

/// A sign of a server on another machine, which was left just now.
fn leave_sign(bucket: &Bucket, word: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    bucket.put(&format!("{PREFIX}/.pawl-probe/servers/{now:013}-5f5f-{word}-other.example"), b"").unwrap();
}

fn two_servers_that_each_say_that_they_are_the_only_one_are_told_of_each_other(s3: &S3) {
    let bucket = s3.bucket("signs", Kind::Versioned);
    let secret = tempfile::tempdir().unwrap();
    let file = secret.path().join("credentials");
    write_credentials(&file, bucket.access());
    let mut first = server(&bucket, &file).start();
    let sign = until("a sign is left", || signs(&bucket).pop());
    assert!(sign.contains("-one-"), "{sign}");
    assert!(!first.log().text().contains("another server uses the bucket"));
    assert!(first.stop().success());
    assert!(signs(&bucket).last().unwrap().contains("-stopped-"), "{:?}", signs(&bucket));

    leave_sign(&bucket, "one");
    let second = server(&bucket, &file).start();
    let _ = second.log().wait_for_line(&[" WARN ", "other.example", "stop one of them"]);
    let found = pawl(["doctor"].into_iter().chain(second.place())).expect_code(1).stdout;
    assert!(found.contains("other.example, "), "{found}");
}
