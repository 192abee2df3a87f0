//! Attacks on the frontend when it speaks TLS.

use std::process::Command;

use pawl_tests::content::id_of;
use pawl_tests::http::{Connection, Request};
use pawl_tests::server::{Credential, Server};

/// What curl gets for this target as it stands, over HTTP/2: version and code.
fn http2(server: &Server, credential: &Credential, options: &[&str], target: &str) -> String {
    let output = Command::new("curl")
        .args([
            "--disable",
            "--silent",
            "--show-error",
            "--max-time",
            "300",
            "--output",
            "/dev/null",
            "--http2",
        ])
        .args(["--path-as-is", "--write-out", "%{http_version} %{http_code}", "--cacert"])
        .arg(credential.ca_file.as_ref().unwrap())
        .args(["--user", &format!("{}:{}", credential.user, credential.password)])
        .args(options)
        .arg(format!("{}{target}", server.url()))
        .output()
        .expect("curl starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A48: somebody begins a TLS handshake and does not end it.
#[test]
fn a_handshake_that_never_ends_is_cut_off() {
    let server = Server::build().tls().config("limits.header_seconds = 3").start();
    let credential = server.add_host("web1", &[]);
    let before = server.stored();
    for start in [b"".as_slice(), b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send_bytes(start).unwrap();
        connection.read_to_end().unwrap_or_else(|error| panic!("after {start:?}: {error}"));
    }
    assert_eq!(http2(&server, &credential, &[], "/web1/config"), "2 404");
    before.assert_unchanged(&server.stored());
}

#[test]
fn plain_http_is_answered_in_plain_http_and_logged() {
    let server = Server::build().tls().start();
    for request in [Request::new("GET", "/web1/config"), Request::new("POST", "/web1/?create=true")] {
        let mut connection = Connection::open(server.address()).unwrap();
        let response = connection.exchange(&request).unwrap();
        assert_eq!(response.status, 400);
        assert_eq!(response.reason, "this port speaks TLS: the URL must begin with https://");
        assert_eq!(connection.read_to_end().unwrap(), b"");
    }
    let _ = server.log().wait_for_line(&[" INFO ", "plain HTTP", "last=\"127.0.0.1:"]);
}

/// A49: a host tries over HTTP/2, where methods and paths come as fields, what HTTP/1.1 refused it.
#[test]
fn http_2_opens_no_way_that_http_1_does_not() {
    let server = Server::build().tls().config("credentials.failed_logins_per_minute = 1000").start();
    let web1 = server.add_host("web1", &[]);
    let web2 = server.add_host("web2", &[]);
    let id = id_of(b"a pack");
    for credential in [&web1, &web2] {
        let name = &credential.user;
        let data = ["--data-binary", "a pack"];
        let config = ["--data-binary", "the config"];
        assert_eq!(http2(&server, credential, &["-XPOST"], &format!("/{name}/?create=true")), "2 200");
        assert_eq!(http2(&server, credential, &config, &format!("/{name}/config")), "2 200");
        assert_eq!(http2(&server, credential, &data, &format!("/{name}/data/{id}")), "2 200");
    }
    let before = server.stored();
    for (options, target, code) in [
        (["-XGET"].as_slice(), "/web2/config".to_owned(), "403"),
        (&["-XGET"], "/web1/../web2/config".to_owned(), "404"),
        (&["-XGET"], "/web1/%2e%2e/web2/config".to_owned(), "404"),
        (&["-XGET"], "/.pawl/hosts.toml".to_owned(), "404"),
        (&["-XGET"], "//web2/config".to_owned(), "404"),
        (&["-XDELETE"], format!("/web1/data/{id}"), "403"),
        (&["-XDELETE"], "/web1/config".to_owned(), "403"),
        (&["-XPUT"], format!("/web1/data/{id}"), "405"),
        (&["--data-binary", "A PACK"], format!("/web1/data/{id}"), "400"),
        (&["--data-binary", "another config"], "/web1/config".to_owned(), "403"),
        (&["--user", "web1:guess"], "/web1/config".to_owned(), "401"),
    ] {
        assert_eq!(http2(&server, &web1, options, &target), format!("2 {code}"), "{options:?} {target}");
    }
    before.assert_unchanged(&server.stored());
}

#[test]
fn what_is_no_http_is_logged_with_a_count() {
    let server = Server::start();
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20));
    for sent in [&b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"[..], long.as_bytes()] {
        let mut connection = Connection::open(server.address()).unwrap();
        let _ = connection.send_bytes(sent); // the server may have hung up before it took all
        let _ = connection.read_to_end();
    }
    let _ =
        server.log().wait_for_line(&[" INFO ", "what is no HTTP request", "http://", "last=\"127.0.0.1:"]);
}
