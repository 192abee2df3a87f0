//! A maintenance door: restic's protocol for admins, behind which deletions are hidden.
//!
//! Invariant: it is built on the store of a [`Session`], so one at a time is open; over TCP it speaks TLS, on loopback
//! addresses as well.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::locks::Sighted;
use super::session::{Session, directory};
use crate::audit::Queue;
use crate::config::{Config, Listen, Tls};
use crate::credentials::{Credentials, Secret};
use crate::http::tls::{self, CertificateFiles, Certificates, Protocols};
use crate::http::{self, Door, Hiding};
use crate::socket::{self, Bound, SocketError};
use crate::store::AppendStore;
use crate::store::either::{EitherMaintenance, EitherStore};

/// A door as it is made here.
pub(super) type MaintenanceDoor = Door<EitherStore, Hiding<EitherMaintenance>>;

/// A door that is seen through by nobody but our own restic.
type OwnDoor = Door<Sighted, Hiding<EitherMaintenance>>;

/// The server's certificate of the maintenance door, which is another than that of the door to hosts.
const CERTIFICATE: &str = "maintenance.pem";

/// A door in front of the session's store.
pub(super) fn new(session: &Session, credentials: Credentials, audit: Queue) -> MaintenanceDoor {
    in_front_of(session.files.clone(), session, credentials, audit)
}

fn in_front_of<S: AppendStore>(
    files: S,
    session: &Session,
    credentials: Credentials,
    audit: Queue,
) -> Door<S, Hiding<EitherMaintenance>> {
    let Config { caps, limits, maintenance, .. } = &session.config;
    let hiding = Hiding::new(session.store.clone());
    Door::for_maintenance(files, hiding, maintenance.floor_ms(), credentials, *caps, *limits, audit)
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
    // Admins bring passwords; no authority signs certificates for them.
    let nobody = directory(&config.data).join("client-ca.crt");
    Ok(Some(Arc::new(Certificates::load(files, nobody, Protocols::Http1)?)))
}

/// A door that this process opens for itself, with a password that nobody else knows.
#[derive(Debug)]
pub(super) struct PrivateDoor {
    url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<bool, SocketError>>,
    audit: Queue,
}

impl PrivateDoor {
    /// Opens it on a socket in the directory of maintenance.
    pub(super) fn open(session: &Session) -> Result<Self, Box<dyn Error>> {
        let secret = Secret::generate()?;
        let name = super::session::user()?;
        let per_minute = session.config.failed_logins_per_minute;
        let credentials = Credentials::of_one_admin(name.clone(), &secret, per_minute);
        let socket = directory(&session.config.data).join(format!("run-{}.sock", std::process::id()));
        let place: Listen = format!("unix:{}", socket.display()).parse()?;
        let bound = socket::bind(std::slice::from_ref(&place))?;
        let audit = Queue::start(session.keeper.clone());
        let files = session.sight.clone().over(session.files.clone());
        let door: Arc<OwnDoor> = Arc::new(in_front_of(files, session, credentials, audit.clone()));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(http::serve(bound, door, None, async {
            let _ = stopped.await; // or the sender is gone, which means the same
        }));
        let url = format!("rest:http+unix://{name}:{}@{}:", secret.reveal(), socket.display());
        Ok(Self { url, stop, serving, audit })
    }

    /// A repository as restic knows it, with the credential.
    pub(super) fn repository(&self, name: &str) -> String {
        format!("{}/{name}/", self.url)
    }

    /// Lets requests finish.
    pub(super) async fn close(self) -> Result<(), Box<dyn Error>> {
        let _ = self.stop.send(()); // it fails only if serving has ended
        self.serving.await??;
        self.audit.flush().await;
        Ok(())
    }
}
