//! A credential for the store is replaced while the server runs.

use pawl_tests::bucket::Kind;
use pawl_tests::clients;
use pawl_tests::content::{id_of, noise};
use pawl_tests::on_each_s3;
use pawl_tests::roles::Roles;
use pawl_tests::s3::S3;
use pawl_tests::server::{PREFIX, Server};
use pawl_tests::store::{plant, remove};

use crate::maintenance_s3::host::write_credentials;

on_each_s3! {
    a_new_credential_is_used_without_a_restart,
}

fn a_new_credential_is_used_without_a_restart(s3: &S3) {
    let roles = Roles::new(s3, PREFIX, Kind::Versioned);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("credentials");
    let replace = |access| {
        if file.exists() {
            remove(&file);
        }
        write_credentials(&file, access);
    };
    replace(&roles.writer);
    let server = Server::build().bucket_by(&roles.owner, &file).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let post = |content: &[u8]| web1.post(&format!("/web1/data/{}", id_of(content)), content).unwrap().status;
    assert_eq!(post(&noise("first", 1000)), 200);
    replace(&roles.reader);
    assert_eq!(post(&noise("second", 1000)), 503, "the new one may not write");
    // Of what cannot be understood nothing is used, and the server says so.
    remove(&file);
    plant(&file, b"[another]\n");
    assert_eq!(post(&noise("second", 1000)), 503);
    let _ = server.log().wait_for_line(&["ERROR", "cannot use the credentials", file.to_str().unwrap()]);
    replace(&roles.writer);
    assert_eq!(post(&noise("second", 1000)), 200);
}
