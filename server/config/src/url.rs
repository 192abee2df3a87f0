//! By what hosts reach the server.
//!
//! Invariant: it is a help for people; that it cannot be written down keeps nobody from being served.

use std::path::{Path, PathBuf};

use crate::config::{Config, Listen, Tls};
use crate::files;

/// Where the URL that the server was last reached at is written down, for `pawl host add`.
#[must_use]
pub fn url_path(data: &Path) -> PathBuf {
    data.join(".pawl/url")
}

/// By what hosts reach the server, as far as it can tell.
pub fn url(config: &Config, places: &[Listen]) -> String {
    match (&config.public_url, places.first()) {
        (Some(url), _) => url.clone(),
        (None, Some(place)) => url_of(place, &config.tls),
        (None, None) => String::new(), // there is at least one
    }
}

/// The URL of a place to listen, as restic knows it.
#[must_use]
pub fn url_of(place: &Listen, tls: &Tls) -> String {
    let address = match place {
        Listen::Unix(path) => return format!("http+unix://{}:", path.display()),
        Listen::Tcp(address) => *address,
    };
    let scheme = if *tls == Tls::Off { "http" } else { "https" };
    let name = match tls {
        Tls::PrivateCa { names } => names.first().cloned(),
        Tls::Off | Tls::Given { .. } if address.ip().is_unspecified() => Some(machine_name()),
        Tls::Off | Tls::Given { .. } => None,
    };
    match name {
        Some(name) if name.contains(':') => format!("{scheme}://[{name}]:{}", address.port()),
        Some(name) => format!("{scheme}://{name}:{}", address.port()),
        None => format!("{scheme}://{address}"),
    }
}

/// The name that this machine gives itself.
#[must_use]
pub fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A full disk must not keep hosts from restoring, so that this is no error.
pub fn write_down_url(config: &Config, url: &str) {
    let (path, text) = (url_path(&config.data), format!("{url}\n"));
    if files::read(&path).is_ok_and(|there| there.as_deref() == Some(&text)) {
        return;
    }
    if let Err(error) = files::replace(&path, &text, 0o640) {
        tracing::warn!(%error, "`pawl host add` will print the URL of an earlier start");
    }
}
