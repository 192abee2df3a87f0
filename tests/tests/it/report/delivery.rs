//! Handing the report out: to a command, to a webhook, and what is said when that fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use pawl_tests::command::{Finished, pawl_command};
use pawl_tests::server::Server;
use pawl_tests::store::{plant, remove};
use pawl_tests::wait::DEADLINE;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use serde_json::Value;

use super::{Ground, last_line};

/// A monitor that takes one report and answers with this status; the head and the body that it got.
fn monitor(status: &'static str) -> (SocketAddr, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (got, take) = channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "cut: {head}");
        }
        let length =
            head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap()];
        reader.read_exact(&mut body).unwrap();
        let answer =
            format!("HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        got.send((head, String::from_utf8(body).unwrap())).unwrap();
    });
    (address, take)
}

/// A command that keeps what it is given, and its environment.
fn keeping(place: &Path) -> String {
    let script = format!("cat >{0}/got; env >{0}/env; echo heard", place.display());
    format!("command = ['/bin/sh', '-c', '{script}']")
}

#[test]
fn a_command_has_the_report_on_its_input_and_little_else() {
    let place = tempfile::tempdir().unwrap();
    for (format, beginning) in [
        ("", "Report of "),
        ("format = 'json'", "{\"pawl_report\":1,"),
        ("format = 'html'", "<!DOCTYPE html>"),
    ] {
        let ground = Ground::reporting(&format!("{}\n{format}", keeping(place.path())));
        let mut command = pawl_command();
        command.args(["maintain", "report", "--deliver"]).args(ground.server.place()).env("SECRET", "word");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let got = std::fs::read_to_string(place.path().join("got")).unwrap();
        assert!(got.starts_with(beginning), "{format}: {got}");
        let environment = std::fs::read_to_string(place.path().join("env")).unwrap();
        assert!(environment.contains("PATH=") && !environment.contains("SECRET"), "{environment}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("\"delivered\":true") && !said.contains("heard"), "{said}");
    }
}

#[test]
fn a_delivered_report_is_what_the_next_is_compared_with() {
    let place = tempfile::tempdir().unwrap();
    let ground = Ground::reporting(&keeping(place.path()));
    assert_eq!(ground.json(0, &[])["compared"], Value::Null);
    let _ = ground.report(&["--deliver"]).expect_code(0);
    remove(&ground.snapshot_path(&ground.snapshots[0]));
    let report = ground.json(1, &[]);
    assert_eq!(report["compared"]["with"], "the last report");
    assert_eq!(report["compared"]["missing"][0]["snapshots"][0], *ground.snapshots[0]);
    // That it was delivered does not say that somebody looked.
    for _ in 0..2 {
        let told = ground.report(&["--deliver"]).expect_code(1);
        assert_eq!(last_line(&told)["missing"], 1);
    }
    let _ = ground.report(&["--acknowledge"]).expect_code(1);
    assert_eq!(ground.json(0, &[])["summary"]["missing"], 0);
}

#[test]
fn a_command_that_fails_or_takes_too_long_is_told_and_nothing_counts_as_delivered() {
    // Only what is to take too long gets a short time: on a busy machine a second may pass before a command begins.
    for (command, seconds, reason) in [
        ("['/bin/sh', '-c', 'echo no mail today >&2; exit 75']", 60, "no mail today"),
        ("['/nonexistent/mail']", 60, "it does not start"),
        ("['/bin/sh', '-c', 'sleep 600']", 1, "within 1 s"),
    ] {
        let ground = Ground::reporting(&format!("timeout_seconds = {seconds}\ncommand = {command}"));
        let begun = Instant::now();
        let failed = ground.report(&["--deliver"]).expect_code(2);
        assert!(begun.elapsed() < DEADLINE, "it waited for all of the command");
        assert!(failed.stderr.contains(reason), "{failed:?}");
        assert_eq!(
            (&last_line(&failed)["exit"], &last_line(&failed)["delivered"]),
            (&2.into(), &false.into())
        );
        assert_eq!(ground.json(0, &[])["since"], Value::Null, "it was not delivered");
    }
}

#[test]
fn without_anybody_to_deliver_to_that_is_an_error() {
    let failed = Ground::new().report(&["--deliver"]).expect_code(2);
    assert!(failed.stderr.contains("[maintenance.report]"), "{failed:?}");
}

fn webhook(address: SocketAddr, more: &str) -> Ground {
    Ground::reporting(&format!("webhook = 'http://{address}/hook/of-secrets'\n{more}"))
}

#[test]
fn a_webhook_gets_json_with_the_header_from_a_file() {
    let place = tempfile::tempdir().unwrap();
    let token = place.path().join("token");
    plant(&token, b"Bearer word-of-mouth\n");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    let (address, take) = monitor("204 No Content");
    let ground = webhook(address, &format!("webhook_token_file = '{}'", token.display()));
    let _ = ground.report(&["--deliver"]).expect_code(0);
    let (head, body) = take.recv_timeout(DEADLINE).unwrap();
    assert!(head.starts_with("POST /hook/of-secrets HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("authorization: bearer word-of-mouth\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["repositories"][0]["repository"], "web1");
    assert_eq!(ground.json(0, &[])["since"], body["made"]);
}

fn assert_keeps_secrets(failed: &Finished) {
    for secret in ["word-of-mouth", "of-secrets"] {
        assert!(!failed.stdout.contains(secret) && !failed.stderr.contains(secret), "{failed:?}");
    }
}

#[test]
fn a_webhook_that_refuses_redirects_or_is_not_there_is_told_without_secrets() {
    let place = tempfile::tempdir().unwrap();
    let token = place.path().join("token");
    plant(&token, b"Bearer word-of-mouth");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    let more = format!("timeout_seconds = 5\nwebhook_token_file = '{}'", token.display());
    for (status, reason) in [("500 Internal Server Error", "found 500"), ("302 Found", "found 302")] {
        let (address, _take) = monitor(status);
        let failed = webhook(address, &more).report(&["--deliver"]).expect_code(2);
        assert!(failed.stderr.contains(reason), "{failed:?}");
        assert_keeps_secrets(&failed);
    }
    // Bound and not listening, so that nobody else takes the port.
    let bound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&bound, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let nobody = SocketAddr::try_from(getsockname(&bound).unwrap()).unwrap();
    let ground = webhook(nobody, &more);
    let failed = ground.report(&["--deliver"]).expect_code(2);
    assert!(failed.stderr.contains(&nobody.to_string()), "{failed:?}");
    assert_keeps_secrets(&failed);
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o640)).unwrap();
    let failed = ground.report(&["--deliver"]).expect_code(2);
    assert!(failed.stderr.contains("chmod 600"), "{failed:?}");
    assert_keeps_secrets(&failed);
}

/// The other end is a server of Pawl's with a certificate of its own CA: reached, it does not know the path.
#[test]
fn a_webhook_s_certificate_is_verified() {
    let other = Server::build().tls().start();
    let url = other.url().to_owned();
    let ground = Ground::reporting(&format!("webhook = '{}/hook'", url.trim_end_matches('/')));
    let deliver = |trusted: &Path| {
        let mut command = pawl_command();
        command
            .args(["maintain", "report", "--deliver"])
            .args(ground.server.place())
            .env("SSL_CERT_FILE", trusted);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = deliver(&other.data().join(".pawl/tls/ca.crt"));
    assert!(said.contains("found 40"), "{said}");
    let said = deliver(Path::new("/etc/ssl/certs/ca-certificates.crt"));
    assert!(said.contains("certificate"), "{said}");
}
