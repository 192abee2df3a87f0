//! restic at the store itself, past Pawl.

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::moto::Moto;
use pawl_tests::s3::S3;
use pawl_tests::server::{PREFIX, Server};
use pawl_tests::{with_each_restic, with_each_restic_on_each_store};

use super::{assert_same, files};

with_each_restic_on_each_store! {
    restic_alone_reads_what_came_through_pawl,
}

// Over plain HTTP restic signs its uploads piece by piece, which Ceph RGW 20 refuses, so that it stores nothing there.
with_each_restic! {
    pawl_serves_what_restic_alone_stored_on_disk,
    pawl_serves_what_restic_alone_stored_in_a_bucket,
}

/// A machine that knows the disk, or has a key to the bucket.
fn direct(server: &Server, version: Version) -> Restic {
    match server.bucket() {
        Some(bucket) => {
            let repository = format!("s3:{}/{}/{PREFIX}/web1", bucket.endpoint_url(), bucket.name());
            Restic::at(version, &repository)
                .variable("AWS_ACCESS_KEY_ID", &bucket.access().key)
                .variable("AWS_SECRET_ACCESS_KEY", &bucket.access().secret)
        }
        None => Restic::at(version, server.data().join("web1").to_str().unwrap()),
    }
}

fn restic_alone_reads_what_came_through_pawl(server: &Server, version: Version) {
    let near = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(near.home());
    near.backup(&files);
    let before = server.stored();
    let alone = direct(server, version).option("--no-lock"); // it reads, and needs no right to write
    assert_eq!(alone.snapshots(), near.snapshots());
    assert_same(&files, &alone.restore(&files, &[]));
    alone.check();
    before.assert_unchanged(&server.stored());
}

fn pawl_serves_what_restic_alone_stored_on_disk(version: Version) {
    pawl_serves_what_restic_alone_stored(&Server::start(), version);
}

fn pawl_serves_what_restic_alone_stored_in_a_bucket(version: Version) {
    pawl_serves_what_restic_alone_stored(&Server::on(&S3::Moto(Moto::shared())), version);
}

fn pawl_serves_what_restic_alone_stored(server: &Server, version: Version) {
    let alone = direct(server, version);
    let files = files(alone.home());
    alone.succeed(["init"]);
    alone.backup(&files);
    let near = Restic::new(version, &server.add_host("web1", &[]));
    assert_eq!(near.snapshots(), alone.snapshots());
    assert_same(&files, &near.restore(&files, &[]));
    near.check();
    // As much as if it had come through Pawl, it is kept.
    let before = server.stored();
    near.refused(["forget", "latest"], super::APPEND_ONLY);
    before.assert_kept(&server.stored());
}
