//! Certificates of hosts, instead of a password or beside it.
//!
//! Invariant: certificates are made by `pawl host`, or by openssl where an attacker would make them; every attack ends
//! by comparing everything stored.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use pawl_tests::clients::{Restic, Version, address_of};
use pawl_tests::content::{id_of, noise};
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{Stored, plant};
use pawl_tests::{wait, with_each_restic};

const CONFIG: &str = "/web1/config";
const AUTHORITY: &str = ".pawl/tls/client-ca.crt";
const AUTHORITY_KEY: &str = ".pawl/client-ca/ca.key";

with_each_restic! {
    restic_backs_up_and_restores_with_a_certificate,
    restic_backs_up_and_restores_with_certificate_and_password,
    restic_is_refused_with_less_or_other_than_its_host_needs,
}

/// A host, and the file with its certificate and key.
#[derive(Debug)]
struct Host {
    credential: Credential,
    file: PathBuf,
}

fn server() -> Server {
    Server::build().tls().config("credentials.failed_logins_per_minute = 1000").start()
}

fn add(server: &Server, name: &str, options: &[&str]) -> Host {
    let file = server.dir().join(format!("{name}.pem"));
    let mut all = vec!["--certificate", file.to_str().unwrap()];
    all.extend(options);
    Host { credential: server.add_host(name, &all), file }
}

/// What curl is answered over HTTP/2, or how the handshake failed.
fn ask(
    server: &Server,
    certificate: Option<&Path>,
    login: Option<&str>,
    options: &[&str],
    target: &str,
) -> Result<u16, String> {
    let mut curl = Command::new("curl");
    curl.args(["--disable", "--silent", "--show-error", "--max-time", "60", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code}", "--cacert"]).arg(server.data().join(".pawl/tls/ca.crt"));
    if let Some(certificate) = certificate {
        curl.arg("--cert").arg(certificate);
    }
    curl.args(login.iter().flat_map(|login| ["--user", login]));
    let output = curl.args(options).arg(format!("{}{target}", server.url())).output().expect("curl starts");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().parse().unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn get(
    server: &Server,
    certificate: Option<&Path>,
    login: Option<&str>,
    target: &str,
) -> Result<u16, String> {
    ask(server, certificate, login, &[], target)
}

/// The handshake fails with this certificate, and the log says why. The client may be told no more than that the
/// connection ended: in TLS 1.3 it has been done with the handshake before the server looks at its certificate.
fn assert_refused_in_the_handshake(server: &Server, certificate: &Path, why: &str) {
    for version in [["--tlsv1.2", "--tls-max", "1.2"].as_slice(), &["--tlsv1.3"]] {
        ask(server, Some(certificate), None, version, CONFIG).unwrap_err();
    }
    let _ = server.log().wait_for_line(&["WARN", "a host's certificate was refused", why]);
}

/// A repository with a config, made with the host's certificate.
fn create(server: &Server, host: &Host, login: Option<&str>) {
    let name = &host.credential.user;
    let file = Some(host.file.as_path());
    assert_eq!(ask(server, file, login, &["-XPOST"], &format!("/{name}/?create=true")), Ok(200));
    let config = ["--data-binary", "the config"];
    assert_eq!(ask(server, file, login, &config, &format!("/{name}/config")), Ok(200));
}

fn login(credential: &Credential) -> String {
    format!("{}:{}", credential.user, credential.password)
}

fn openssl(args: &[&str], paths: &[(&str, &Path)]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(args);
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    let output = command.output().expect("openssl starts");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Somebody's own authority: its certificate and key.
fn authority(dir: &Path, subject: &str) -> (PathBuf, PathBuf) {
    fs::create_dir(dir).unwrap();
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj"];
    let args = [["req", "-x509"].as_slice(), &curve, &[subject]].concat();
    openssl(&args, &[("-keyout", &key), ("-out", &certificate)]);
    (certificate, key)
}

/// A certificate for `web1` and its key in one file, signed by this authority.
fn signed(dir: &Path, (authority, authority_key): (&Path, &Path), days: &str) -> PathBuf {
    let (key, request, certificate) = (dir.join("key"), dir.join("request"), dir.join("certificate"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=web1"];
    let args = [["req", "-new"].as_slice(), &curve].concat();
    openssl(&args, &[("-keyout", &key), ("-out", &request)]);
    let extensions = dir.join("extensions");
    plant(&extensions, b"keyUsage = digitalSignature\nextendedKeyUsage = clientAuth\n");
    let sign = ["x509", "-req", "-set_serial", "7", "-days", days];
    let with = [
        ("-in", &*request),
        ("-CA", authority),
        ("-CAkey", authority_key),
        ("-out", &certificate),
        ("-extfile", &extensions),
    ];
    openssl(&sign, &with);
    let both = dir.join("both.pem");
    plant(&both, &[fs::read(&certificate).unwrap(), fs::read(&key).unwrap()].concat());
    both
}

fn fingerprint(file: &Path) -> String {
    id_of(&openssl(&["x509", "-outform", "DER"], &[("-in", file)]))
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
