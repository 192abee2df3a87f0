//! Attacks with certificates: forged, borrowed, stolen, ended.
//!
//! Invariant: every attack ends by comparing everything stored.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use pawl_tests::server::Server;
use pawl_tests::store::plant;
use pawl_tests::wait;

use super::openssl::{authority, fingerprint, signed};
use super::{AUTHORITY, AUTHORITY_KEY, CONFIG, add, ask, create, get, login, server};

/// The handshake fails with this certificate, and the log says why. The client may be told no more than that the
/// connection ended: in TLS 1.3 it has been done with the handshake before the server looks at its certificate.
fn assert_refused_in_the_handshake(server: &Server, certificate: &Path, why: &str) {
    for version in [["--tlsv1.2", "--tls-max", "1.2"].as_slice(), &["--tlsv1.3"]] {
        ask(server, Some(certificate), None, version, CONFIG).unwrap_err();
    }
    let _ = server.log().wait_for_line(&["WARN", "a host's certificate was refused", why]);
}

/// Lets the hosts file name the certificate of `new` where it names that of `old`.
fn put_in_place(server: &Server, old: &Path, new: &Path) {
    let path = server.data().join(".pawl/hosts.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (old, new) = (fingerprint(old), fingerprint(new));
    assert!(text.contains(&old), "{text}");
    plant(&path, text.replace(&old, &new).as_bytes());
}

/// One connection of HTTP/1.1 that began with a certificate.
#[derive(Debug)]
struct Session {
    openssl: Child,
    answers: BufReader<ChildStdout>,
}

impl Session {
    fn open(server: &Server, certificate: &Path) -> Self {
        let mut openssl = Command::new("openssl")
            .args(["s_client", "-quiet", "-alpn", "http/1.1", "-connect", &server.address().to_string()])
            .arg("-cert")
            .arg(certificate)
            .arg("-key")
            .arg(certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let answers = BufReader::new(openssl.stdout.take().unwrap());
        Self { openssl, answers }
    }

    /// The status of a request that is answered without a body.
    fn head(&mut self, target: &str) -> u16 {
        let input = self.openssl.stdin.as_mut().unwrap();
        write!(input, "HEAD {target} HTTP/1.1\r\nHost: pawl\r\n\r\n").unwrap();
        input.flush().unwrap();
        let mut lines = (&mut self.answers).lines().map(Result::unwrap);
        let status = lines.next().expect("an answer");
        assert!(lines.any(|line| line.is_empty()));
        status.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.openssl.kill(); // it fails only if the process has ended already
        let _ = self.openssl.wait();
    }
}

/// A68: somebody brings a certificate in a host's name of an authority of their own, of whatever name.
#[test]
fn a_certificate_of_another_authority_ends_the_handshake() {
    let server = server();
    let web1 = add(&server, "web1", &[]);
    create(&server, &web1, None);
    let before = server.stored();
    for (folder, subject, why) in
        [("namesake", "/CN=Pawl hosts", "BadSignature"), ("other", "/CN=Somebody", "UnknownIssuer")]
    {
        let dir = server.dir().join(folder);
        let own = authority(&dir, subject);
        let forged = signed(&dir, (&own.0, &own.1), "2");
        assert_refused_in_the_handshake(&server, &forged, why);
    }
    // The server's own authority, which every host trusts, is none of hosts.
    let tls = server.data().join(".pawl/tls");
    let dir = server.dir().join("servers");
    fs::create_dir(&dir).unwrap();
    let forged = signed(&dir, (&tls.join("ca.crt"), &tls.join("ca.key")), "2");
    assert_refused_in_the_handshake(&server, &forged, "UnknownIssuer");
    assert_eq!(get(&server, Some(&web1.file), None, CONFIG), Ok(200));
    before.assert_unchanged(&server.stored());
}

/// A69: a host brings its certificate to another's repository, or with another's name or password.
#[test]
fn a_certificate_and_a_name_that_contradict_are_nobodys() {
    let server = server();
    let (web1, web2) = (add(&server, "web1", &[]), server.add_host("web2", &[]));
    create(&server, &web1, None);
    let right = login(&web2);
    assert_eq!(ask(&server, None, Some(&right), &["-XPOST"], "/web2/?create=true"), Ok(200));
    let before = server.stored();
    let file = Some(web1.file.as_path());
    assert_eq!(get(&server, file, None, "/web2/config"), Ok(403));
    for login in [right.as_str(), "web2:guess", "web1:guess", "web1:", "nobody:guess", ":guess"] {
        for target in ["/web2/config", CONFIG] {
            assert_eq!(get(&server, file, Some(login), target), Ok(401), "{login} {target}");
        }
    }
    for header in ["Authorization: Bearer x", "Authorization: Basic !", "Authorization;"] {
        assert_eq!(ask(&server, file, None, &["--header", header], CONFIG), Ok(401), "{header}");
    }
    assert_eq!(get(&server, None, Some(&right), "/web2/config"), Ok(404));
    before.assert_unchanged(&server.stored());
}

/// A70: a thief has one of the two that a host needs, its certificate or its password.
#[test]
fn who_needs_both_gets_in_with_neither_alone() {
    let server = server();
    let (web1, web2) = (add(&server, "web1", &["--and-password"]), add(&server, "web2", &[]));
    let right = login(&web1.credential);
    create(&server, &web1, Some(&right));
    let before = server.stored();
    for (file, login) in [
        (Some(&web1.file), None),
        (None, Some(right.as_str())),
        (Some(&web1.file), Some("web1:guess")),
        (Some(&web2.file), Some(&right)),
        (Some(&web1.file), Some("web2:")),
    ] {
        assert_eq!(get(&server, file.map(PathBuf::as_path), login, CONFIG), Ok(401), "{file:?} {login:?}");
    }
    assert_eq!(get(&server, Some(&web1.file), Some(&right), CONFIG), Ok(200));
    before.assert_unchanged(&server.stored());
}

/// A71: a thief goes on with a certificate that was revoked or renewed, over a new connection or an open one.
#[test]
fn a_certificate_ends_at_once_on_open_connections_too() {
    let server = server();
    let (web1, web2) = (add(&server, "web1", &[]), add(&server, "web2", &["--and-password"]));
    create(&server, &web1, None);
    create(&server, &web2, Some(&login(&web2.credential)));

    let mut open = Session::open(&server, &web1.file);
    assert_eq!((open.head(CONFIG), open.head(CONFIG)), (200, 200));
    let renewed = server.dir().join("renewed.pem");
    let _ = server.host(&["rotate", "web1", "--certificate", renewed.to_str().unwrap()]).expect_code(0);
    assert_eq!(open.head(CONFIG), 401);
    assert_eq!(get(&server, Some(&web1.file), None, CONFIG), Ok(401));

    let mut open = Session::open(&server, &renewed);
    assert_eq!((open.head(CONFIG), open.head(CONFIG)), (200, 200));
    let _ = server.host(&["revoke", "web1"]).expect_code(0);
    assert_eq!(open.head(CONFIG), 401);
    assert_eq!(get(&server, Some(&renewed), None, CONFIG), Ok(401));

    // Both are renewed together.
    let file = server.dir().join("renewed2.pem");
    let rotate = ["rotate", "web2", "--json", "--certificate", file.to_str().unwrap()];
    let printed = server.host(&rotate).expect_code(0).json();
    let new = format!("web2:{}", printed["password"].as_str().unwrap());
    let old = login(&web2.credential);
    let before = server.stored();
    for (file, login, status) in
        [(&web2.file, &old, 401), (&file, &old, 401), (&web2.file, &new, 401), (&file, &new, 200)]
    {
        assert_eq!(get(&server, Some(file), Some(login), "/web2/config"), Ok(status), "{file:?} {login}");
    }
    before.assert_unchanged(&server.stored());
}

/// A72: a thief uses a certificate that has expired and that nobody revoked.
#[test]
fn an_expired_certificate_ends_the_handshake() {
    let server = server();
    let web1 = add(&server, "web1", &[]);
    create(&server, &web1, None);
    let authority = (server.data().join(AUTHORITY), server.data().join(AUTHORITY_KEY));
    let issue = |folder: &str, days: &str| {
        let dir = server.dir().join(folder);
        fs::create_dir(&dir).unwrap();
        signed(&dir, (&authority.0, &authority.1), days)
    };
    let valid = issue("valid", "2");
    put_in_place(&server, &web1.file, &valid);
    assert_eq!(get(&server, Some(&valid), None, CONFIG), Ok(200));
    let expired = issue("expired", "0");
    put_in_place(&server, &valid, &expired);
    let made = Instant::now();
    wait::until("its last second is over", || (made.elapsed() > Duration::from_secs(2)).then_some(()));
    let before = server.stored();
    assert_refused_in_the_handshake(&server, &expired, "expired");
    before.assert_unchanged(&server.stored());
}

/// A73: a thief of the authority's key makes a certificate in a host's name.
#[test]
fn a_certificate_that_the_hosts_file_does_not_name_is_nobodys() {
    let server = server();
    let web1 = add(&server, "web1", &[]);
    create(&server, &web1, None);
    let before = server.stored();
    let dir = server.dir().join("forged");
    fs::create_dir(&dir).unwrap();
    let (certificate, key) = (server.data().join(AUTHORITY), server.data().join(AUTHORITY_KEY));
    let forged = signed(&dir, (&certificate, &key), "2");
    assert_eq!(get(&server, Some(&forged), None, CONFIG), Ok(401));
    assert_eq!(get(&server, Some(&web1.file), None, CONFIG), Ok(200));
    before.assert_unchanged(&server.stored());
}

/// A74: somebody finds a password for a host that has a certificate instead: a guessed one, or one from an htpasswd
/// file that knows the same name.
#[test]
fn a_host_with_a_certificate_has_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let htpasswd = dir.path().join("htpasswd");
    let users = ["web1", "ana"]
        .map(|user| {
            format!(
                "{user}:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=
"
            )
        })
        .concat();
    plant(&htpasswd, users.as_bytes());
    let config = format!("credentials = {{ htpasswd = {htpasswd:?}, failed_logins_per_minute = 1000 }}");
    let server = Server::build().tls().config(&config).start();
    assert_eq!(
        get(&server, None, Some("web1:password"), CONFIG),
        Ok(404),
        "a user of the htpasswd file alone"
    );
    let web1 = add(&server, "web1", &[]);
    create(&server, &web1, None);
    let before = server.stored();
    let file = Some(web1.file.as_path());
    for (file, login) in
        [(None, "web1:password"), (None, "web1:"), (file, "web1:password"), (file, "ana:password")]
    {
        assert_eq!(get(&server, file, Some(login), CONFIG), Ok(401), "{file:?} {login}");
    }
    assert_eq!(get(&server, file, None, CONFIG), Ok(200));
    assert_eq!(get(&server, None, Some("ana:password"), "/ana/config"), Ok(404), "as ever");
    before.assert_unchanged(&server.stored());
}
