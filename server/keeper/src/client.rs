//! The frontend's end of the socket to the keeper.
//!
//! Invariant: what it was told is done is durable; when the keeper is gone, every request fails and
//! [`KeeperClient::died`] says so.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pawl_policy::{FileId, Handle, PrincipalName, RepositoryName, Usage};
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{oneshot, watch};

use crate::audit::{Decision, Head};

use super::account::Account;
use super::message::{self, AuditEvent, Refusal, Reply, Request, Slot};

/// Files asked for at a time, ahead of need.
const AHEAD: u8 = 16;
/// When fewer are left, more are asked for.
const LOW: usize = 8;

/// Why the keeper did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// A file of that name exists; here is the staged one back.
    #[error("a file of that name exists")]
    NameTaken(StagedFile),
    /// There is no such repository.
    #[error("there is no such repository")]
    NotFound,
    /// The disk or a quota of the file system is full.
    #[error("no space left")]
    Full,
    /// Anything else.
    #[error("keeper: {0}")]
    Failed(String),
    /// The keeper process is gone.
    #[error("the keeper is gone")]
    Gone,
}

/// Asks the keeper. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeeperClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// A socket of datagrams that keep their order (`SOCK_SEQPACKET`).
    socket: UnixDatagram,
    next_number: AtomicU64,
    waiting: Mutex<Waiting>,
    ready_files: Mutex<VecDeque<(Slot, OwnedFd)>>,
    fetching: tokio::sync::Mutex<()>,
    died: watch::Sender<bool>,
}

type Answer = (Reply, Vec<OwnedFd>);

/// `None` once the keeper is gone, so that nobody waits for an answer that cannot come.
type Waiting = Option<HashMap<u64, oneshot::Sender<Answer>>>;

/// A file without a name, open for writing. Dropping it discards it.
#[derive(Debug)]
pub struct StagedFile {
    slot: Option<Slot>,
    file: Option<Arc<File>>,
    client: KeeperClient,
}

impl StagedFile {
    /// The file to fill; `None` once it was closed.
    #[must_use]
    pub fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// Closes the writing end, the last of which must be gone before the file can be committed.
    pub fn close(&mut self) {
        self.file = None;
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let client = self.client.clone();
            client.tell(Request::Discard { slot });
        }
    }
}

