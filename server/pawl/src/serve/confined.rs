//! What the frontend needs once it serves, and its confinement to that.
//!
//! Invariant: it comes before the runtime, and before the first connection is accepted. What is reached is at least
//! what the configuration demands.

use std::path::PathBuf;

use pawl_config::Level;
use pawl_config::url::machine_name;
use pawl_config::{Config, Tls};

use pawl_keeper::KeeperProcess;
use pawl_keeper::confine::{self, BEFORE, CANARY, FrontendNeeds};

/// Ports on which a cloud hands out credentials: its metadata services over HTTP, its token service over HTTPS.
const CREDENTIAL_PORTS: [u16; 2] = [80, 443];
/// Names are asked for over TCP where an answer is too long for a datagram.
const NAME_SERVICE_PORT: u16 = 53;

/// Variables by which the SDK finds files of credentials, which it may read again.
const CREDENTIAL_FILES: [&str; 4] = [
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Confines this process, the frontend, and stores a file as it then would.
pub fn confine(config: &Config, keeper: &KeeperProcess) -> Result<Level, Box<dyn std::error::Error>> {
    let demand = config.confinement;
    let needs = needs(config);
    let canary = config.data.join(CANARY).join(BEFORE);
    let footing = keeper.footing();
    let door = confine::door(&needs, demand, footing.canary.then_some(canary.as_path()))?;
    let level = confine::check(door, footing.confined, demand)?;
    if footing.canary {
        keeper.try_storing()?;
    }
    say(level, door.uid == 0);
    Ok(level)
}

fn say(level: Level, is_root: bool) {
    let meaning = level.meaning();
    match level {
        Level::Off | Level::Seccomp => tracing::warn!("confinement: {level}: {meaning}"),
        Level::SameUser | Level::Strong => tracing::info!("confinement: {level}: {meaning}"),
    }
    if is_root {
        tracing::warn!("the server runs as root; give it a user of its own, to whom the directory belongs");
    }
}

fn needs(config: &Config) -> FrontendNeeds {
    let mut files: Vec<PathBuf> = config.htpasswd.iter().cloned().collect();
    if let Tls::Given { certificate, key } = &config.tls {
        files.extend([certificate.clone(), key.clone()]);
    }
    let mut ports = None;
    if let Some(settings) = &config.s3 {
        files.extend(settings.ca.iter().chain(&settings.credentials_file).cloned());
        files.extend(CREDENTIAL_FILES.iter().filter_map(std::env::var_os).map(PathBuf::from));
        if let Some(home) = std::env::var_os("HOME") {
            files.push(PathBuf::from(home).join(".aws/credentials"));
        }
        files.extend(["SSL_CERT_FILE"].iter().filter_map(std::env::var_os).map(PathBuf::from));
        let (host, port) = place_of(settings.endpoint.as_deref());
        ready_to_ask_for_names(&host, port);
        ports = Some([port, NAME_SERVICE_PORT].into_iter().chain(CREDENTIAL_PORTS).collect());
    }
    FrontendNeeds { trees: vec![config.data.clone()], files, ports }
}

/// Host and port of the store. AWS has a name for each bucket and region; any name will do to get ready.
fn place_of(endpoint: Option<&str>) -> (String, u16) {
    let Some((scheme, rest)) = endpoint.and_then(|endpoint| endpoint.split_once("://")) else {
        return (machine_name(), 443);
    };
    let authority = rest.split('/').next().unwrap_or_default();
    // In an IPv6 address a colon is no port's.
    let after_host = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority.rfind(':').filter(|at| *at > after_host) {
        Some(at) => (authority.get(..at), authority.get(at + 1..).and_then(|port| port.parse().ok())),
        None => (Some(authority), None),
    };
    let host = host.unwrap_or_default().trim_matches(['[', ']']);
    (host.to_owned(), port.unwrap_or(if scheme == "http" { 80 } else { 443 }))
}

/// The C library loads parts of itself at the first question for a name, which a confined process cannot.
fn ready_to_ask_for_names(host: &str, port: u16) {
    use std::net::ToSocketAddrs;
    let _ = (host, port).to_socket_addrs(); // the answer does not matter here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_store_is_read_off_its_url() {
        for (endpoint, host, port) in [
            ("https://s3.example.org", "s3.example.org", 443),
            ("http://s3.example.org/", "s3.example.org", 80),
            ("http://127.0.0.1:7480", "127.0.0.1", 7480),
            ("https://[2001:db8::1]", "2001:db8::1", 443),
            ("https://[2001:db8::1]:9000/base", "2001:db8::1", 9000),
        ] {
            assert_eq!(place_of(Some(endpoint)), (host.to_owned(), port), "{endpoint}");
        }
        assert_eq!(place_of(None).1, 443);
    }
}
