//! restic over HTTPS, where it speaks HTTP/2.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::server::Server;
use pawl_tests::{wait, with_each_restic};
use tempfile::TempDir;

use super::assert_same;

/// More than the windows of flow control many times over.
const LARGE: u64 = 200 << 20;

with_each_restic! {
    a_large_backup_over_http_2_is_restored_byte_for_byte,
    a_certificate_of_ones_own_is_trusted_by_restic,
    a_server_with_an_unknown_certificate_is_not_trusted,
}

/// A data directory with an initialised repository `web1`, made without TLS.
fn prepared() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let server = Server::build().data(data.path()).start();
    let maker = server.add_client("maker", &["--repository", "web1"]);
    clients::initialise(&maker, "web1");
    data
}

fn a_large_backup_over_http_2_is_restored_byte_for_byte(version: Version) {
    let data = prepared();
    let server = Server::build().data(data.path()).tls().start();
    let near = Restic::new(version, &server.add_host("web1", &[])).option("--option=rest.connections=5");
    // Counts connections: over HTTP/2 all requests share one.
    let line = Proxy::start(server.address(), Fault::None, "");
    let restic = near.through(line.address());
    let files = restic.home().join("files");
    fs::create_dir(&files).unwrap();
    let mut large = OpenOptions::new().write(true).create_new(true).open(files.join("large")).unwrap();
    let copied = io::copy(&mut File::open("/dev/urandom").unwrap().take(LARGE), &mut large);
    assert_eq!(copied.unwrap(), LARGE);
    restic.backup(&files);
    assert_eq!(line.connections(), 1, "restic speaks HTTP/2");
    restic.check();
    assert_same(&files, &restic.restore(&files, &[]));
}

/// A self-signed certificate for this address and its key.
fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=backup"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(curve)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl starts");
    assert!(output.status.success(), "{output:?}");
    (certificate, key)
}

fn with_a_certificate_of_its_own(data: &TempDir, dir: &Path) -> (Server, PathBuf) {
    let (certificate, key) = certificate(dir);
    let config = format!(
        "tls.enabled = true\ntls.certificate = {:?}\ntls.key = {:?}",
        certificate.to_str().unwrap(),
        key.to_str().unwrap()
    );
    let server = Server::build().data(data.path()).config(&config).start();
    (server, certificate)
}

fn a_certificate_of_ones_own_is_trusted_by_restic(version: Version) {
    let (data, dir) = (prepared(), tempfile::tempdir().unwrap());
    let (server, certificate) = with_a_certificate_of_its_own(&data, dir.path());
    let restic = Restic::new(version, &server.add_host("web1", &[]))
        .option("--cacert")
        .option(certificate.to_str().unwrap());
    let files = super::files(restic.home());
    restic.backup(&files);
    assert_same(&files, &restic.restore(&files, &[]));
}

fn a_server_with_an_unknown_certificate_is_not_trusted(version: Version) {
    let (data, dir) = (prepared(), tempfile::tempdir().unwrap());
    let (server, _) = with_a_certificate_of_its_own(&data, dir.path());
    let restic = Restic::new(version, &server.add_host("web1", &[]));
    let before = server.stored();
    let mut listing = restic.start(["snapshots"]);
    // To restic it is like a broken line, on which it tries again for a quarter of an hour.
    let complaint = "certificate signed by unknown authority";
    wait::until("restic complains of the certificate", || {
        assert!(!listing.has_ended() || listing.seen().contains(complaint));
        listing.seen().contains(complaint).then_some(())
    });
    listing.kill();
    before.assert_unchanged(&server.stored());
}
