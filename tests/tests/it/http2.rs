//! HTTPS as other clients than restic speak it: HTTP/2 and what is agreed on before.
//!
//! Invariant: what was agreed on is read from the client's own report, never assumed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use pawl_tests::content::{id_of, noise};
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{path_of, plant};

/// A server that speaks HTTPS, and a host whose repository exists.
struct Https {
    server: Server,
    host: Credential,
}

impl Https {
    fn start() -> Self {
        let server = Server::build().tls().start();
        let host = server.add_host("web1", &[]);
        let https = Self { server, host };
        assert_eq!(https.curl(&["-XPOST"], "/web1/?create=true"), "2 200");
        https
    }

    fn command(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--disable", "--silent", "--show-error", "--max-time", "300", "--http2"]);
        curl.arg("--cacert").arg(self.ca());
        curl.args(["--user", &format!("{}:{}", self.host.user, self.host.password)]);
        curl
    }

    fn ca(&self) -> &PathBuf {
        self.host.ca_file.as_ref().expect("the server has a private CA")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.server.dir().join(name)
    }

    /// Version and code of the answer. The body is in the file `body`.
    fn curl(&self, options: &[&str], target: &str) -> String {
        let output = self
            .command()
            .args(["--write-out", "%{http_version} %{http_code}", "--output"])
            .arg(self.file("body"))
            .args(options)
            .arg(format!("{}{target}", self.server.url()))
            .output();
        printed(&output.expect("curl starts"))
    }

    fn body(&self) -> Vec<u8> {
        fs::read(self.file("body")).unwrap()
    }

    fn upload(&self, content: &[u8]) -> String {
        let file = self.file("upload");
        plant(&file, content);
        let data = format!("@{}", file.display());
        self.curl(&["--data-binary", &data], &format!("/web1/data/{}", id_of(content)))
    }

    /// What openssl says of a handshake.
    fn handshake(&self, options: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &self.server.address().to_string(), "-CAfile"])
            .arg(self.ca())
            .args(options)
            .stdin(Stdio::null())
            .output()
            .expect("openssl starts");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn uploads_in_parallel_over_one_connection_are_all_stored() {
    let https = Https::start();
    let contents: Vec<_> = (0..5).map(|number| noise(&format!("pack {number}"), 3_000_000)).collect();
    let mut curl = https.command();
    curl.args(["--parallel", "--parallel-max", "5", "-XPOST"]);
    curl.args(["--write-out", "%{http_version} %{http_code} %{num_connects}\n"]);
    for (number, content) in contents.iter().enumerate() {
        let file = https.file(&number.to_string());
        plant(&file, content);
        curl.arg("--upload-file").arg(file);
        curl.arg(format!("{}/web1/data/{}", https.server.url(), id_of(content)));
    }
    let answers = printed(&curl.output().expect("curl starts"));
    let answers: Vec<_> = answers.lines().collect();
    assert_eq!(answers.len(), 5, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.starts_with("2 200 ")), "{answers:?}");
    let connected = answers.iter().filter(|answer| answer.ends_with(" 1")).count();
    assert_eq!(connected, 1, "one of them opened the connection: {answers:?}");
    for content in contents {
        let path = path_of(https.server.data(), &format!("web1/data/{}", id_of(&content)));
        assert!(fs::read(path).unwrap() == content);
    }
}

#[test]
fn an_upload_with_other_content_than_its_name_is_refused() {
    let https = Https::start();
    let before = https.server.stored();
    let target = format!("/web1/data/{}", id_of(b"a pack"));
    assert_eq!(https.curl(&["--data-binary", "another pack"], &target), "2 400");
    before.assert_unchanged(&https.server.stored());
}

#[test]
fn a_listing_is_whole() {
    let https = Https::start();
    let mut ids: Vec<_> = (0..100)
        .map(|number| noise(&format!("pack {number}"), 100))
        .map(|content| {
            let id = id_of(&content);
            plant(&path_of(https.server.data(), &format!("web1/data/{id}")), &content);
            id
        })
        .collect();
    let accept = ["-H", "Accept: application/vnd.x.restic.rest.v2"];
    assert_eq!(https.curl(&accept, "/web1/data/"), "2 200");
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&https.body()).unwrap();
    let mut listed: Vec<_> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["size"], 100);
            entry["name"].as_str().unwrap()
        })
        .collect();
    listed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(listed, ids);
}

#[test]
fn ranges_are_read() {
    let https = Https::start();
    let content = noise("pack", 3_000_000);
    assert_eq!(https.upload(&content), "2 200");
    let target = format!("/web1/data/{}", id_of(&content));
    for (range, answer, part) in [
        ("0-", "2 206", 0..3_000_000),
        ("0-0", "2 206", 0..1),
        ("1000000-1999999", "2 206", 1_000_000..2_000_000),
        ("2999999-", "2 206", 2_999_999..3_000_000),
        ("-100", "2 206", 2_999_900..3_000_000),
    ] {
        assert_eq!(https.curl(&["--range", range], &target), answer, "{range}");
        assert!(https.body() == content.get(part).unwrap(), "{range}");
    }
    assert_eq!(https.curl(&["--range", "3000000-"], &target), "2 416");
    assert_eq!(https.curl(&[], &target), "2 200");
    assert!(https.body() == content);
}

#[test]
fn alpn_agrees_on_http_2_or_on_what_the_client_has_instead() {
    let https = Https::start();
    for (offered, agreed) in [
        ("h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("spdy/3,http/1.1", "ALPN protocol: http/1.1"),
    ] {
        let said = https.handshake(&["-alpn", offered]);
        assert!(said.contains(agreed), "{offered}: {said}");
    }
}

#[test]
fn a_client_without_alpn_is_served_http_1() {
    let https = Https::start();
    let spoken = https.curl(&["--no-alpn", "--http1.1"], "/web1/data/");
    assert_eq!(spoken, "1.1 200");
}

#[test]
fn tls_1_2_and_1_3_are_spoken() {
    let https = Https::start();
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = https.handshake(&[option, "-verify_return_error"]);
        assert!(said.contains(&format!("New, {version}, Cipher is ")), "{option}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{option}: {said}");
    }
}

#[test]
fn tls_1_1_is_refused() {
    let https = Https::start();
    // At security level 0 openssl itself would speak it.
    let said = https.handshake(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    // An alert is what the other end sends.
    assert!(said.contains("SSL alert number "), "{said}");
    assert!(said.contains("no peer certificate available"), "{said}");
}
