//! A frontend that says to its keeper what no frontend says, in the bytes that the keeper reads.
//!
//! Invariant: it shares no code with the real frontend; names are plain text here, so that any can be said.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pawl_tests::command::keeper_binary;
use pawl_tests::wait;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, socketpair,
};
use serde::Serialize;

/// The keeper's requests in their order, with names that were not checked.
#[derive(Debug, Clone, Serialize)]
pub(crate) enum Word {
    Open { count: u8 },
    Commit { slot: u64, repository: String, handle: String, creator: String },
    Rescue { slot: u64, repository: String, handle: String, creator: String },
    Discard { slot: u64 },
    CreateRepository { repository: String, creator: String },
    RemoveLock { repository: String, id: String, remover: String },
    Usage(Account),
    Head,
    Note(Vec<Decision>),
    Tell(Told),
    Ping,
    Probe,
    Canary { slot: u64 },
    Tally { principal: String, bytes: u64, taken_back: bool },
}

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Decision {
    pub(crate) principal: Option<String>,
    pub(crate) peer: String,
    pub(crate) action: String,
    pub(crate) repository: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) outcome: String,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) enum Account {
    Repository(String),
    Principal(String),
}

/// The first act, which is to hide.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Told {
    pub(crate) act: u32,
    pub(crate) principal: String,
    pub(crate) repository: String,
    pub(crate) file: Option<String>,
    pub(crate) bytes: Option<u64>,
    pub(crate) batch: Option<String>,
}

/// What the keeper answers, as far as it matters here.
#[derive(Debug)]
pub(crate) enum Answer {
    Opened(Vec<(u64, OwnedFd)>),
    Head,
    Done,
    Refused(Refusal),
    Usage,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NameTaken,
    NotFound,
    Full,
    Slot,
    WriterLeft,
    Failed(String),
}

/// A keeper and the other end of its socket.
#[derive(Debug)]
pub(crate) struct Forger {
    socket: OwnedFd,
    keeper: Child,
    number: u64,
}

impl Forger {
    /// Starts a real keeper on this directory, confined as far as the kernel can.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_as(Command::new(keeper_binary()), data)
    }

    pub(crate) fn start_as(mut command: Command, data: &Path) -> Self {
        let kind = SocketType::SEQPACKET;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        command
            .args(["--started-by", env!("CARGO_PKG_VERSION"), "--confinement", "same-user", "--data"])
            .arg(data);
        let keeper = command.stdin(Stdio::from(theirs)).stderr(Stdio::null()).spawn().unwrap();
        let forger = Self { socket, keeper, number: 7 };
        assert!(forger.receive().is_some(), "the keeper is ready");
        forger
    }

    pub(crate) fn keeper_pid(&self) -> u32 {
        self.keeper.id()
    }

    /// Says it and hears the answer.
    pub(crate) fn ask(&mut self, word: &Word) -> Answer {
        let number = self.say(word, &[]);
        loop {
            let (bytes, descriptors) = self.receive().unwrap();
            let (answered, rest): (u64, &[u8]) = postcard::take_from_bytes(&bytes).unwrap();
            if answered == number {
                return answer(rest, descriptors);
            }
        }
    }

    /// The keeper must refuse.
    pub(crate) fn refused(&mut self, word: &Word) -> Refusal {
        match self.ask(word) {
            Answer::Refused(refusal) => refusal,
            other => panic!("{word:?} was not refused: {other:?}"),
        }
    }

    pub(crate) fn done(&mut self, word: &Word) {
        let answer = self.ask(word);
        assert!(matches!(answer, Answer::Done), "{word:?}: {answer:?}");
    }

    /// Says it with descriptors along, and does not wait.
    pub(crate) fn say(&mut self, word: &Word, descriptors: &[BorrowedFd<'_>]) -> u64 {
        self.number += 1;
        let bytes = postcard::to_allocvec(&(self.number, word)).unwrap();
        self.send(&bytes, descriptors).unwrap();
        self.number
    }

    /// Sends these bytes as they are.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    }

    /// The keeper answers still. What it answers to what was said before is thrown away.
    pub(crate) fn assert_alive(&mut self) {
        self.done(&Word::Ping);
    }

    /// The keeper ends in good order, although nobody hung up.
    pub(crate) fn assert_ended(&mut self) {
        let ended = wait::until("the keeper ends", || self.keeper.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
    }

    /// A new file with this content, whose writing end is closed.
    pub(crate) fn filled(&mut self, content: &[u8]) -> u64 {
        let (slot, file) = self.opened();
        rustix::io::write(&file, content).unwrap();
        slot
    }

    pub(crate) fn opened(&mut self) -> (u64, OwnedFd) {
        match self.ask(&Word::Open { count: 1 }) {
            Answer::Opened(mut files) => files.pop().unwrap(),
            other => panic!("no file was opened: {other:?}"),
        }
    }

    /// Hangs up, and waits for the keeper's end.
    pub(crate) fn hang_up(self) {
        let Self { socket, mut keeper, .. } = self;
        drop(socket);
        let ended = wait::until("the keeper ends after its frontend", || keeper.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
    }

    fn receive(&self) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
        let mut buffer = vec![0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received = rustix::net::recvmsg(&self.socket, &mut parts, &mut control, flags).unwrap();
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                descriptors.extend(passed);
            }
        }
        buffer.truncate(received.bytes);
        (!buffer.is_empty()).then_some((buffer, descriptors))
    }
}

fn answer(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Answer {
    let (kind, rest): (u32, &[u8]) = postcard::take_from_bytes(bytes).unwrap();
    match kind {
        1 => {
            let slots: Vec<u64> = postcard::from_bytes(rest).unwrap();
            Answer::Opened(slots.into_iter().zip(descriptors).collect())
        }
        2 => Answer::Head,
        3 => Answer::Done,
        4 => {
            let (why, rest): (u32, &[u8]) = postcard::take_from_bytes(rest).unwrap();
            Answer::Refused(match why {
                0 => Refusal::NameTaken,
                1 => Refusal::NotFound,
                2 => Refusal::Full,
                3 => Refusal::Slot,
                4 => Refusal::WriterLeft,
                _ => Refusal::Failed(postcard::from_bytes(rest).unwrap()),
            })
        }
        5 => Answer::Usage,
        other => panic!("the keeper answers with {other}"),
    }
}
