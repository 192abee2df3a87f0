//! Hosts' certificates in restic's hands.
//!
//! Invariant: what is asserted is what restic reads back, or the answer that it was refused with.

use std::path::Path;

use pawl_tests::clients::{Restic, Version, address_of};
use pawl_tests::content::noise;
use pawl_tests::server::Server;
use pawl_tests::store::{Stored, plant};
use pawl_tests::with_each_restic;

use super::openssl::{authority, signed};
use super::{add, create, login, server};

with_each_restic! {
    restic_backs_up_and_restores_with_a_certificate,
    restic_backs_up_and_restores_with_certificate_and_password,
    restic_is_refused_with_less_or_other_than_its_host_needs,
}

/// A machine that has the host's certificate and trusts the server.
fn machine(version: Version, repository: &str, server: &Server, file: Option<&Path>) -> Restic {
    let ca = server.data().join(".pawl/tls/ca.crt");
    let restic = Restic::at(version, repository).option("--cacert").option(ca.to_str().unwrap());
    match file {
        Some(file) => restic.option("--tls-client-cert").option(file.to_str().unwrap()),
        None => restic,
    }
}

fn backs_up_and_restores(restic: &Restic) {
    let files = restic.home().join("files");
    plant(&files.join("noise"), &noise("files", 2_000_000));
    plant(&files.join("letter"), b"Dear diary");
    restic.succeed(["init"]);
    restic.backup(&files);
    Stored::read(&files).assert_unchanged(&Stored::read(&restic.restore(&files, &[])));
    restic.check();
}

fn restic_backs_up_and_restores_with_a_certificate(version: Version) {
    let server = server();
    let web1 = add(&server, "web1", &[]);
    assert_eq!(web1.credential.password, "", "no password is made");
    backs_up_and_restores(&machine(version, &web1.credential.repository, &server, Some(&web1.file)));
}

fn restic_backs_up_and_restores_with_certificate_and_password(version: Version) {
    let server = server();
    let web1 = add(&server, "web1", &["--and-password"]);
    backs_up_and_restores(&machine(version, &address_of(&web1.credential), &server, Some(&web1.file)));
}

fn restic_is_refused_with_less_or_other_than_its_host_needs(version: Version) {
    let server = server();
    let web1 = add(&server, "web1", &[]);
    let web2 = add(&server, "web2", &["--and-password"]);
    create(&server, &web1, None);
    create(&server, &web2, Some(&login(&web2.credential)));
    let own = authority(&server.dir().join("own"), "/CN=Somebody");
    let own = signed(&server.dir().join("own"), (&own.0, &own.1), "2");
    let before = server.stored();
    let (first, second) = (&web1.credential.repository, &web2.credential.repository);
    for (repository, file, answer) in [
        (first.as_str(), None, "401 Unauthorized"),
        (second, Some(&*web1.file), "403 Forbidden"),
        (second, Some(&*web2.file), "401 Unauthorized"),
        (&address_of(&web2.credential), None, "401 Unauthorized"),
        (&address_of(&web2.credential), Some(&*web1.file), "401 Unauthorized"),
        // restic keeps a certificate to itself whose authority the server does not name.
        (first, Some(&*own), "401 Unauthorized"),
    ] {
        machine(version, repository, &server, file).refused(["snapshots"], answer);
    }
    before.assert_unchanged(&server.stored());
}
