//! A server that this process opens for itself, to have the user's restic work on one repository.
//!
//! Invariant: its password is made for it and known to nobody else. No lock of ours outlives it, and none that a command
//! of ours left that was killed is there when it opens.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use pawl_config::{Config, Listen};
use pawl_frontend::credentials::{Credentials, Secret};
use pawl_frontend::http;
use pawl_frontend::http::tls::{self, Certificates};
use pawl_frontend::socket::{self, Bound, SocketError};
use pawl_keeper::audit_queue::Queue;
use pawl_policy::RepositoryName;
use pawl_store::StoreError;
use pawl_store::locks::{Lock, LockStore};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{OwnDoor, Sparing, Young};
use crate::locks;
use crate::restic::{Address, Version};
use crate::session::{self, Session};
use crate::state_file::directory;

/// The server's certificate of such a server.
const CERTIFICATE: &str = "maintenance-run.pem";
/// What the names of its sockets begin and end with; between them stands the process's number.
const SOCKET: (&str, &str) = ("run-", ".sock");

/// A server that is open.
#[derive(Debug)]
pub(crate) struct PrivateServer<'a> {
    session: &'a Session,
    repository: &'a RepositoryName,
    url: String,
    ca: Option<PathBuf>,
    door: Arc<OwnDoor>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<bool, SocketError>>,
    audit: Queue,
}

impl<'a> PrivateServer<'a> {
    /// Opens it where this restic can reach it: on a socket in the directory of maintenance, or with TLS on a port that
    /// only this machine reaches.
    pub(crate) async fn open(
        session: &'a Session,
        repository: &'a RepositoryName,
        restic: Version,
    ) -> Result<Self, Box<dyn Error>> {
        Self::sparing(session, repository, restic, None).await
    }

    /// The same, and what is young stays whatever this restic deletes.
    pub(crate) async fn sparing(
        session: &'a Session,
        repository: &'a RepositoryName,
        restic: Version,
        young: Option<Arc<Young>>,
    ) -> Result<Self, Box<dyn Error>> {
        remove_own_locks(session, repository).await?;
        let secret = Secret::generate()?;
        let name = session::user()?;
        let per_minute = session.config.failed_logins_per_minute;
        let credentials = Credentials::of_one_admin(name.clone(), &secret, per_minute);
        let bound = socket::bind(&[place(&session.config, restic)?])?;
        let who = format!("{name}:{}", secret.reveal());
        let Reached { url, certificates } = reached(&session.config, &bound, &who)?;
        let ca = certificates.is_some().then(|| tls::ca_file(&session.config.data));
        let audit = Queue::start(session.keeper.clone());
        let files = session.sight.clone().over(session.files.clone());
        let deletions = Sparing::new(session.store.clone(), young);
        let door = super::in_front_of(files, deletions, session, credentials, audit.clone());
        let door: Arc<OwnDoor> = Arc::new(door);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(http::serve(bound, Arc::clone(&door), certificates, async {
            let _ = stopped.await; // or the sender is gone, which means the same
        }));
        Ok(Self { session, repository, url, ca, door, stop, serving, audit })
    }

    /// The repository as restic knows it, with the credential.
    pub(crate) fn address(&self) -> Address<'_> {
        Address {
            repository: format!("{}/{}/", self.url, self.repository),
            bucket: None,
            ca: self.ca.as_deref(),
        }
    }

    /// Deletions that it refused: restic ends well after some of them.
    pub(crate) fn refused(&self) -> u64 {
        self.door.refused_deletions()
    }

    /// Lets requests finish.
    pub(crate) async fn close(self) -> Result<(), Box<dyn Error>> {
        let _ = self.stop.send(()); // it fails only if serving has ended
        self.serving.await??;
        self.audit.flush().await;
        remove_own_locks(self.session, self.repository).await
    }
}

/// Where it listens.
fn place(config: &Config, restic: Version) -> Result<Listen, Box<dyn Error>> {
    if !restic.knows_unix_sockets() {
        return Ok("127.0.0.1:0".parse()?);
    }
    let directory = directory(&config.data);
    let (before, behind) = SOCKET;
    for entry in std::fs::read_dir(&directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(before) && name.ends_with(behind)) {
            socket::make_way(&entry.path())?; // of a command that was killed: only one works at a time
        }
    }
    let socket = directory.join(format!("{before}{}{behind}", std::process::id()));
    Ok(format!("unix:{}", socket.display()).parse()?)
}

/// By what URL restic reaches it, and the certificate that it needs for that.
struct Reached {
    url: String,
    certificates: Option<Arc<Certificates>>,
}

fn reached(config: &Config, bound: &[Bound], who: &str) -> Result<Reached, Box<dyn Error>> {
    match bound.first().map(Bound::place) {
        Some(Listen::Tcp(address)) => {
            let names = [address.ip().to_string()];
            let files = tls::issue(&config.data, CERTIFICATE, &names, &[*address], tls::Reader::Owner)?;
            let certificates = Some(super::load(config, files)?);
            Ok(Reached { url: format!("rest:https://{who}@{address}"), certificates })
        }
        Some(Listen::Unix(path)) => {
            let url = format!("rest:http+unix://{who}@{}:", path.display());
            Ok(Reached { url, certificates: None })
        }
        None => Err("no socket was bound".into()),
    }
}

/// Removes the locks that were stored at a maintenance server. As long as this command works there is no other such server,
/// so that nobody holds them any more. In a bucket they are known by who stored them.
async fn remove_own_locks(session: &Session, repository: &RepositoryName) -> Result<(), Box<dyn Error>> {
    let locks = match session.store.locks(repository).await {
        Err(StoreError::NotFound) => return Ok(()),
        locks => locks?,
    };
    let user = session::user()?;
    let is_own = |lock: &Lock| lock.of_maintenance || lock.facts.creator.as_ref() == Some(&user);
    let own: Vec<_> = locks.into_iter().filter(is_own).collect();
    locks::remove(session, repository, &own).await?;
    Ok(())
}
