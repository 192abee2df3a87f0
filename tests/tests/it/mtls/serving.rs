//! The server that asks for certificates: at once, after a restart, and with what it finds of its authority.
//!
//! Invariant: a host with the right certificate gets in, whatever happens to other hosts and other files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use pawl_tests::server::Server;
use pawl_tests::store::plant;

use super::{AUTHORITY, AUTHORITY_KEY, CONFIG, add, create, get, login, server};

#[test]
fn a_certificate_works_at_once_on_a_running_server_and_after_a_restart() {
    let mut server = server();
    let web2 = server.add_host("web2", &[]);
    assert!(!server.data().join(AUTHORITY).exists(), "it is made with the first certificate");
    let web1 = add(&server, "web1", &[]);
    create(&server, &web1, None);
    assert!(server.stop().success());
    server.start_again();
    assert_eq!(get(&server, Some(&web1.file), None, CONFIG), Ok(200));
    assert_eq!(get(&server, None, Some(&login(&web2)), "/web2/config"), Ok(404), "passwords go on working");
    assert_eq!(get(&server, None, None, CONFIG), Ok(401));
}

#[test]
fn the_server_needs_only_the_certificate_of_the_authority() {
    let mut server = server();
    let web1 = add(&server, "web1", &[]);
    create(&server, &web1, None);
    let key = fs::read(server.data().join(AUTHORITY_KEY)).unwrap();
    let mode = |path: &str| fs::metadata(server.data().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(AUTHORITY_KEY), mode(".pawl/client-ca")), (0o600, 0o700));
    assert!(!fs::read_to_string(server.data().join(AUTHORITY)).unwrap().contains("PRIVATE"));

    assert!(server.stop().success());
    pawl_tests::store::remove(&server.data().join(AUTHORITY_KEY));
    server.start_again();
    assert_eq!(get(&server, Some(&web1.file), None, CONFIG), Ok(200));
    // Another key would end the certificates of all hosts, so none is made.
    let before = server.stored();
    let file = server.dir().join("web2.pem");
    let add = server.host(&["add", "web2", "--certificate", file.to_str().unwrap()]).expect_code(1);
    assert!(add.stderr.contains("ca.key"), "{add:#?}");
    assert!(!file.exists());
    before.assert_unchanged(&server.stored());
    plant(&server.data().join(AUTHORITY_KEY), &key);
    let _ = server.host(&["add", "web2", "--certificate", file.to_str().unwrap()]).expect_code(0);
    assert_eq!(get(&server, Some(&file), None, "/web2/config"), Ok(404));
}

#[test]
fn an_authority_that_cannot_be_read_leaves_the_last_good_one_in_force() {
    let server = server();
    let web1 = add(&server, "web1", &[]);
    create(&server, &web1, None);
    plant(&server.data().join(AUTHORITY), b"-----BEGIN CERTIFICATE-----\n");
    assert_eq!(get(&server, Some(&web1.file), None, CONFIG), Ok(200));
    let _ = server.log().wait_for_line(&["client-ca.crt"]);
}

#[test]
fn failed_logins_by_certificate_are_throttled_like_wrong_passwords() {
    let server = Server::build().tls().config("credentials.failed_logins_per_minute = 3").start();
    let (web1, web2) = (add(&server, "web1", &[]), add(&server, "web2", &[]));
    let _ = server.host(&["revoke", "web1"]).expect_code(0);
    let answers: Vec<_> = (0..6).map(|_| get(&server, Some(&web1.file), None, CONFIG).unwrap()).collect();
    assert_eq!(answers[..3], [401; 3]);
    assert!(answers.contains(&429), "{answers:?}");
    assert_eq!(get(&server, Some(&web2.file), None, "/web2/config"), Ok(404), "a right one always works");
}

/// How many of six connections one after the other were begun with what the server remembered of an earlier one.
fn resumed(server: &Server) -> usize {
    let openssl = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-reconnect", "-connect", &server.address().to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("openssl starts");
    String::from_utf8_lossy(&openssl.stdout).matches("Reused, TLS").count()
}

#[test]
fn no_session_is_resumed_where_certificates_are_asked_for() {
    let server = server();
    assert!(resumed(&server) > 0, "without certificates nothing is lost by it");
    let _web1 = add(&server, "web1", &[]);
    assert_eq!(resumed(&server), 0);
}
