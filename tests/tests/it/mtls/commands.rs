//! What `pawl host` makes, says and refuses where certificates are concerned.
//!
//! Invariant: a command that is refused leaves everything stored as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pawl_tests::server::Server;

use super::openssl::{fingerprint, openssl};
use super::{add, server};

#[test]
fn the_file_is_for_its_owner_and_never_overwritten() {
    let server = server();
    let web1 = add(&server, "web1", &[]);
    assert_eq!(fs::metadata(&web1.file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&web1.file).unwrap();
    let before = server.stored();
    let file = web1.file.to_str().unwrap();
    for args in [["add", "web2", "--certificate", file], ["rotate", "web1", "--certificate", file]] {
        let finished = server.host(&args).expect_code(1);
        assert!(finished.stderr.contains("web1.pem"), "{finished:#?}");
    }
    assert_eq!(fs::read_to_string(&web1.file).unwrap(), text);
    before.assert_unchanged(&server.stored());
}

#[test]
fn a_certificate_is_valid_as_long_as_was_asked_for() {
    let server = server();
    let web1 = add(&server, "web1", &["--certificate-days", "2"]);
    let days = |days: u32| (days * 24 * 60 * 60).to_string();
    let lasts = |file: &Path, seconds: &str| {
        Command::new("openssl")
            .args(["x509", "-noout", "-checkend", seconds, "-in"])
            .arg(file)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(lasts(&web1.file, &days(1)) && !lasts(&web1.file, &days(2)));
    let web2 = add(&server, "web2", &[]);
    assert!(lasts(&web2.file, &days(3649)) && !lasts(&web2.file, &days(3650)));
    let subject = openssl(&["x509", "-noout", "-subject"], &[("-in", &web1.file)]);
    assert!(String::from_utf8(subject).unwrap().contains("web1"));
}

#[test]
fn the_hosts_file_and_the_list_hold_no_certificate() {
    let server = server();
    let web1 = add(&server, "web1", &[]);
    let _both = add(&server, "both", &["--and-password"]);
    let _word = server.add_host("word", &[]);
    let text = fs::read_to_string(server.data().join(".pawl/hosts.toml")).unwrap();
    assert!(text.contains(&format!("certificate_sha256 = \"{}\"", fingerprint(&web1.file))), "{text}");
    assert!(!text.contains("BEGIN"), "{text}");
    let list = server.host(&["list", "--json"]).expect_code(0).json();
    let ways: Vec<_> = list.as_array().unwrap().iter().map(|host| host["way_in"].as_str().unwrap()).collect();
    assert_eq!(ways, ["certificate and password", "certificate", "password"]);
    let list = server.host(&["list"]).expect_code(0).stdout;
    assert!(list.contains("by certificate and password") && list.contains("by password"), "{list}");
}

#[test]
fn add_says_where_the_certificate_is_and_what_to_paste() {
    let server = server();
    let file = server.dir().join("web1.pem");
    let add = ["add", "web1", "--json", "--certificate", file.to_str().unwrap()];
    let printed = server.host(&add).expect_code(0).json();
    assert_eq!(printed["client_certificate"], file.to_str().unwrap());
    assert!(printed["password"].is_null());
    let file = server.dir().join("web2.pem");
    let pasted = server.host(&["add", "web2", "--certificate", file.to_str().unwrap()]).expect_code(0).stdout;
    assert!(pasted.contains("export RESTIC_TLS_CLIENT_CERT="), "{pasted}");
    assert!(pasted.contains(file.to_str().unwrap()) && pasted.contains("'rest:https://127.0"), "{pasted}");
    assert!(!pasted.contains('@'), "{pasted}");
}

#[test]
fn options_that_cannot_be_meant_are_refused() {
    let plain = Server::start();
    let before = plain.stored();
    let file = plain.dir().join("web1.pem");
    let file = file.to_str().unwrap();
    let finished = plain.host(&["add", "web1", "--certificate", file]).expect_code(1);
    assert!(finished.stderr.contains("TLS"), "{finished:#?}");
    for args in [
        ["add", "web1", "--and-password"].as_slice(),
        &["add", "web1", "--certificate-days", "9"],
        &["add", "web1", "--certificate", file, "--certificate-days", "0"],
        &["add", "web1", "--certificate", file, "--certificate-days", "10000"],
        &["add", "web1", "--certificate", file, "--password-in-htpasswd"],
    ] {
        let _ = plain.host(args).expect_code(2);
    }
    before.assert_unchanged(&plain.stored());

    let server = server();
    let _web1 = add(&server, "web1", &[]);
    let _web2 = server.add_host("web2", &[]);
    let before = server.stored();
    for args in [["rotate", "web1"].as_slice(), &["rotate", "web2", "--certificate", file]] {
        let finished = server.host(args).expect_code(1);
        assert!(finished.stderr.contains("--certificate FILE"), "{finished:#?}");
    }
    assert!(!Path::new(file).exists());
    before.assert_unchanged(&server.stored());
}
