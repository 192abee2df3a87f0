//! HTTPS, tried with curl and certificates by openssl.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::command::pawl_in_vain;
use pawl_tests::http::{Connection, Request};
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::plant;
use pawl_tests::wait;
use rustix::process::Signal;

/// What curl prints, or how it failed.
fn curl<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<String, String> {
    let common = ["--silent", "--show-error", "--max-time", "300", "--output", "/dev/null", "--disable"];
    let output = Command::new("curl").args(common).args(args).output().expect("curl starts");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn status(server: &Server, credential: &Credential, ca: &Path) -> Result<String, String> {
    let user = format!("{}:{}", credential.user, credential.password);
    let url = format!("https://localhost:{}/web1/config", server.address().port());
    let resolve = format!("localhost:{}:127.0.0.1", server.address().port());
    let ca = ca.to_str().unwrap();
    curl(["--cacert", ca, "--user", &user, "--resolve", &resolve, "--write-out", "%{http_code}", &url])
}

/// A self-signed certificate for localhost and its key.
fn certificate(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl starts");
    assert!(output.status.success(), "{output:?}");
    (certificate, key)
}

/// The config lines for a certificate of one's own.
fn own(certificate: &Path, key: &Path) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    format!("tls.enabled = true\ntls.certificate = \"{certificate}\"\ntls.key = \"{key}\"")
}

#[test]
fn the_private_authority_is_made_and_told_to_hosts() {
    let server = Server::build().config("tls.names = [\"localhost\"]\ntls.enabled = true").start();
    let credential = server.add_host("web1", &[]);
    assert!(credential.repository.starts_with("rest:https://"), "{credential:?}");
    let ca = credential.ca_file.clone().unwrap();
    assert_eq!(ca, server.data().join(".pawl/tls/ca.crt"));
    assert_eq!(status(&server, &credential, &ca).unwrap(), "404");
}

#[test]
fn the_address_it_listens_on_is_in_the_private_certificate() {
    let server = Server::build().tls().start();
    let credential = server.add_host("web1", &[]);
    let ca = credential.ca_file.clone().unwrap();
    let ca = ca.to_str().unwrap();
    let url = format!("{}/web1/config", server.url());
    assert_eq!(curl(["--cacert", ca, "--write-out", "%{http_code}", &url]).unwrap(), "401");
    // Nobody else's word counts.
    let error = curl(["--write-out", "%{http_code}", &url]).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn the_private_keys_are_readable_by_nobody_else() {
    let server = Server::build().tls().start();
    let mut keys = 0;
    for file in fs::read_dir(server.data().join(".pawl/tls")).unwrap().flatten() {
        if fs::read_to_string(file.path()).unwrap().contains("PRIVATE KEY") {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file:?}: {mode:o}");
            keys += 1;
        }
    }
    assert_eq!(keys, 2, "one of the authority and one of the server");
}

#[test]
fn the_private_authority_outlives_a_restart() {
    let mut server = Server::build().tls().start();
    let path = server.data().join(".pawl/tls/ca.crt");
    let before = fs::read(&path).unwrap();
    server.stop();
    server.start_again();
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_removed_certificate_of_the_authority_is_made_again_with_its_key() {
    let mut server = Server::build().tls().start();
    let credential = server.add_host("web1", &[]);
    let pinned = server.dir().join("pinned.crt");
    fs::copy(credential.ca_file.as_ref().unwrap(), &pinned).unwrap();
    let key = fs::read(server.data().join(".pawl/tls/ca.key")).unwrap();
    server.stop();
    pawl_tests::store::remove(credential.ca_file.as_ref().unwrap());
    server.start_again();
    assert!(fs::read(server.data().join(".pawl/tls/ca.key")).unwrap() == key, "the key is another");
    for ca in [&pinned, credential.ca_file.as_ref().unwrap()] {
        assert_eq!(status(&server, &credential, ca).unwrap(), "404", "{}", ca.display());
    }
    let _ = server.log().wait_for_line(&["ca.crt", "made the certificate"]);
}

#[test]
fn an_authority_whose_key_is_gone_is_not_replaced() {
    let mut server = Server::build().tls().start();
    server.stop();
    let (ca, key) = (server.data().join(".pawl/tls/ca.crt"), server.data().join(".pawl/tls/ca.key"));
    let before = fs::read(&ca).unwrap();
    pawl_tests::store::remove(&key);
    let refused = pawl_in_vain(["serve"].iter().chain(&server.place())).expect_code(1);
    assert!(refused.stderr.contains("ca.key") && refused.stderr.contains("put it back"), "{refused:#?}");
    assert_eq!(fs::read(&ca).unwrap(), before);
    assert!(!key.exists());
}

#[test]
fn http_2_and_http_1_are_both_spoken() {
    let server = Server::build().tls().start();
    let ca = server.add_host("web1", &[]).ca_file.unwrap();
    let ca = ca.to_str().unwrap();
    let url = format!("{}/web1/config", server.url());
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let spoken = curl(["--cacert", ca, option, "--write-out", "%{http_version}", &url]).unwrap();
        assert_eq!(spoken, version);
    }
}

