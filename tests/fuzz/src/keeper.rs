//! The messages between frontend and keeper, in both directions, through the socket that carries them.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pawl_config::{Demand, Level};
use pawl_keeper::audit::{Log, directories, verify_whole};
use pawl_keeper::{Account, KeeperClient, Tenant};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socketpair,
};

use crate::run;
use crate::scratch::Scratch;

/// What is stored before each input: none of it may be changed.
const STORED: [&str; 4] = [
    "config",
    "data/5f/5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
    "keys/5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
    "snapshots/5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
];
/// A length that stands for all that is left, which may be more than a message holds.
const REST: u8 = 255;
/// When nobody hears anything any more.
const HANGS: Duration = Duration::from_secs(10);
const DATAGRAMS_MAX: usize = 16;
/// Longest answer in bytes.
const ANSWER_BYTES_MAX: usize = 4096;
/// To wait for an answer where none may come, in milliseconds.
const NO_ANSWER: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };

/// Whatever a frontend says, its keeper goes on until it hangs up; nothing stored changes but locks, and the audit log is whole.
pub(crate) fn requests(input: &[u8]) {
    let scratch = Scratch::new();
    for file in STORED {
        scratch.write(&format!("data/web1/{file}"), b"stored");
    }
    let data = scratch.path().join("data");
    let before = files(&data.join("web1"));
    let (ours, theirs) = pair();
    let keeper = std::thread::spawn({
        let data = data.clone();
        let demand = Demand { least: Level::Off, landlock_abi_max: None };
        move || pawl_keeper::run(&theirs, &data, Tenant::Hosts, demand)
    });
    let mut answer = [MaybeUninit::uninit(); ANSWER_BYTES_MAX];
    retry_on_intr(|| recv(&ours, &mut answer, RecvFlags::empty()).map(drop)).unwrap(); // it is ready
    for datagram in datagrams(input) {
        sendmsg(&ours, &[IoSlice::new(datagram)], &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
            .unwrap();
        // The descriptors of an answer find no room here, so that the kernel closes them, and the file can get its name.
        let answered = retry_on_intr(|| poll(&mut [PollFd::new(&ours, PollFlags::IN)], Some(&NO_ANSWER)));
        if answered.unwrap() > 0 {
            let (_, bytes) = recv(&ours, &mut answer, RecvFlags::empty()).unwrap();
            assert!(bytes > 0, "the keeper hung up at {}", datagram.escape_ascii());
        }
    }
    drop(ours);
    keeper.join().unwrap().unwrap();
    let after = files(&data.join("web1"));
    for (path, content) in before {
        assert_eq!(after.get(&path), Some(&content), "{}", path.display());
    }
    let outside: Vec<_> =
        std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside, ["data"]);
    let log = Log::open(&directories(&data)[0]).unwrap();
    let verified = verify_whole(&log, None, |_, _, _| {}).unwrap();
    assert!(verified.torn.is_empty() && verified.lines >= 2, "{verified:?}");
}

/// Whatever a keeper answers, each who asked hears something, and all hear when it is gone.
pub(crate) fn replies(input: &[u8]) {
    run(async {
        let (ours, theirs) = pair();
        let client = KeeperClient::new(ours).unwrap();
        let repository = "web1".parse().unwrap();
        let creator = "web1".parse().unwrap();
        let account = Account::Repository("web1".parse().unwrap());
        let asked = async {
            tokio::join!(
                client.draft(),
                client.usage(account),
                client.audit_head(),
                client.create_repository(&repository, &creator),
                client.probe(),
                client.died(),
            )
        };
        let answer = async {
            turns().await; // the questions are asked
            let null = std::fs::File::open("/dev/null").unwrap();
            let mut passed = 0;
            for datagram in datagrams(input) {
                let count = usize::from(*datagram.last().unwrap() & 3);
                passed += count;
                let descriptors: Vec<BorrowedFd<'_>> = (0..count).map(|_| null.as_fd()).collect();
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(count == 0 || control.push(SendAncillaryMessage::ScmRights(&descriptors)));
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                sendmsg(&theirs, &[IoSlice::new(datagram)], &mut control, flags).unwrap();
                turns().await;
            }
            drop(theirs);
            passed
        };
        let both = async { tokio::join!(asked, answer) };
        let ((draft, ..), passed) = tokio::time::timeout(HANGS, both).await.unwrap();
        assert!(draft.is_err() || passed > 0, "a file for which no descriptor came");
        assert!(client.ping().await.is_err(), "it is gone");
    });
}

/// Lets the client do what it can.
async fn turns() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// An input's datagrams, each behind a byte with its length. None is empty, which would be the end.
fn datagrams(mut input: &[u8]) -> Vec<&[u8]> {
    let mut datagrams = Vec::new();
    while let Some((len, rest)) = input.split_first() {
        let len = if *len == REST { rest.len() } else { usize::from(*len).min(rest.len()) };
        let (datagram, rest) = rest.split_at(len);
        if !datagram.is_empty() && datagrams.len() < DATAGRAMS_MAX {
            datagrams.push(datagram);
        }
        input = rest;
    }
    datagrams
}

/// All files below, with what they hold.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}
