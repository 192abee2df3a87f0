//! The keeper's own process: takes requests off the socket and carries them out, a few at a time.
//!
//! Invariant: whatever the frontend says, nothing stored is replaced, changed or removed, but for locks. It believes the
//! frontend in what a file is called and who sent it. It ends when the frontend hangs up, and as a whole: what was begun is
//! finished first.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use pawl_config::Demand;
use pawl_policy::{FileType, Handle, PrincipalName, RepositoryName, Usage};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::account::Account;
use super::audit_log::{self, AuditLog};
use super::commit;
use super::message::{
    self, DESCRIPTORS_MAX, MESSAGES_VERSION, Refusal, Reply, Request, Slot, StagingCapabilities,
};
use super::naming::Naming;
use super::repository::Begun;
use super::shutdown::Shutdown;
use super::staging::{Staged, Staging};
use super::tenant::Tenant;
use super::usage::KeeperUsage;
use super::{canary, directory, facts, lease, lock, repository};
use crate::audit::{Budget, COUNTED_EVERY, Deed, Event, Head};
use crate::audit_queue::{Idle, counted_only};
use crate::confine::{self};

/// Requests carried out at a time. They wait for the disk, not for the processor; syncs of several requests
/// share a journal commit.
const WORKERS: usize = 24;
/// Files that wait for their name at a time: those of 64 busy hosts. Each is a descriptor.
const SLOTS_MAX: usize = 8192;
/// Messages a second: three times what the busiest frontend was measured to send. More would only be meant to harm.
const MESSAGES_PER_SECOND_MAX: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
/// What a power cut may take of the audit log.
const AUDIT_SYNC_EVERY: Duration = Duration::from_secs(1);
const AUDIT_HEAD_EVERY: Duration = Duration::from_hours(1);

/// Confines itself and serves the frontend at the other end of `socket` until it goes away.
pub fn run(socket: &OwnedFd, data: &Path, side: Tenant, demand: Demand) -> std::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let data = rustix::fs::open(data, flags, Mode::empty())?;
    let _lock = side.lock(data.as_fd())?;
    let staging = Staging::prepare(data.as_fd(), side.staging())?;
    let exclusive_renames = staging.renames().map_err(|error| {
        std::io::Error::other(format!(
            "the file system under DATA can neither make files without a name (O_TMPFILE), nor rename one without \
             replacing another (RENAME_NOREPLACE), nor link one ({error}); use ext4, xfs, btrfs, zfs or a tmpfs"
        ))
    })?;
    let canary = side == Tenant::Hosts && canary::renew(data.as_fd(), &staging)?;
    let usage = KeeperUsage::open(data.as_fd(), side);
    let confined = confine::keeper(data.as_fd(), demand).map_err(std::io::Error::other)?;
    let unnamed_files = staging.is_unnamed();
    let footing =
        StagingCapabilities { unnamed_files, exclusive_renames, leases: probe(&staging)?, confined, canary };
    serve(socket, &Keeper::new(data, staging, usage, side, footing))
}