impl KeeperClient {
    /// The client of the keeper at the other end. Needs a runtime.
    pub fn new(socket: OwnedFd) -> std::io::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            socket: UnixDatagram::from_std(socket)?,
            next_number: AtomicU64::new(1),
            waiting: Mutex::new(Some(HashMap::new())),
            ready_files: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            died: watch::Sender::new(false),
        });
        tokio::spawn(dispatch(Arc::clone(&shared)));
        Ok(Self { shared })
    }

    /// Returns when the keeper is gone.
    pub async fn died(&self) {
        let mut died = self.shared.died.subscribe();
        let _ = died.wait_for(|gone| *gone).await; // an error means that the sender is gone, too
    }

    /// Ends the connection; the keeper finishes what it began and exits.
    pub fn hang_up(&self) {
        let _ = rustix::net::shutdown(&self.shared.socket, Shutdown::Both);
    }

    /// A file without a name, from those asked for ahead of need.
    pub async fn draft(&self) -> Result<StagedFile, KeeperError> {
        loop {
            let (ready, left) = {
                let mut files = self.shared.ready_files();
                (files.pop_front(), files.len())
            };
            if let Some((slot, writer)) = ready {
                if left < LOW {
                    let client = self.clone();
                    tokio::spawn(async move { client.fetch_files().await });
                }
                let file = Some(Arc::new(File::from(writer)));
                return Ok(StagedFile { slot: Some(slot), file, client: self.clone() });
            }
            self.fetch_files().await?;
        }
    }

    /// Asks for more files unless somebody else just did.
    async fn fetch_files(&self) -> Result<(), KeeperError> {
        let _one_at_a_time = self.shared.fetching.lock().await;
        if self.shared.ready_files().len() >= LOW {
            return Ok(());
        }
        match self.ask(Request::Open { count: AHEAD }).await? {
            (Reply::Opened { slots }, writers) => {
                let arrived = writers.len();
                // Descriptors for which this process had no room are lost; their slots are given back.
                for slot in slots.iter().skip(arrived) {
                    self.clone().tell(Request::Discard { slot: *slot });
                }
                self.shared.ready_files().extend(slots.into_iter().zip(writers));
                if arrived == 0 { Err(KeeperError::Failed("too many open files".to_owned())) } else { Ok(()) }
            }
            (Reply::Refused(refusal), _) => Err(refusal.into()),
            (Reply::Done | Reply::Head(_) | Reply::Ready(_) | Reply::Usage { .. }, _) => Err(unexpected()),
        }
    }

    /// Stores the draft under its name.
    pub async fn commit(
        &self,
        mut draft: StagedFile,
        repository: &RepositoryName,
        handle: &Handle,
        creator: &PrincipalName,
    ) -> Result<(), KeeperError> {
        draft.close();
        let slot = draft.slot.ok_or_else(unexpected)?;
        let (repository, handle, creator) = (repository.clone(), *handle, creator.clone());
        match self.ask(Request::Commit { slot, repository, handle, creator }).await? {
            (Reply::Refused(Refusal::NameTaken), _) => Err(KeeperError::NameTaken(draft)),
            (reply, _) => {
                draft.slot = None; // the keeper has emptied it
                done(reply)
            }
        }
    }

    /// Keeps the draft for restoration, because the copy stored under its name is damaged.
    pub async fn rescue(
        &self,
        mut draft: StagedFile,
        repository: &RepositoryName,
        handle: &Handle,
        creator: &PrincipalName,
    ) -> Result<(), KeeperError> {
        draft.close();
        let slot = draft.slot.take().ok_or_else(unexpected)?;
        let (repository, handle, creator) = (repository.clone(), *handle, creator.clone());
        done(self.ask(Request::Rescue { slot, repository, handle, creator }).await?.0)
    }

    /// Makes a repository, or sets the asker's keys of a draft aside.
    pub async fn create_repository(
        &self,
        repository: &RepositoryName,
        creator: &PrincipalName,
    ) -> Result<(), KeeperError> {
        let (repository, creator) = (repository.clone(), creator.clone());
        done(self.ask(Request::CreateRepository { repository, creator }).await?.0)
    }

    /// Removes a lock; done as well if it is not there.
    pub async fn remove_lock(
        &self,
        repository: &RepositoryName,
        id: FileId,
        remover: &PrincipalName,
    ) -> Result<(), KeeperError> {
        let (repository, remover) = (repository.clone(), remover.clone());
        done(self.ask(Request::RemoveLock { repository, id, remover }).await?.0)
    }

    /// What a repository holds, or what a principal has stored. An error until it was counted.
    pub async fn usage(&self, account: Account) -> Result<Usage, KeeperError> {
        match self.ask(Request::Usage(account)).await?.0 {
            Reply::Usage { bytes, files } => Ok(Usage { bytes, files }),
            Reply::Refused(refusal) => Err(refusal.into()),
            Reply::Opened { .. } | Reply::Head(_) | Reply::Ready(_) | Reply::Done => Err(unexpected()),
        }
    }

    /// Notes that a principal is about to store a file elsewhere than beneath DATA, or that it did not after all.
    pub async fn tally(
        &self,
        principal: &PrincipalName,
        bytes: u64,
        taken_back: bool,
    ) -> Result<(), KeeperError> {
        done(self.ask(Request::Tally { principal: principal.clone(), bytes, taken_back }).await?.0)
    }

    /// Where the audit log ends.
    pub async fn audit_head(&self) -> Result<Head, KeeperError> {
        match self.ask(Request::Head).await?.0 {
            Reply::Head(head) => Ok(head),
            Reply::Refused(refusal) => Err(refusal.into()),
            Reply::Opened { .. } | Reply::Ready(_) | Reply::Done | Reply::Usage { .. } => Err(unexpected()),
        }
    }

    /// Writes decisions into the audit log: all, or none.
    pub async fn note(&self, decisions: Vec<Decision>) -> Result<(), KeeperError> {
        done(self.ask(Request::Note(decisions)).await?.0)
    }

    /// Writes what maintenance did into its audit log.
    pub async fn tell_deed(&self, told: AuditEvent) -> Result<(), KeeperError> {
        done(self.ask(Request::Tell(told)).await?.0)
    }

    /// Returns when the keeper has answered, however long that takes.
    pub async fn ping(&self) -> Result<(), KeeperError> {
        done(self.ask(Request::Ping).await?.0)
    }

    /// Whether the keeper answers and a file could be stored now.
    pub async fn probe(&self) -> Result<(), KeeperError> {
        done(self.ask(Request::Probe).await?.0)
    }

    async fn ask(&self, request: Request) -> Result<Answer, KeeperError> {
        let (answer, answered) = oneshot::channel();
        let number = self.shared.next_number.fetch_add(1, Ordering::Relaxed);
        match self.shared.waiting().as_mut() {
            Some(waiting) => waiting.insert(number, answer),
            None => return Err(KeeperError::Gone),
        };
        if let Err(error) = self.send(number, request).await {
            if let Some(waiting) = self.shared.waiting().as_mut() {
                waiting.remove(&number);
            }
            return Err(error);
        }
        answered.await.map_err(|_| KeeperError::Gone)
    }

    /// Sends a request whose answer does not matter.
    fn tell(self, request: Request) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { self.ask(request).await });
        }
    }

    async fn send(&self, number: u64, request: Request) -> Result<(), KeeperError> {
        let sent = self
            .shared
            .socket
            .async_io(Interest::WRITABLE, || message::send(&self.shared.socket, number, &request, &[]))
            .await;
        sent.map_err(|error| {
            if error.kind() == std::io::ErrorKind::InvalidData {
                return KeeperError::Failed(error.to_string());
            }
            tracing::debug!(%error, "cannot send to the keeper");
            KeeperError::Gone
        })
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready_files(&self) -> MutexGuard<'_, VecDeque<(Slot, OwnedFd)>> {
        self.ready_files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands each reply to whoever asked, until the keeper is gone.
async fn dispatch(shared: Arc<Shared>) {
    loop {
        let received =
            shared.socket.async_io(Interest::READABLE, || message::receive::<Reply>(&shared.socket)).await;
        match received {
            Ok(Some((envelope, descriptors))) => {
                let asker = shared.waiting().as_mut().and_then(|waiting| waiting.remove(&envelope.number));
                if let Some(asker) = asker {
                    let _ = asker.send((envelope.message, descriptors)); // an upload may have been cut
                }
            }
            Ok(None) => break,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                tracing::error!(%error, "the keeper sent what is no message; ignored");
            }
            Err(error) => {
                tracing::error!(%error, "cannot read from the keeper");
                break;
            }
        }
    }
    *shared.waiting() = None;
    shared.died.send_replace(true);
}

fn done(reply: Reply) -> Result<(), KeeperError> {
    match reply {
        Reply::Done => Ok(()),
        Reply::Refused(refusal) => Err(refusal.into()),
        Reply::Opened { .. } | Reply::Head(_) | Reply::Ready(_) | Reply::Usage { .. } => Err(unexpected()),
    }
}

fn unexpected() -> KeeperError {
    KeeperError::Failed("unexpected reply".to_owned())
}

impl From<Refusal> for KeeperError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::Full => Self::Full,
            Refusal::NameTaken => Self::Failed("name is taken".to_owned()),
            Refusal::Slot => Self::Failed("too many uploads at once".to_owned()),
            Refusal::WriterLeft => Self::Failed("the file is still open for writing".to_owned()),
            Refusal::Failed(cause) => Self::Failed(cause),
        }
    }
}
