//! What frontend and keeper say to each other: a few fixed messages, one datagram each.
//!
//! Invariant: names are parsed while a message is decoded, so a message that decodes holds only valid names,
//! whatever the other side sent.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pawl_policy::{FileId, Handle, PrincipalName, RepositoryName};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::as_text;
use crate::audit::{Archival, Decision, Deed, Event, Head, Suspension, Verification};
use crate::confine::Confined;

/// Longest message in bytes: the longest names (four segments of 64, a handle, a principal) fit three times.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2048;
/// Most descriptors in one message, well below the kernel's 253.
pub(crate) const DESCRIPTORS_MAX: usize = 16;

/// An unnamed file that the keeper holds until it is committed or discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Slot(pub u64);

/// The version of all messages. Another one is refused before anything is asked.
pub(crate) const MESSAGES_VERSION: u64 = 1;

/// A message with the number that pairs a reply with its request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    pub number: u64,
    pub message: T,
}

/// What the frontend asks.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Open this many unnamed files and pass their writing ends.
    Open { count: u8 },
    /// Give the file in the slot its name, unless that is taken. If it is, the slot stays filled.
    Commit {
        slot: Slot,
        #[serde(with = "as_text")]
        repository: RepositoryName,
        #[serde(with = "as_text")]
        handle: Handle,
        #[serde(with = "as_text")]
        creator: PrincipalName,
    },
    /// Keep the file in the slot for restoration, because the copy stored under its name is damaged.
    Rescue {
        slot: Slot,
        #[serde(with = "as_text")]
        repository: RepositoryName,
        #[serde(with = "as_text")]
        handle: Handle,
        #[serde(with = "as_text")]
        creator: PrincipalName,
    },
    /// Forget the file in the slot.
    Discard { slot: Slot },
    /// Make a repository's directories; if it is a draft, set the asker's keys aside.
    CreateRepository {
        #[serde(with = "as_text")]
        repository: RepositoryName,
        #[serde(with = "as_text")]
        creator: PrincipalName,
    },
    /// Remove a lock file, the only file that can be removed.
    RemoveLock {
        #[serde(with = "as_text")]
        repository: RepositoryName,
        #[serde(with = "as_text")]
        id: FileId,
        #[serde(with = "as_text")]
        remover: PrincipalName,
    },
    /// Say what a repository holds, or what a principal has stored.
    Usage(Account),
    /// Say where the audit log ends.
    Head,
    /// Write the decisions into the audit log.
    Note(Vec<Decision>),
    /// Write what maintenance did into its audit log. Refused to a frontend.
    Tell(AuditEvent),
    /// Say that requests are being answered.
    Ping,
    /// Find out whether a file could be stored now: open an unnamed one and forget it.
    Probe,
    /// Store the file in the slot as the one file of Pawl's own by which a frontend tries whether it can store, once.
    Canary { slot: Slot },
    /// Note that a principal is about to store a file elsewhere than here, or that it did not after all.
    Tally {
        #[serde(with = "as_text")]
        principal: PrincipalName,
        bytes: u64,
        taken_back: bool,
    },
}

/// What maintenance did to a file, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// What.
    pub act: Act,
    /// For whom.
    pub principal: String,
    /// In which repository, or of which log ([`Act::Archive`]).
    pub repository: String,
    /// To which file; none if it was to a batch.
    pub file: Option<String>,
    /// The file's size in bytes.
    pub bytes: Option<u64>,
    /// From or into which batch.
    pub batch: Option<String>,
}

/// What maintenance can do to a file, or to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Take it out of sight because somebody deleted it.
    Hide,
    /// Take it out of sight because it is damaged.
    Displace,
    /// Bring it back into sight.
    BringBack,
    /// Remove it for good.
    Purge,
    /// Find that it is damaged.
    FindDamaged,
    /// Verify a repository.
    Verify {
        /// Files that are damaged.
        damaged: u64,
        /// Other findings.
        suspicious: u64,
        /// When the run ended, in Unix milliseconds.
        ended_ms: u64,
    },
    /// Show a key to hosts.
    Expose,
    /// Keep a key from hosts.
    Conceal,
    /// Vouch for a snapshot, or for the times of all of a repository.
    Adopt,
    /// Take a repository out of service.
    Retire,
    /// Keep hosts from locking a repository.
    SuspendLocks {
        /// Until then, in Unix milliseconds.
        until_ms: u64,
    },
    /// Let them lock again.
    ResumeLocks,
    /// Change when a file says that it was received.
    AmendReceived,
    /// Move old files of a log to another directory.
    Archive {
        /// How many files.
        files: u64,
        /// The number of the last record in them.
        last: u64,
    },
}

