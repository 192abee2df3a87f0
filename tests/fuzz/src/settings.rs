//! What an admin writes, and names, which everybody writes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use pawl_config::{Config, IN_DATA, Tls};
use pawl_frontend::credentials::{Credentials, Hosts, OfHtpasswd, Presented, Secret};
use pawl_frontend::peer::Origin;
use pawl_policy::{BatchId, FileId, FileType, Handle, Network, PrincipalName, RepositoryName, Role};

use crate::run;
use crate::scratch::Scratch;

thread_local! {
    static SCRATCH: Scratch = Scratch::new();
}

/// The password that corpora know.
pub(crate) const PASSWORD: &str = "pawl_fuzz";
/// Names with which a login is tried.
const LOGINS_MAX: usize = 8;

/// Only an entry with this very hash, and without a certificate, lets its name in; what was read is written as it was.
pub(crate) fn hosts(input: &[u8]) {
    let path = SCRATCH.with(|scratch| scratch.write("hosts.toml", input));
    let Ok(hosts) = Hosts::read(&path) else {
        assert!(Credentials::load(path, None, NonZeroU32::MAX).is_err());
        return;
    };
    let credentials = Credentials::load(path.clone(), None, NonZeroU32::MAX).unwrap();
    for name in hosts.hosts.keys().chain(hosts.bad.keys()).take(LOGINS_MAX) {
        let presented = Presented { login: Some((name, PASSWORD)), certificate: None };
        let from = Origin::of(IpAddr::from([127, 0, 0, 1]));
        let principal = run(credentials.authenticate(presented, from));
        let right = Secret::again(PASSWORD.to_owned()).hash();
        let host = hosts.hosts.get(name);
        let secret = host.and_then(|host| host.secret_sha256.as_deref());
        let has_certificate = host.is_some_and(|host| host.certificate_sha256.is_some());
        let is_right = secret.is_some_and(|secret| secret.eq_ignore_ascii_case(&right));
        assert_eq!(principal.is_ok(), is_right && !has_certificate, "{name}");
        let (Ok(principal), Some(host)) = (principal, host) else { continue };
        for entry in &host.grants {
            let repository = entry.repository.parse().unwrap();
            let grant = principal.grant(&repository).unwrap();
            assert!(matches!(grant.role, Role::Backup | Role::Restore));
        }
        let elsewhere = "not/granted/to/anybody".parse().unwrap();
        let is_granted = host.grants.iter().any(|entry| entry.repository == "not/granted/to/anybody");
        assert_eq!(principal.grant(&elsewhere).is_some(), is_granted);
    }
    Hosts::update(&path, |_| Ok(())).unwrap();
    let again = Hosts::read(&path).unwrap();
    let shown = |hosts: &Hosts| format!("{hosts:?}");
    assert_eq!(shown(&again), shown(&hosts));
}

/// Each line lets at most one user in, under the name that stands before its colon.
pub(crate) fn htpasswd(input: &[u8]) {
    let path = SCRATCH.with(|scratch| scratch.write("htpasswd", input));
    let hosts = Hosts { hosts: BTreeMap::new(), bad: BTreeMap::new() };
    let Ok(read) = OfHtpasswd::read(&path, &hosts) else {
        assert!(str::from_utf8(input).is_err());
        return;
    };
    let text = str::from_utf8(input).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let meant = lines.iter().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert!(read.users.len() + read.bad.len() <= meant, "{read:?}");
    for (name, repository) in &read.users {
        assert_eq!(name.as_str(), repository.as_str());
        let lets_in = |line: &&str| {
            line.strip_prefix(name.as_str())
                .and_then(|rest| rest.strip_prefix(':'))
                .is_some_and(|hash| hash.starts_with("{SHA}") || hash.starts_with("$2"))
        };
        assert!(lines.iter().any(lets_in), "{name}");
    }
}

/// A configuration never speaks in the clear to other machines without having said so, and is about its own directory.
pub(crate) fn config(input: &[u8]) {
    SCRATCH.with(|scratch| {
        scratch.write(IN_DATA, input);
        let Ok(config) = Config::read_in(scratch.path().to_owned()) else { return };
        assert_eq!(config.data, scratch.path());
        assert!(!config.listen.is_empty());
        let is_exposed = config.listen.iter().any(|place| place.exposed().is_some());
        assert!(config.tls != Tls::Off || config.plain_http || !is_exposed, "{config:?}");
    });
}

/// A name prints as it was written, and none names anything outside its place.
pub(crate) fn names(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Some(name) = printed::<RepositoryName>(text) {
        assert!((1..=4).contains(&name.segments().count()));
        for segment in name.segments() {
            assert!(!segment.starts_with(['.', '-']) && (1..=64).contains(&segment.len()), "{segment}");
            assert!(segment != "config" && segment.parse::<FileType>().is_err(), "{segment}");
        }
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\')));
    }
    if let Some(name) = printed::<PrincipalName>(text) {
        assert!(!name.as_str().starts_with(['.', '-']) && !name.as_str().contains('/'));
    }
    if printed::<FileId>(text).is_some() {
        assert!(text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    }
    if let Some(handle) = printed::<Handle>(text) {
        assert_eq!(handle.file_type().is_none(), text == "config");
    }
    if printed::<BatchId>(text).is_some() {
        assert!(!text.starts_with('.') && !text.contains('/'));
    }
    printed::<FileType>(text);
    printed::<Role>(text);
    // An address may be written in several ways.
    if let Ok(network) = text.parse::<Network>() {
        let printed = network.to_string();
        assert_eq!(printed.parse(), Ok(network));
        assert!(network.contains(printed.split('/').next().unwrap().parse().unwrap()));
    }
}

fn printed<T: FromStr + Display>(text: &str) -> Option<T> {
    let read: T = text.parse().ok()?;
    assert_eq!(read.to_string(), text);
    Some(read)
}
