//! The server itself, with no more rights than the writer's policy gives.

use std::path::Path;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use pawl_tests::server::Server;
use pawl_tests::store::{Stored, plant};

use super::stand::Stand;

on_each_s3!(the_writers_rights_are_all_that_the_server_needs);

/// It finds nothing to be accepted but what the store itself does not do, and restic notices nothing.
fn the_writers_rights_are_all_that_the_server_needs(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    // moto checks no content; on Ceph several writers of one name win.
    let (accept, instances) = match s3 {
        S3::Moto(_) => ("[\"unchecked-content\"]", "many"),
        S3::Rgw(_) => ("[]", "one"),
    };
    let config = format!(
        "[s3]\nbucket = {:?}\nprefix = \"backup\"\nendpoint = {:?}\nregion = \"us-east-1\"\naccept = {accept}\ninstances = {instances:?}",
        stand.writer.name(),
        stand.writer.endpoint_url(),
    );
    let server = Server::build()
        .config(&config)
        .env("AWS_ACCESS_KEY_ID", &stand.writer.access().key)
        .env("AWS_SECRET_ACCESS_KEY", &stand.writer.access().secret)
        .start();
    let seen = server.log().text();
    assert!(seen.contains("can neither delete versions, nor hide files, nor change versioning"), "{seen}");

    let restic = Restic::new(Version::V0_19, &clients::ready(&server, "served"));
    let files = restic.home().join("files");
    plant(&files.join("noise"), &noise("served", 20 << 20));
    restic.backup(&files);
    restic.check();
    let restored = restic.restore(&files, &[]);
    Stored::read(Path::new(&files)).assert_unchanged(&Stored::read(&restored));
    stand.harmless("serving", &before);
}