/// The same, with files that wait under a name although the file system could do better.
#[cfg(feature = "testing")]
pub(super) fn run_with_named_staging(socket: &OwnedFd, data: &Path) -> std::io::Result<()> {
    let data = rustix::fs::open(data, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let side = Tenant::Hosts;
    let _lock = side.lock(data.as_fd())?;
    let staging = Staging::named(data.as_fd(), side.staging())?;
    let leases = probe(&staging)?;
    let confined = confine::Confined::not();
    let footing = StagingCapabilities {
        unnamed_files: false,
        exclusive_renames: true,
        leases,
        confined,
        canary: false,
    };
    let usage = KeeperUsage::open(data.as_fd(), side);
    serve(socket, &Keeper::new(data, staging, usage, side, footing))
}

fn serve(socket: &OwnedFd, keeper: &Keeper) -> std::io::Result<()> {
    message::send(socket, MESSAGES_VERSION, Reply::Ready(keeper.footing), &[])?;
    keeper.audit().append(Event::Started);
    let ended = &Shutdown::default();
    std::thread::scope(|scope| {
        let worker = || {
            keeper.serve(socket);
            // All go, or a frontend that is still there could end them one by one while it waits.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both); // fails if the frontend is gone, which is as well
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        scope.spawn(|| keeper.tend_audit_log(ended));
        keeper.usage.work(scope, keeper.data.as_fd(), ended);
        for worker in workers {
            let _ = worker.join(); // a panic there has been printed, and ends that worker only
        }
        ended.tell();
    });
    keeper.usage.close(keeper.data.as_fd());
    keeper.tell_locks_counted();
    let mut audit = keeper.audit();
    audit.append(Event::Stopped);
    audit.sync()
}

/// Finds out what the file system offers, on a file that is never named: whether it has leases.
fn probe(staging: &Staging) -> std::io::Result<bool> {
    let (writer, staged) = match staging.open() {
        Ok(opened) => opened,
        // Nothing can be stored or probed on a full disk, but everything can be read.
        Err(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => {
            return Ok(true);
        }
        Err(error) => return Err(error.into()),
    };
    drop(writer);
    if !facts::are_supported(staged.file())? {
        return Err(std::io::Error::other(
            "the file system under DATA keeps no user attributes, in which Pawl records who stored a file and when; \
             use ext4, xfs, btrfs, zfs or a tmpfs of Linux 6.6 or newer",
        ));
    }
    Ok(lease::writers(staged.file())? == lease::Writers::None)
}

struct Keeper {
    side: Tenant,
    data: OwnedFd,
    staging: Staging,
    footing: StagingCapabilities,
    slots: Mutex<HashMap<Slot, Staged>>,
    next_slot: AtomicU64,
    usage: KeeperUsage,
    audit: Mutex<AuditLog>,
    /// Lines about locks that each principal has left.
    lock_lines: Budget<PrincipalName>,
    /// Held while a repository begins, so that keys are not set aside beneath a `config` just being stored.
    beginning: Mutex<()>,
    pace: DefaultDirectRateLimiter,
}

impl Keeper {
    fn new(
        data: OwnedFd,
        staging: Staging,
        usage: KeeperUsage,
        side: Tenant,
        footing: StagingCapabilities,
    ) -> Self {
        let audit = Mutex::new(AuditLog::open(&data, side.audit()));
        Self {
            side,
            data,
            staging,
            footing,
            slots: Mutex::default(),
            usage,
            audit,
            lock_lines: Budget::default(),
            next_slot: AtomicU64::new(1),
            beginning: Mutex::default(),
            pace: RateLimiter::direct(Quota::per_second(MESSAGES_PER_SECOND_MAX)),
        }
    }

    /// One worker. Several receive on the same socket; each datagram goes to one of them.
    fn serve(&self, socket: &OwnedFd) {
        loop {
            match message::receive::<Request>(socket) {
                Ok(Some((envelope, _))) => {
                    self.keep_pace();
                    self.answer(socket, envelope.number, envelope.message);
                }
                Ok(None) => {
                    if message::is_heard(socket) {
                        tracing::error!(
                            "keeper: the frontend sent an empty message, as none does that is sound; ending"
                        );
                    }
                    return;
                }
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    self.keep_pace();
                    tracing::error!(%error, "keeper: the frontend sent what is no message; ignored");
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // It was killed, with answers that it had not read.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(error) => {
                    tracing::error!(%error, "keeper: cannot read from the frontend; ending");
                    return;
                }
            }
        }
    }

    /// A frontend that was taken over can keep the keeper busy, but no busier than this.
    fn keep_pace(&self) {
        while let Err(early) = self.pace.check() {
            std::thread::sleep(early.wait_time_from(DefaultClock::default().now()));
        }
    }

    fn answer(&self, socket: &OwnedFd, number: u64, request: Request) {
        let (reply, descriptors) = match request {
            Request::Open { count } => self.open(count),
            Request::Head => (Reply::Head(self.audit().head()), Vec::new()),
            Request::Usage(account) => (self.usage_of(&account), Vec::new()),
            other => (self.carry_out(other).map_or_else(Reply::Refused, |()| Reply::Done), Vec::new()),
        };
        let opened = opened_slots(&reply);
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        if let Err(error) = message::send(socket, number, reply, &borrowed) {
            tracing::debug!(%error, "keeper: cannot answer the frontend");
            self.slots().retain(|slot, _| !opened.contains(slot));
            let refused = Reply::Refused(Refusal::Failed("the answer could not be sent".to_owned()));
            let _ = message::send(socket, number, refused, &[]); // if this fails as well, the frontend is gone
        }
        // The writing ends are closed here: from now on only the frontend has them.
    }

    fn usage_of(&self, account: &Account) -> Reply {
        match self.usage.of(self.data.as_fd(), account) {
            Ok(Usage { bytes, files }) => Reply::Usage { bytes, files },
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    fn open(&self, count: u8) -> (Reply, Vec<OwnedFd>) {
        let mut slots = Vec::new();
        let mut writers = Vec::new();
        for _ in 0..usize::from(count).min(DESCRIPTORS_MAX) {
            match self.open_one() {
                Ok((slot, writer)) => {
                    slots.push(slot);
                    writers.push(writer);
                }
                Err(refusal) if slots.is_empty() => return (Reply::Refused(refusal), Vec::new()),
                Err(_) => break, // fewer than asked for will do
            }
        }
        (Reply::Opened { slots }, writers)
    }

    fn open_one(&self) -> Result<(Slot, OwnedFd), Refusal> {
        if self.slots().len() >= SLOTS_MAX {
            return Err(Refusal::Slot);
        }
        let (writer, staged) = self.staging.open()?;
        let slot = Slot(self.next_slot.fetch_add(1, Ordering::Relaxed));
        self.slots().insert(slot, staged);
        Ok((slot, writer))
    }

    fn carry_out(&self, request: Request) -> Result<(), Refusal> {
        match request {
            Request::Open { .. } | Request::Head | Request::Usage(_) => {
                Err(Refusal::Failed("not reached".to_owned()))
            }
            Request::Commit { slot, repository, handle, creator } => {
                let naming = self.naming(&repository, &handle, &creator);
                self.commit(slot, &naming)
            }
            Request::Rescue { slot, repository, handle, creator } => {
                let staged = self.take(slot)?;
                let naming = self.naming(&repository, &handle, &creator);
                let bytes = commit::check_final(self.footing, &staged)?;
                if commit::rescue(self.data.as_fd(), &staged, &naming)? {
                    self.audit().append(Event::Rescued(deed_with(&naming, bytes)));
                }
                Ok(())
            }
            Request::Discard { slot } => self.take(slot).map(drop),
            Request::CreateRepository { repository, creator } => {
                let _beginning = self.beginning.lock().unwrap_or_else(PoisonError::into_inner);
                let begun = repository::create(self.data.as_fd(), &repository, &creator)?;
                if begun == Begun::New {
                    self.usage.begin(&repository);
                }
                if begun != Begun::Before {
                    self.audit().append(Event::RepositoryCreated(deed(&repository, &creator, None)));
                }
                Ok(())
            }
            Request::RemoveLock { repository, id, remover } => {
                if lock::remove(self.data.as_fd(), self.side, &repository, &id)? {
                    let handle = Handle::File(FileType::Locks, id);
                    self.tell_of_lock(
                        Event::LockRemoved(deed(&repository, &remover, Some(&handle))),
                        &remover,
                    );
                }
                Ok(())
            }
            Request::Note(decisions) => {
                // What comes in one message is not to be cheaper than what comes in many.
                (1..decisions.len()).for_each(|_| self.keep_pace());
                self.audit().append_all(decisions.into_iter().map(Event::Decision).collect());
                Ok(())
            }
            Request::Tell(told) => {
                // Of itself the keeper tells; only maintenance does what it has no part in.
                if self.side != Tenant::Maintenance {
                    return Err(Refusal::Failed("a frontend has nothing to tell".to_owned()));
                }
                self.audit().append(told.into());
                Ok(())
            }
            Request::Canary { slot } => canary::publish(self.data.as_fd(), self.footing, &self.take(slot)?),
            Request::Ping => Ok(()),
            Request::Probe => {
                self.usage.check()?;
                Ok(self.staging.open().map(drop)?)
            }
            Request::Tally { principal, bytes, taken_back } => {
                self.usage.tally(self.data.as_fd(), &principal, bytes, taken_back)
            }
        }
    }

    const fn naming<'a>(
        &self,
        repository: &'a RepositoryName,
        handle: &'a Handle,
        creator: &'a PrincipalName,
    ) -> Naming<'a> {
        Naming { repository, handle, creator, side: self.side }
    }

    fn commit(&self, slot: Slot, naming: &Naming<'_>) -> Result<(), Refusal> {
        let _beginning = match naming.handle {
            Handle::Config | Handle::File(FileType::Keys, _) => {
                Some(self.beginning.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Handle::File(..) => None,
        };
        let staged = self.take(slot)?;
        let outcome = self.commit_counted(&staged, naming);
        if outcome == Err(Refusal::NameTaken) {
            self.slots().insert(slot, staged); // the frontend may ask to rescue it
        }
        outcome
    }

    /// Stores the file, which counts from before it has its name.
    fn commit_counted(&self, staged: &Staged, naming: &Naming<'_>) -> Result<(), Refusal> {
        let bytes = commit::check_final(self.footing, staged)?;
        // The repository must have been created. All that follows happens in this one, whatever its name comes to mean.
        let root = directory::open(&self.data, naming.repository.as_str())?;
        let settled = commit::commit(root.as_fd(), staged, naming, |link| {
            self.usage.store(self.data.as_fd(), naming, bytes, link)
        })?;
        let stored = Event::Stored(deed_with(naming, bytes));
        match naming.handle {
            Handle::File(FileType::Locks, _) => self.tell_of_lock(stored, naming.creator),
            _ => self.audit().append(stored),
        }
        settled
    }

    /// Writes a line about a lock, if the principal has one left: no quota bounds how many it stores and removes.
    fn tell_of_lock(&self, event: Event, principal: &PrincipalName) {
        if self.lock_lines.check(principal) {
            self.audit().append(event);
        }
    }

    /// Writes how many locks had no line.
    fn tell_locks_counted(&self) {
        for (principal, count) in self.lock_lines.counted() {
            let counted = counted_only(principal.as_str(), Idle::Lock, count);
            self.audit().append(Event::Decision(counted));
        }
    }

    /// Brings the audit log to disk every second, and its head to the log every hour, where it can be witnessed.
    fn tend_audit_log(&self, ended: &Shutdown) {
        let mut told: Option<Instant> = None;
        let mut counted = Instant::now();
        loop {
            if counted.elapsed() >= COUNTED_EVERY {
                counted = Instant::now();
                self.tell_locks_counted();
            }
            if let Err(error) = audit_log::sync(&self.audit) {
                tracing::error!(%error, "the audit log cannot be synced");
            }
            if told.is_none_or(|told| told.elapsed() >= AUDIT_HEAD_EVERY) {
                told = Some(Instant::now());
                let Head { number, hash } = self.audit().head();
                tracing::info!(number, head = hash, "audit log");
            }
            if ended.wait(AUDIT_SYNC_EVERY) {
                return;
            }
        }
    }

    fn audit(&self) -> MutexGuard<'_, AuditLog> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, slot: Slot) -> Result<Staged, Refusal> {
        self.slots().remove(&slot).ok_or(Refusal::Slot)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Slot, Staged>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deed(repository: &RepositoryName, principal: &PrincipalName, handle: Option<&Handle>) -> Deed {
    Deed {
        principal: principal.to_string(),
        repository: repository.to_string(),
        file: handle.map(ToString::to_string),
        bytes: None,
        batch: None,
    }
}

fn deed_with(naming: &Naming<'_>, bytes: u64) -> Deed {
    Deed { bytes: Some(bytes), ..deed(naming.repository, naming.creator, Some(naming.handle)) }
}

fn opened_slots(reply: &Reply) -> Vec<Slot> {
    match reply {
        Reply::Opened { slots } => slots.clone(),
        Reply::Ready(_) | Reply::Head(_) | Reply::Done | Reply::Refused(_) | Reply::Usage { .. } => {
            Vec::new()
        }
    }
}
