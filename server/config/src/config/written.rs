//! The configuration file as it is written, and how it becomes a [`Config`].
//!
//! Invariant: whatever contradicts itself ends here, in an error that names the key.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use pawl_policy::{Caps, InvalidNetwork};
use serde::Deserialize;

use super::confinement::Level;
use super::refused::{Refused, renamed};
use crate::Proxies;

use super::{
    Config, ConfigError, FAILED_LOGINS_PER_MINUTE, LISTEN_DEFAULT, Limits, Listen, Log, Tls, confinement,
    listen, maintenance, s3,
};

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    data: Option<PathBuf>,
    s3: Option<s3::WrittenS3>,
    #[serde(default, deserialize_with = "listen::one_or_more")]
    listen: Option<Vec<Listen>>,
    public_url: Option<String>,
    #[serde(default)]
    plain_http: bool,
    #[serde(default)]
    tls: WrittenTls,
    proxy: Option<WrittenProxy>,
    #[serde(default)]
    credentials: WrittenCredentials,
    #[serde(default)]
    limits: WrittenLimits,
    #[serde(default)]
    caps: WrittenCaps,
    status: Option<WrittenStatus>,
    #[serde(default)]
    maintenance: maintenance::Written,
    #[serde(default)]
    log: Log,
    confinement: Option<Level>,
    keeper_socket: Option<PathBuf>,
    keeper_for: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTls {
    enabled: Option<bool>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProxy {
    addresses: Vec<String>,
    header: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCredentials {
    htpasswd: Option<PathBuf>,
    failed_logins_per_minute: Option<NonZeroU32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLimits {
    connections: Option<NonZeroU32>,
    connections_per_address: Option<NonZeroU32>,
    new_connections_per_minute: Option<NonZeroU32>,
    requests_per_host: Option<NonZeroU32>,
    header_seconds: Option<NonZeroU32>,
    idle_seconds: Option<NonZeroU32>,
    stall_seconds: Option<NonZeroU32>,
    stop_seconds: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCaps {
    data: Option<ByteSize>,
    index: Option<ByteSize>,
    snapshots: Option<ByteSize>,
    locks: Option<ByteSize>,
    keys: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStatus {
    listen: Option<SocketAddr>,
    #[serde(default)]
    public: bool,
}

/// An error that also names the new name of an unknown key.
fn with_new_name(error: &str) -> String {
    let unknown = error.split_once("unknown field `").and_then(|(_, rest)| rest.split_once('`'));
    match unknown.and_then(|(key, _)| renamed(key).map(|new| (key, new))) {
        Some((key, new)) => format!("{error}\n`{key}` is called `{new}` now"),
        None => error.to_owned(),
    }
}

/// Parses the text of the file at `path`. A file that lies in a data directory is about that `directory`, and does not
/// name one.
pub(super) fn parse(text: &str, path: &Path, directory: Option<PathBuf>) -> Result<Config, ConfigError> {
    let written: Written = toml::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        cause: with_new_name(error.to_string().trim_end()),
    })?;
    let value = |(key, reason): Refused| ConfigError::Value { path: path.to_owned(), key, reason };
    let listen = written.listen.unwrap_or_else(|| vec![LISTEN_DEFAULT]);
    if listen.is_empty() {
        return Err(value(("listen", "expected at least one address".to_owned())));
    }
    let data = data(written.data, directory).map_err(value)?;
    check_public_url(written.public_url.as_deref()).map_err(value)?;
    let (confinement, keeper) =
        confinement::check(written.confinement, written.keeper_socket, written.keeper_for).map_err(value)?;
    let maintenance = written.maintenance.check().map_err(value)?;
    let plain_http = written.plain_http;
    let tls = tls(written.tls, plain_http, &listen).map_err(value)?;
    if maintenance.run.at().is_some() && keeper.is_some() {
        let reason = "expected no time here: keeper_socket makes the keeper a service, and `pawl serve` cannot do the work \
                      of maintenance; remove `at`, and start `pawl maintain run` by pawl-maintain.timer";
        return Err(value(("maintenance.run", format!("at: {reason}"))));
    }
    Ok(Config {
        data,
        s3: written.s3.map(s3::settings).transpose().map_err(value)?,
        listen,
        public_url: written.public_url.map(|url| url.trim_end_matches('/').to_owned()),
        tls,
        plain_http,
        proxies: written.proxy.as_ref().map_or_else(|| Ok(Proxies::default()), proxies).map_err(value)?,
        htpasswd: written.credentials.htpasswd,
        failed_logins_per_minute: written
            .credentials
            .failed_logins_per_minute
            .unwrap_or(FAILED_LOGINS_PER_MINUTE),
        limits: limits(&written.limits, plain_http),
        caps: caps(&written.caps).map_err(value)?,
        status: written.status.map(|written| status(&written)).transpose().map_err(value)?,
        maintenance,
        log: written.log,
        confinement,
        keeper,
    })
}

/// Which directory the file is about.
fn data(written: Option<PathBuf>, directory: Option<PathBuf>) -> Result<PathBuf, Refused> {
    match (written, directory) {
        (None, Some(directory)) => Ok(directory),
        (Some(data), None) if data.is_absolute() => Ok(data),
        (_, None) => Err(("data", "expected an absolute path".to_owned())),
        (Some(data), Some(directory)) => Err((
            "data",
            format!(
                "expected no such key here, found {}: this file is about {}; remove the key",
                data.display(),
                directory.display()
            ),
        )),
    }
}

fn check_public_url(url: Option<&str>) -> Result<(), Refused> {
    let Some(url) = url else { return Ok(()) };
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']) => Ok(()),
        _ => Err((
            "public_url",
            format!("expected a URL such as \"https://backup.example.org:8000\", found \"{url}\""),
        )),
    }
}

fn tls(written: WrittenTls, plain_http: bool, listen: &[Listen]) -> Result<Tls, Refused> {
    let exposed = listen.iter().find_map(Listen::exposed);
    let configured = written.certificate.is_some() || written.key.is_some() || !written.names.is_empty();
    let enabled = written.enabled.unwrap_or(configured || (!plain_http && exposed.is_some()));
    if plain_http && (configured || written.enabled == Some(true)) {
        let reason = "plain_http is true, but [tls] is configured as well; remove one of them";
        return Err(("plain_http", reason.to_owned()));
    }
    if let (false, false, Some(exposed)) = (enabled, plain_http, exposed) {
        let reason = format!(
            "TLS is off, but {exposed} is not a loopback address; set plain_http = true if a proxy with TLS stands in front"
        );
        return Err(("tls.enabled", reason));
    }
    if enabled && listen.iter().all(|place| place.address().is_none()) {
        let reason =
            "[tls] is configured, but Unix sockets, the only ones in listen, go without; remove one of them";
        return Err(("tls", reason.to_owned()));
    }
    if !enabled && configured {
        let reason =
            "TLS is off here, but certificate, key or names are given; set tls.enabled = true or remove them";
        return Err(("tls.enabled", reason.to_owned()));
    }
    match (written.certificate, written.key) {
        (Some(certificate), Some(key)) if written.names.is_empty() => Ok(Tls::Given { certificate, key }),
        (Some(_), Some(_)) => {
            let reason = "names are for Pawl's own CA, but a certificate is given; remove one of them";
            Err(("tls.names", reason.to_owned()))
        }
        (Some(_), None) => Err(("tls.key", "missing, though tls.certificate is given".to_owned())),
        (None, Some(_)) => Err(("tls.certificate", "missing, though tls.key is given".to_owned())),
        (None, None) if enabled => Ok(Tls::PrivateCa { names: written.names }),
        (None, None) => Ok(Tls::Off),
    }
}

fn proxies(written: &WrittenProxy) -> Result<Proxies, Refused> {
    let networks = written.addresses.iter().map(|text| {
        text.parse().map_err(|error: InvalidNetwork| ("proxy.addresses", format!("'{text}': {error}")))
    });
    let name = written.header.as_deref().unwrap_or("x-forwarded-for");
    let header = name.parse().map_err(|_| ("proxy.header", format!("'{name}' is no name of a header")))?;
    Ok(Proxies::new(networks.collect::<Result<_, _>>()?, header))
}

/// All connections of a proxy come from its address, which may not be among those of [`Proxies`].
fn connections_per_address(written: &WrittenLimits, plain_http: bool) -> u32 {
    let default = if plain_http { u32::MAX } else { Limits::default().connections_per_address };
    written.connections_per_address.map_or(default, NonZeroU32::get)
}

fn new_connections_per_minute(written: &WrittenLimits, plain_http: bool) -> NonZeroU32 {
    let default = if plain_http { NonZeroU32::MAX } else { Limits::default().new_connections_per_minute };
    written.new_connections_per_minute.unwrap_or(default)
}

fn limits(written: &WrittenLimits, plain_http: bool) -> Limits {
    let seconds = |value: Option<NonZeroU32>, default| {
        value.map_or(default, |seconds| Duration::from_secs(u64::from(seconds.get())))
    };
    let default = Limits::default();
    Limits {
        connections: written.connections.or(default.connections),
        connections_per_address: connections_per_address(written, plain_http),
        new_connections_per_minute: new_connections_per_minute(written, plain_http),
        requests_per_host: written.requests_per_host.map_or(default.requests_per_host, NonZeroU32::get),
        header: seconds(written.header_seconds, default.header),
        idle: seconds(written.idle_seconds, default.idle),
        stall: seconds(written.stall_seconds, default.stall),
        stop: written.stop_seconds.map_or(default.stop, |seconds| Duration::from_secs(u64::from(seconds))),
    }
}

/// Where the status listener listens: this machine only, unless it is said that others may ask, too.
fn status(written: &WrittenStatus) -> Result<SocketAddr, Refused> {
    let listen = written.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8001)));
    if listen.ip().is_loopback() || written.public {
        return Ok(listen);
    }
    let reason = format!(
        "{listen} is not a loopback address, and metrics and health are given to whoever asks, without a credential \
         and without TLS; set status.public = true if all who can reach that address may read them"
    );
    Err(("status.listen", reason))
}

