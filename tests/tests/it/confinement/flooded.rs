//! Messages to the keeper that are none, and too many of those that are.
//!
//! Invariant: as for every forged message: what was stored is there as it was, and the keeper answers still, or has ended
//! in good order.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use super::case::Case;
use super::evidence::Evidence;
use super::forged::{ID, remove};
use super::forger::{Account, Answer, Decision, Forger, Refusal, Word};
use super::stand::{Medium, Stand};

/// Longest message that the keeper takes.
const MESSAGE_BYTES_MAX: usize = 2048;
/// Files that wait for their name at a time.
const SLOTS_MAX: usize = 8192;

/// A130: Code in the frontend sends what is no message: too long, of no kind, with descriptors that nobody asked for.
#[test]
fn what_is_no_message_is_ignored_and_descriptors_are_closed() {
    let mut case = Case::new();
    for length in [MESSAGE_BYTES_MAX + 1, 100_000] {
        let _ = case.forger.send(&vec![0; length], &[]);
    }
    for byte in 0..=u8::MAX {
        case.forger.send(&[9, byte.max(14)], &[]).unwrap();
        case.forger.send(&[byte; 40], &[]).unwrap();
    }
    case.assert_same("garbage");
    let descriptors = Path::new("/proc").join(case.forger.keeper_pid().to_string()).join("fd");
    let count = || fs::read_dir(&descriptors).unwrap().count();
    let at_most = count() + 1; // a directory whose usage it writes
    let null = fs::File::open("/dev/null").unwrap();
    let many: Vec<_> = (0..250).map(|_| null.as_fd()).collect();
    for _ in 0..200 {
        case.forger.say(&Word::Ping, &many);
        case.forger.assert_alive();
    }
    pawl_tests::wait::until("the keeper has closed what it was sent", || (count() <= at_most).then_some(()));
    case.assert_same("descriptors");
}

/// A172: Code in the frontend sends the keeper messages without a byte, each of which looks to one worker as if the frontend were
/// gone, so that none is left while the frontend waits.
#[test]
fn an_empty_message_ends_the_keeper_as_a_whole_and_what_was_asked_before_is_done() {
    let Case { stand, mut forger, before } = Case::new();
    forger.say(&Word::CreateRepository { repository: "web2".into(), creator: "web1".into() }, &[]);
    forger.send(&[], &[]).unwrap();
    forger.assert_ended();
    assert!(stand.data.join("web2/keys").is_dir(), "what was asked before was not done");
    before.assert_kept(&Evidence::read(&stand.data), "an empty message");
    // The next frontend finds a keeper.
    Forger::start(&stand.data).assert_alive();
}

/// A131: Code in the frontend asks for files without end, so that nothing is left to the keeper to work with.
#[test]
fn a_flood_of_requests_leaves_the_keeper_at_work() {
    let mut case = Case::new();
    let mut opened = 0;
    let refusal = loop {
        match case.forger.ask(&Word::Open { count: u8::MAX }) {
            Answer::Opened(files) => opened += files.len(),
            Answer::Refused(refusal) => break refusal,
            other => panic!("{other:?}"),
        }
        assert!(opened <= SLOTS_MAX, "there is no end");
    };
    assert!(matches!(refusal, Refusal::Slot | Refusal::Failed(_)), "{refusal:?}");
    // It can still make directories, count, remove locks and write its log.
    case.forger.done(&Word::CreateRepository { repository: "web2".into(), creator: "web1".into() });
    case.forger.done(&remove("web1", ID));
    case.forger.done(&Word::Note(vec![Decision::default()]));
    assert!(matches!(case.forger.ask(&Word::Head), Answer::Head));
    // Of what is asked in vain, nothing is left.
    let _ = case.forger.ask(&Word::Probe);
    case.assert_kept("a flood of open files");
    for number in 0..20_000_u32 {
        let account = if number % 2 == 0 { Account::Repository } else { Account::Principal };
        case.forger.say(&Word::Usage(account(format!("r{number}"))), &[]);
        if number % 100 == 0 {
            case.forger.assert_alive();
        }
    }
    case.assert_kept("a flood of counts");
}

/// A132: The same, where the limit on open files is that of a service.
#[test]
fn a_keeper_with_few_descriptors_raises_its_limit() {
    let stand = Stand::new(Medium::Disk, &rustix::process::getuid().as_raw().to_string());
    let mut command = std::process::Command::new("prlimit");
    command.args(["--nofile=1024:20000", "--"]).arg(pawl_tests::command::keeper_binary());
    let mut forger = Forger::start_as(command, &stand.data);
    let mut opened = 0;
    while let Answer::Opened(files) = forger.ask(&Word::Open { count: u8::MAX }) {
        opened += files.len();
    }
    assert_eq!(opened, SLOTS_MAX);
    forger.done(&Word::Note(vec![Decision::default()]));
    forger.done(&Word::CreateRepository { repository: "web2".into(), creator: "web1".into() });
}