impl From<AuditEvent> for Event {
    fn from(told: AuditEvent) -> Self {
        let AuditEvent { act, principal, repository, file, bytes, batch } = told;
        let deed = Deed { principal, repository, file, bytes, batch };
        match act {
            Act::Hide => Self::Hidden(deed),
            Act::Displace => Self::Displaced(deed),
            Act::BringBack => Self::BroughtBack(deed),
            Act::Purge => Self::Purged(deed),
            Act::FindDamaged => Self::FoundDamaged(deed),
            Act::Verify { damaged, suspicious, ended_ms } => {
                let Deed { principal, repository, bytes, .. } = deed;
                let bytes_read = bytes.unwrap_or(0);
                Self::Verified(Verification {
                    principal,
                    repository,
                    bytes_read,
                    damaged,
                    suspicious,
                    ended_ms,
                })
            }
            Act::Expose => Self::KeyExposed(deed),
            Act::Conceal => Self::KeyHidden(deed),
            Act::Adopt => Self::Adopted(deed),
            Act::Retire => Self::Retired(deed),
            Act::SuspendLocks { until_ms } => {
                let Deed { principal, repository, .. } = deed;
                Self::LocksSuspended(Suspension { principal, repository, until_ms })
            }
            Act::ResumeLocks => Self::LocksResumed(deed),
            Act::AmendReceived => Self::ReceivedAmended(deed),
            Act::Archive { files, last } => {
                let Deed { principal, repository: log, bytes, .. } = deed;
                Self::Archived(Archival { principal, log, files, bytes: bytes.unwrap_or(0), last })
            }
        }
    }
}

/// What the keeper answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Sent once, unasked, when the keeper is ready to serve. Its number is that of the messages' version.
    Ready(StagingCapabilities),
    /// The slots of the descriptors that came along, in their order.
    Opened { slots: Vec<Slot> },
    /// The last line of the audit log.
    Head(Head),
    /// It is done and durable.
    Done,
    /// It was not done.
    Refused(Refusal),
    /// What was asked for.
    Usage { bytes: u64, files: u64 },
}

/// What the file system under DATA offers, found out at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is found out by itself")]
pub struct StagingCapabilities {
    /// Files can be made without a name (`O_TMPFILE`); otherwise they wait under a name in `.pawl/staging`.
    pub unnamed_files: bool,
    /// A file can be renamed without replacing another (`RENAME_NOREPLACE`); otherwise it is linked and then unlinked.
    pub exclusive_renames: bool,
    /// The kernel can prove that no writer of a file is left (`F_SETLEASE`).
    pub leases: bool,
    /// How far the keeper is confined.
    pub confined: Confined,
    /// There is a file of Pawl's own on which a frontend may try what it must not be able to do.
    pub canary: bool,
}

/// Why the keeper did not do what it was asked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// A file of that name exists.
    #[error("a file of that name exists")]
    NameTaken,
    /// There is no such repository.
    #[error("there is no such repository")]
    NotFound,
    /// No space, or a quota of the file system is used up.
    #[error("no space left")]
    Full,
    /// The slot is empty, or too many are filled.
    #[error("too many uploads at once")]
    Slot,
    /// Somebody can still write to the file.
    #[error("the file is still open for writing")]
    WriterLeft,
    /// Anything else, in words for the log.
    #[error("{0}")]
    Failed(String),
}