/// An address by which this machine is reached from elsewhere; nothing is sent to find it out.
fn outer_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("this machine has a network");
    socket.local_addr().unwrap().ip()
}

#[test]
fn beyond_loopback_it_is_https() {
    let server = Server::build().listen(SocketAddr::new(outer_address(), 0)).start();
    assert!(server.url().starts_with("https://"), "{}", server.log().text());
    let plain = Connection::open(server.address()).unwrap().exchange(&Request::new("GET", "/web1/config"));
    let plain = plain.unwrap();
    assert_eq!(
        (plain.status, plain.reason.as_str()),
        (400, "this port speaks TLS: the URL must begin with https://")
    );
    let ca = server.add_host("web1", &[]).ca_file.unwrap();
    let url = format!("{}/web1/config", server.url());
    let args = ["--noproxy", "*", "--cacert", ca.to_str().unwrap(), "--write-out", "%{http_code}", &url];
    assert_eq!(curl(args).unwrap(), "401");
}

#[test]
fn beyond_loopback_it_is_plain_http_if_that_was_asked_for() {
    let address = SocketAddr::new(outer_address(), 0);
    let server = Server::build().listen(address).config("plain_http = true").start();
    assert!(server.url().starts_with("http://"), "{}", server.log().text());
    assert_eq!(server.nobody().ask("GET", "/web1/config").unwrap().status, 401);
}

#[test]
fn every_address_needs_a_name_for_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let finished =
        pawl_in_vain(["serve", "--data", data.to_str().unwrap(), "--listen", "0.0.0.0:0"]).expect_code(1);
    assert!(finished.stderr.contains("tls.names"), "{finished:#?}");

    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let server = Server::build().listen(anywhere).config("tls.names = [\"localhost\"]").start();
    let credential = server.add_host("web1", &[]);
    let ca = credential.ca_file.clone().unwrap();
    assert_eq!(status(&server, &credential, &ca).unwrap(), "404");
}

#[test]
fn ones_own_certificate_is_served_and_reloaded_on_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = certificate(dir.path(), "served");
    let server = Server::build().config(&own(&certificate_file, &key_file)).start();
    let credential = server.add_host("web1", &[]);
    assert_eq!(credential.ca_file, None);
    assert!(!server.data().join(".pawl/tls/ca.key").exists(), "no private authority is made");
    let old = dir.path().join("old.pem");
    plant(&old, &fs::read(&certificate_file).unwrap());
    assert_eq!(status(&server, &credential, &old).unwrap(), "404");

    let (renewed, renewed_key) = certificate(dir.path(), "renewed");
    plant(&certificate_file, &fs::read(&renewed).unwrap());
    plant(&key_file, &fs::read(&renewed_key).unwrap());
    server.signal(Signal::HUP);
    wait::until("the renewed certificate is served", || status(&server, &credential, &renewed).ok());
    assert!(status(&server, &credential, &old).is_err());
}

#[test]
fn a_broken_certificate_leaves_the_last_good_one_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = certificate(dir.path(), "served");
    let server = Server::build().config(&own(&certificate_file, &key_file)).start();
    let credential = server.add_host("web1", &[]);
    let good = dir.path().join("good.pem");
    plant(&good, &fs::read(&certificate_file).unwrap());
    plant(&certificate_file, b"-----BEGIN CERTIFICATE-----\n");
    server.signal(Signal::HUP);
    let _ = server.log().wait_for_line(&["served.pem"]);
    assert_eq!(status(&server, &credential, &good).unwrap(), "404");
}
