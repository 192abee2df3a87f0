//! A maintenance server: restic's protocol for admins, behind which deletions are hidden.
//!
//! Invariant: it is built on the store of a [`Session`], so one at a time is open; over TCP it speaks TLS, on loopback
//! addresses as well.

mod private;
mod young;

use std::collections::BTreeSet;
use std::sync::Arc;

use pawl_config::{Config, Tls};
use pawl_frontend::credentials::Credentials;
use pawl_frontend::http::Frontend;
use pawl_frontend::http::tls::{self, CertificateFiles, Certificates, Protocols};
use pawl_frontend::socket::Bound;
use pawl_keeper::audit_queue::Queue;
use pawl_store::AppendStore;
use pawl_store::deletions::{Deletions, Hiding};
use pawl_store::either::{EitherMaintenance, EitherStore};

use super::lock_filter::FilteredStore;
use super::session::Session;
use super::state_file::directory;
pub(super) use private::PrivateServer;
use young::Sparing;
pub(super) use young::Young;

/// A server as it is made here.
pub(super) type MaintenanceDoor = Frontend<EitherStore, Hiding<EitherMaintenance>>;

/// A server that is seen through by nobody but our own restic.
type OwnDoor = Frontend<FilteredStore, Sparing>;

/// The server's certificate of the maintenance server, which is another than that of the frontend.
const CERTIFICATE: &str = "maintenance.pem";

/// A server in front of the session's store.
pub(super) fn new(session: &Session, credentials: Credentials, audit: Queue) -> MaintenanceDoor {
    let hiding = Hiding::new(session.store.clone());
    in_front_of(session.files.clone(), hiding, session, credentials, audit)
}

fn in_front_of<S: AppendStore, D: Deletions>(
    files: S,
    deletions: D,
    session: &Session,
    credentials: Credentials,
    audit: Queue,
) -> Frontend<S, D> {
    let Config { caps, limits, maintenance, .. } = &session.config;
    let caps = caps.for_maintenance();
    Frontend::for_maintenance(files, deletions, maintenance.floor_ms(), credentials, caps, *limits, audit)
}

/// The certificate for these sockets, if any needs one.
pub(super) fn certificates(
    config: &Config,
    bound: &[Bound],
) -> Result<Option<Arc<Certificates>>, tls::TlsError> {
    let addresses: Vec<_> = bound.iter().filter_map(|bound| bound.place().address()).collect();
    if addresses.is_empty() {
        return Ok(None);
    }
    let files = match &config.tls {
        Tls::Given { certificate, key } => {
            CertificateFiles { certificate: certificate.clone(), key: key.clone() }
        }
        Tls::Off | Tls::PrivateCa { .. } => {
            let mut names = BTreeSet::new();
            if let Tls::PrivateCa { names: configured } = &config.tls {
                names.extend(configured.iter().cloned());
            }
            for address in addresses.iter().filter(|address| !address.ip().is_unspecified()) {
                names.insert(address.ip().to_string());
                names.extend(address.ip().is_loopback().then(|| "localhost".to_owned()));
            }
            let names: Vec<_> = names.into_iter().collect();
            tls::issue(&config.data, CERTIFICATE, &names, &addresses, tls::Reader::Owner)?
        }
    };
    load(config, files).map(Some)
}

fn load(config: &Config, files: CertificateFiles) -> Result<Arc<Certificates>, tls::TlsError> {
    // Admins bring passwords; no authority signs certificates for them.
    let nobody = directory(&config.data).join("client-ca.crt");
    Ok(Arc::new(Certificates::load(files, nobody, Protocols::Http1)?))
}
