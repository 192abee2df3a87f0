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

mod attacks;
mod commands;
mod openssl;
mod restic;
mod serving;

use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::server::{Credential, Server};

const CONFIG: &str = "/web1/config";
const AUTHORITY: &str = ".pawl/tls/client-ca.crt";
const AUTHORITY_KEY: &str = ".pawl/client-ca/ca.key";

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
    curl.args(["--disable", "--silent", "--show-error", "--max-time", "300", "--output", "/dev/null"]);
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