fn caps(written: &WrittenCaps) -> Result<Caps, Refused> {
    let default = Caps::default();
    let bytes = |value: Option<ByteSize>, default| value.map_or(default, |size| size.as_u64());
    let caps = Caps {
        data_bytes_max: bytes(written.data, default.data_bytes_max),
        index_bytes_max: bytes(written.index, default.index_bytes_max),
        snapshots_bytes_max: bytes(written.snapshots, default.snapshots_bytes_max),
        locks_bytes_max: bytes(written.locks, default.locks_bytes_max),
        keys_bytes_max: bytes(written.keys, default.keys_bytes_max),
        ..default
    };
    if caps.keys_bytes_max > Caps::IN_MEMORY_BYTES_MAX {
        let reason =
            format!("keys are checked in memory: expected at most {} bytes", Caps::IN_MEMORY_BYTES_MAX);
        return Err(("caps.keys", reason));
    }
    Ok(caps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        super::parse(text, Path::new("pawl.toml"), None).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_configuration_is_a_directory_and_serves_this_machine_only() {
        let config = parse("data = '/srv/pawl'").unwrap();
        assert_eq!(config.listen, [LISTEN_DEFAULT]);
        assert_eq!(config.tls, Tls::Off);
        assert_eq!(config.caps, Caps::default());
    }

    #[test]
    fn the_documented_example_is_accepted() {
        let config = parse(include_str!("../../../../deploy/example.toml")).unwrap();
        assert_eq!(config.caps, Caps::default());
        assert!(matches!(config.tls, Tls::PrivateCa { .. }));
    }

    #[test]
    fn a_configuration_in_a_data_directory_is_about_that_directory() {
        let parse = |text| super::parse(text, Path::new("pawl.toml"), Some("/srv/pawl".into()));
        assert_eq!(parse("").unwrap().data, Path::new("/srv/pawl"));
        let error = parse("data = '/elsewhere'").unwrap_err().to_string();
        assert!(error.contains("/elsewhere") && error.contains("about /srv/pawl; remove the key"), "{error}");
    }

    #[test]
    fn the_server_begins_the_night_only_where_it_may() {
        let night = "[maintenance.run]\nat = '03:30'";
        assert!(parse(&format!("data = '/srv'\n{night}")).unwrap().maintenance.run.at().is_some());
        let error = parse(&format!("data = '/srv'\nkeeper_socket = '/run/k'\nkeeper_for = 'pawl'\n{night}"));
        assert!(error.unwrap_err().contains("pawl-maintain.timer"));
    }

    #[test]
    fn any_other_address_gets_tls() {
        let config = parse("data = '/srv'\nlisten = '0.0.0.0:8000'").unwrap();
        assert_eq!(config.tls, Tls::PrivateCa { names: Vec::new() });
        let config = parse("data = '/srv'\nlisten = '0.0.0.0:8000'\nplain_http = true").unwrap();
        assert_eq!(config.tls, Tls::Off);
        let mut config = Config::for_data("/srv".into());
        config.listen_on(vec!["unix:/run/p".parse().unwrap(), "192.0.2.1:8000".parse().unwrap()]);
        assert_eq!(config.tls, Tls::PrivateCa { names: Vec::new() });
    }

    #[test]
    fn listen_is_one_place_or_a_list_and_a_unix_socket_needs_no_tls() {
        let config = parse("data = '/srv'\nlisten = 'unix:/run/p'").unwrap();
        assert_eq!((config.listen.len(), config.tls), (1, Tls::Off));
        let config = parse("data = '/srv'\nlisten = ['127.0.0.1:1', 'unix:/run/p']").unwrap();
        assert_eq!((config.listen.len(), config.tls), (2, Tls::Off));
        let config = parse("data = '/srv'\nlisten = ['unix:/run/p', '127.0.0.1:1', '192.0.2.1:1']").unwrap();
        assert_eq!((config.listen.len(), config.tls), (3, Tls::PrivateCa { names: Vec::new() }));
    }

    #[test]
    fn status_is_told_only_where_that_was_asked_for() {
        let status = |text: &str| parse(&format!("data = '/srv'\n{text}")).unwrap().status;
        assert_eq!(status(""), None);
        assert_eq!(status("[status]"), Some("127.0.0.1:8001".parse().unwrap()));
        assert_eq!(status("[status]\nlisten = '[::1]:1'"), Some("[::1]:1".parse().unwrap()));
        let public = "[status]\nlisten = '0.0.0.0:8001'\npublic = true";
        assert_eq!(status(public), Some("0.0.0.0:8001".parse().unwrap()));
    }

    #[test]
    fn errors_name_the_file_and_the_key() {
        for (text, key) in [
            ("data = '/srv'\nlissten = '0.0.0.0:1'", "lissten"),
            ("data = '/srv'\n[tls]\nnane = 1", "nane"),
            ("data = 'relative'", "data"),
            ("data = '/srv'\n[proxy]\naddresses = ['proxy.example.org']", "proxy.addresses"),
            ("data = '/srv'\n[proxy]\naddresses = []\nheader = 'a b'", "proxy.header"),
            ("listen = '127.0.0.1:1'", "data"),
            ("data = '/srv'\nlisten = 'nowhere'", "listen"),
            ("data = '/srv'\nlisten = []", "listen"),
            ("data = '/srv'\nlisten = 8000", "listen"),
            ("data = '/srv'\nlisten = ['127.0.0.1:1', 'unix:pawl.sock']", "absolute path"),
            ("data = '/srv'\nlisten = 'unix:/run/p'\n[tls]\nnames = ['a']", "tls"),
            ("data = '/srv'\n[tls]\ncertificate = '/c'", "tls.key"),
            ("data = '/srv'\n[tls]\nkey = '/k'", "tls.certificate"),
            ("data = '/srv'\n[tls]\ncertificate = '/c'\nkey = '/k'\nnames = ['a']", "tls.names"),
            ("data = '/srv'\nplain_http = true\n[tls]\nenabled = true", "plain_http"),
            ("data = '/srv'\n[tls]\nenabled = false\nnames = ['a']", "tls.enabled"),
            ("data = '/srv'\nlisten = '0.0.0.0:1'\n[tls]\nenabled = false", "tls.enabled"),
            ("data = '/srv'\n[limits]\nidle_seconds = 0", "idle_seconds"),
            ("data = '/srv'\n[caps]\nkeys = '1 MiB'", "caps.keys"),
            ("data = '/srv'\n[log]\nlevel = 'loud'", "level"),
            ("data = '/srv'\npublic_url = 'ftp://x'", "public_url"),
            ("data = '/srv'\n[status]\nlisten = '0.0.0.0:8001'", "status.listen"),
            ("data = '/srv'\n[status]\nport = 8001", "port"),
            ("data = '/srv'\n[maintenance]\npurge_delay_days = 0", "maintenance.purge_delay_days"),
            (
                "data = '/srv'\n[maintenance]\nmin_snapshot_age_days = 4000",
                "maintenance.min_snapshot_age_days",
            ),
            ("data = '/srv'\n[maintenance]\nlisten = []", "maintenance.listen"),
            ("data = '/srv'\n[maintenance]\nverify_interval_days = 8", "maintenance.verify_interval_days"),
            ("data = '/srv'\n[maintenance]\nverify_interval_days = 0", "maintenance.verify_interval_days"),
            (
                "data = '/srv'\n[maintenance]\npurge_delay_days = 4\nverify_interval_days = 3",
                "maintenance.verify_interval_days",
            ),
            ("data = '/srv'\n[maintenance]\nfloor = 7", "floor"),
            (
                "data = '/srv'\n[maintenance]\nfloor_days = 7",
                "`floor_days` is called `min_snapshot_age_days` now",
            ),
            ("data = '/srv'\n[maintenance.report]\ncommand = []", "maintenance.report.command"),
            ("data = '/srv'\n[maintenance.report]\ncommand = ['']", "maintenance.report.command"),
            ("data = '/srv'\n[maintenance.report]\nformat = 'html'", "maintenance.report.format"),
            ("data = '/srv'\n[maintenance.report]\nformat = 'pdf'", "`text`, `json`, `html`"),
            (
                "data = '/srv'\n[maintenance.report]\nwebhook = 'http://example.org/'",
                "maintenance.report.webhook",
            ),
            (
                "data = '/srv'\n[maintenance.report]\nwebhook_format = 'html'",
                "maintenance.report.webhook_format",
            ),
            (
                "data = '/srv'\n[maintenance.report]\nwebhook_token_file = '/t'",
                "maintenance.report.webhook_token_file",
            ),
            (
                "data = '/srv'\n[maintenance.report]\nwebhook = 'https://a/'\nwebhook_token_file = 't'",
                "absolute path",
            ),
            (
                "data = '/srv'\n[maintenance.report]\ntimeout_seconds = 0",
                "maintenance.report.timeout_seconds",
            ),
            ("data = '/srv'\n[maintenance.report]\nsilent_days = 4000", "maintenance.report.silent_days"),
            ("data = '/srv'\n[maintenance.report]\ntoken = 'x'", "token"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("pawl.toml") && error.contains(key), "{text:?}: {error}");
        }
    }
}