/// Sends one message; whole or not at all.
pub(crate) fn send<T: Serialize>(
    socket: impl AsFd,
    number: u64,
    message: T,
    descriptors: &[BorrowedFd<'_>],
) -> std::io::Result<()> {
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let bytes = postcard::to_slice(&Envelope { number, message }, &mut buffer).map_err(invalid)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(invalid("too many descriptors for one message"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Whether anybody hears what is said. What is said are no bytes, which tells the other side that this one goes.
pub(crate) fn is_heard(socket: impl AsFd) -> bool {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let said = rustix::net::sendmsg(socket, &[], &mut SendAncillaryBuffer::default(), flags);
    matches!(said, Ok(_) | Err(Errno::AGAIN))
}

/// A decoded message and the descriptors that came with it.
pub(crate) type Received<T> = (Envelope<T>, Vec<OwnedFd>);

/// Receives one message; `None` when the other side is gone, or sent an empty one, which looks the same here. So whoever
/// gets `None` hangs up.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> std::io::Result<Option<Received<T>>> {
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(invalid("message is too long"));
    }
    // With CTRUNC some descriptors found no room here; the message still counts, with those that did.
    let bytes = buffer.get(..received.bytes).unwrap_or_default();
    let envelope = postcard::from_bytes(bytes).map_err(invalid)?;
    Ok(Some((envelope, descriptors)))
}

/// Receives the message by which a keeper says that it is ready; `None` when it hung up.
pub(crate) fn receive_ready(socket: impl AsFd) -> std::io::Result<Option<StagingCapabilities>> {
    let another = |found: &str| {
        std::io::Error::other(format!(
            "expected a keeper whose messages have version {MESSAGES_VERSION}, found one of {found}: the two are not of the \
             same Pawl; restart both"
        ))
    };
    match receive::<Reply>(socket) {
        Ok(Some((Envelope { number: MESSAGES_VERSION, message: Reply::Ready(footing) }, _))) => {
            Ok(Some(footing))
        }
        Ok(Some((Envelope { number, .. }, _))) => Err(another(&format!("version {number}"))),
        Ok(None) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(another("an unknown version")),
        Err(error) => Err(error),
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_message_arrives_as_it_was_sent_with_its_descriptors() {
        let (door, keeper) = pair();
        let request = Request::Commit {
            slot: Slot(7),
            repository: "a/b/c/d".parse().unwrap(),
            handle: Handle::File(pawl_policy::FileType::Data, FileId::from_sha256([1; 32])),
            creator: "web1".parse().unwrap(),
        };
        send(&door, 3, request, &[door.as_fd(), keeper.as_fd()]).unwrap();
        let (envelope, descriptors) = receive::<Request>(&keeper).unwrap().unwrap();
        assert_eq!(envelope.number, 3);
        assert!(matches!(envelope.message, Request::Commit { slot: Slot(7), .. }));
        assert_eq!(descriptors.len(), 2);
    }

    #[test]
    fn a_name_that_could_escape_does_not_decode() {
        #[derive(Serialize)]
        enum Forged {
            #[expect(dead_code, reason = "holds the place of the real variant")]
            Open,
            #[expect(dead_code, reason = "holds the place of the real variant")]
            Commit,
            #[expect(dead_code, reason = "holds the place of the real variant")]
            Rescue,
            #[expect(dead_code, reason = "holds the place of the real variant")]
            Discard,
            CreateRepository {
                repository: &'static str,
                creator: &'static str,
            },
        }
        for (repository, valid) in [("web1", true), ("../web1", false), (".pawl", false), ("a/data", false)] {
            let (door, keeper) = pair();
            send(&door, 1, Forged::CreateRepository { repository, creator: "web1" }, &[]).unwrap();
            assert_eq!(receive::<Request>(&keeper).is_ok(), valid, "{repository}");
        }
    }

    #[test]
    fn the_end_of_the_other_side_is_told_apart_from_a_message() {
        let (door, keeper) = pair();
        assert!(is_heard(&keeper));
        assert!(receive::<Reply>(&door).unwrap().is_none(), "which is the end as well");
        drop(door);
        assert!(!is_heard(&keeper));
        assert!(receive::<Request>(&keeper).unwrap().is_none());
    }
}
