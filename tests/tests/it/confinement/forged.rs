//! Every message to the keeper that code in the frontend could forge.
//!
//! Invariant: after each, what was stored is there as it was, and the keeper answers still.

use std::fs;
use std::os::fd::AsFd;

use pawl_tests::command::pawl;
use pawl_tests::content::{id_of, noise};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::case::Case;
use super::forger::{Account, Answer, Decision, Refusal, Told, Word};

/// Longest message that the keeper takes.
const MESSAGE_BYTES_MAX: usize = 2048;

fn commit(slot: u64, repository: &str, handle: &str) -> Word {
    Word::Commit { slot, repository: repository.into(), handle: handle.into(), creator: "web1".into() }
}

fn rescue(slot: u64, repository: &str, handle: &str) -> Word {
    Word::Rescue { slot, repository: repository.into(), handle: handle.into(), creator: "web1".into() }
}

pub(crate) fn remove(repository: &str, id: &str) -> Word {
    Word::RemoveLock { repository: repository.into(), id: id.into(), remover: "web1".into() }
}

pub(crate) const ID: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A121: Code in the frontend has the keeper use a name that leaves its place, or that is Pawl's own.
#[test]
fn a_name_that_is_none_is_no_message() {
    let mut case = Case::new();
    let (slot, _file) = case.forger.opened();
    let repositories = [
        "",
        ".",
        "..",
        "/",
        "/etc",
        "../web1",
        "web1/..",
        "web1/../web1",
        "./web1",
        "web1/",
        "//web1",
        ".pawl",
        ".pawl/deleted",
        "web1/.pawl",
        "web1/data",
        "data",
        "config",
        "web1/locks",
        "locks",
        "keys",
        "index",
        "snapshots",
        "web1\0x",
        "web1\n",
        "a/b/c/d/e",
        "web1/data/00",
    ];
    let handles = [
        "",
        "config/",
        "/config",
        "../config",
        "data",
        "data/",
        "data/..",
        "data/../config",
        "locks/../config",
        "audit",
        "lock",
        "data/0",
        "DATA/",
        "canary/before",
        "config\0",
        ".pawl/hosts.toml",
    ];
    let bad_ids = ["", ".", "..", "../config", "config", &ID[1..], &format!("{ID}1"), &ID.replace('1', "G")];
    let mut words = Vec::new();
    for repository in repositories {
        words.extend([commit(slot, repository, "config"), rescue(slot, repository, "config")]);
        words.extend([remove(repository, ID), Word::Usage(Account::Repository(repository.into()))]);
        words.push(Word::CreateRepository { repository: repository.into(), creator: "web1".into() });
    }
    for handle in handles.iter().map(|&handle| handle.to_owned()) {
        words.extend([commit(slot, "web1", &handle), rescue(slot, "web1", &handle)]);
    }
    for id in bad_ids {
        words.extend([remove("web1", id), commit(slot, "web1", &format!("data/{id}"))]);
    }
    for principal in ["", "..", "../web1", "a/b", ".pawl", "web1\n", "\0"] {
        let (principal, bytes) = (principal.to_owned(), 1);
        words.push(Word::Tally { principal: principal.clone(), bytes, taken_back: false });
        words.push(Word::CreateRepository { repository: "web2".into(), creator: principal });
    }
    for word in &words {
        case.forger.say(word, &[]);
    }
    case.assert_same("names that are none");
    // The slot was for none of them.
    case.forger.done(&Word::Discard { slot });
}

/// A122: Code in the frontend commits what is not its to commit: a slot twice, one that was never given, one given back.
#[test]
fn a_slot_is_committed_once() {
    let mut case = Case::new();
    for slot in [0, 99, u64::MAX] {
        assert_eq!(case.forger.refused(&commit(slot, "web1", &format!("data/{ID}"))), Refusal::Slot);
        assert_eq!(case.forger.refused(&rescue(slot, "web1", "config")), Refusal::Slot);
        assert_eq!(case.forger.refused(&Word::Canary { slot }), Refusal::Slot);
        assert_eq!(case.forger.refused(&Word::Discard { slot }), Refusal::Slot);
    }
    case.assert_same("slots that are none");
    let content = noise("garbage", 100);
    let slot = case.forger.filled(&content);
    case.forger.done(&commit(slot, "web1", &format!("data/{}", id_of(&content))));
    case.before = case.now();
    for handle in [format!("data/{ID}"), format!("snapshots/{ID}"), "config".to_owned()] {
        assert_eq!(case.forger.refused(&commit(slot, "web1", &handle)), Refusal::Slot);
    }
    case.assert_same("a slot that was committed");
}

/// A123: Code in the frontend commits a file to which it can still write, by whatever it has kept.
#[test]
fn a_file_with_a_writer_left_is_not_committed() {
    let mut case = Case::new();
    let named = |slot| commit(slot, "web1", &format!("data/{ID}"));
    // The descriptor itself.
    let (slot, kept) = case.forger.opened();
    assert_eq!(case.forger.refused(&named(slot)), Refusal::WriterLeft);
    // A second one of it.
    let (slot, file) = case.forger.opened();
    let _second = file.try_clone().unwrap();
    drop(file);
    assert_eq!(case.forger.refused(&named(slot)), Refusal::WriterLeft);
    // One that is under way in a socket.
    let (slot, file) = case.forger.opened();
    let (ends, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (one, _other) = socketpair(ends, kind, SocketFlags::CLOEXEC, None).unwrap();
    hide(&one, &file);
    drop(file);
    assert_eq!(case.forger.refused(&named(slot)), Refusal::WriterLeft);
    // One that the keeper itself was sent back, and has not looked at.
    let (slot, file) = case.forger.opened();
    for _ in 0..50 {
        case.forger.say(&Word::Ping, &[file.as_fd()]);
    }
    drop(file);
    match case.forger.ask(&named(slot)) {
        Answer::Refused(Refusal::WriterLeft) => {}
        // By then the keeper had closed what it was sent.
        Answer::Done => case.before = case.now(),
        other => panic!("{other:?}"),
    }
    // A mapping, which only a process that nothing confines can make of it.
    let (slot, file) = case.forger.opened();
    rustix::io::write(&file, &noise("mapped", 4096)).unwrap();
    let map = Mapping::of(&file);
    drop(file);
    assert_eq!(case.forger.refused(&commit(slot, "web1", "config")), Refusal::WriterLeft);
    drop(map);
    // A canary and what is rescued are no exception.
    let (slot, _file) = case.forger.opened();
    assert_eq!(case.forger.refused(&Word::Canary { slot }), Refusal::WriterLeft);
    let (slot, _other) = case.forger.opened();
    assert_eq!(case.forger.refused(&rescue(slot, "web1", "config")), Refusal::WriterLeft);
    drop(kept);
    case.assert_kept("files with a writer");
}

/// A124: Code in the frontend commits something else under each name that is taken.
#[test]
fn a_name_that_is_taken_stays_with_its_file() {
    let mut case = Case::new();
    let mut handles = vec!["config".to_owned()];
    for directory in ["keys", "index", "snapshots"] {
        handles.extend(case.names(directory).iter().map(|name| format!("{directory}/{name}")));
    }
    let fans: Vec<_> = case.names("data");
    for fan in fans {
        handles.extend(case.names(&format!("data/{fan}")).iter().map(|name| format!("data/{name}")));
    }
    assert!(handles.len() > 7, "{handles:?}");
    for handle in &handles {
        let slot = case.forger.filled(b"something else");
        assert_eq!(case.forger.refused(&commit(slot, "web1", handle)), Refusal::NameTaken, "{handle}");
        case.forger.done(&Word::Discard { slot });
    }
    // Beginning anew leaves a repository that has begun as it is.
    case.forger.done(&Word::CreateRepository { repository: "web1".into(), creator: "thief".into() });
    case.assert_same("names that are taken");
    // What is rescued lies beside the store, and the first stays.
    for content in [b"one".as_slice(), b"two"] {
        let slot = case.forger.filled(content);
        case.forger.done(&rescue(slot, "web1", "config"));
    }
    assert_eq!(fs::read(case.path(".pawl/rescued/web1/config")).unwrap(), b"one");
    case.assert_kept("what is rescued");
}

/// A125: Code in the frontend has something removed as a lock that is none.
#[test]
fn only_a_lock_that_hosts_made_is_removed() {
    let mut case = Case::new();
    // Names of other files are not looked for elsewhere.
    for directory in ["keys", "index", "snapshots"] {
        for name in case.names(directory) {
            case.forger.done(&remove("web1", &name));
        }
    }
    case.assert_same("ids of other files");
    let lock = |digit: &str| case.path("web1/locks").join(ID.replace('1', digit));
    let (linked, symbolic, directory, pipe) = (lock("2"), lock("3"), lock("4"), lock("5"));
    let (snapshot, config) =
        (case.path("web1/snapshots").join(&case.names("snapshots")[0]), case.path("web1/config"));
    fs::hard_link(snapshot, linked).unwrap();
    std::os::unix::fs::symlink(config, symbolic).unwrap();
    fs::create_dir(directory).unwrap();
    super::stand::run("mkfifo", &[pipe.to_str().unwrap()]);
    let (maintenance, own) = (lock("6"), lock("7"));
    for path in [&maintenance, &own] {
        pawl_tests::store::plant(path, b"a lock");
    }
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&maintenance, "user.pawl.maintenance", b"1", flags).unwrap();
    case.before = case.now();
    for digit in ["2", "3", "4", "5", "6"] {
        let refusal = case.forger.refused(&remove("web1", &ID.replace('1', digit)));
        assert!(matches!(refusal, Refusal::Failed(_)), "{digit}: {refusal:?}");
    }
    case.assert_same("what is no lock of hosts");
    case.forger.done(&remove("web1", &ID.replace('1', "7")));
    assert!(!own.exists());
}

/// A126: Code in the frontend has the keeper go through a symbolic link that lies where a directory should.
#[test]
fn the_keeper_follows_no_symbolic_link() {
    let mut case = Case::new();
    let outside = case.stand.dir().join("outside");
    fs::create_dir_all(outside.join("locks")).unwrap();
    pawl_tests::store::plant(&outside.join("locks").join(ID), b"a lock of somebody else");
    std::os::unix::fs::symlink(&outside, case.path("web2")).unwrap();
    fs::create_dir(case.path("web3")).unwrap();
    std::os::unix::fs::symlink(&outside, case.path("web3/data")).unwrap();
    std::os::unix::fs::symlink(outside.join("locks"), case.path("web3/locks")).unwrap();
    case.before = case.now();
    for repository in ["web2", "web3"] {
        let _ = case.forger.refused(&remove(repository, ID));
        let slot = case.forger.filled(b"x");
        let _ = case.forger.refused(&commit(slot, repository, &format!("data/{ID}")));
        let _ = case
            .forger
            .refused(&Word::CreateRepository { repository: repository.into(), creator: "web1".into() });
    }
    let names: Vec<_> = fs::read_dir(&outside).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(outside.join("locks").join(ID).exists());
    case.assert_kept("symbolic links");
}

/// A127: Code in the frontend writes of maintenance into the audit log, or breaks the log with what it writes.
#[test]
fn a_forged_record_tells_only_what_a_door_may_and_breaks_nothing() {
    let mut case = Case::new();
    let told = Told {
        act: 0,
        principal: "admin".into(),
        repository: "web1".into(),
        file: None,
        bytes: None,
        batch: None,
    };
    assert!(matches!(case.forger.refused(&Word::Tell(told)), Refusal::Failed(_)));
    // Each of these bytes takes six in the log.
    for text in ["\u{1}".repeat(MESSAGE_BYTES_MAX - 60), "\n".repeat(1500), "\u{2028}\"\\".repeat(300)] {
        case.forger.done(&Word::Note(vec![Decision { peer: text, ..Decision::default() }]));
    }
    case.forger.done(&Word::Note(vec![Decision {
        bytes_in: u64::MAX,
        status: u16::MAX,
        ..Decision::default()
    }]));
    case.assert_kept("forged records");
    let Case { stand, forger, .. } = case;
    forger.hang_up();
    let data = stand.data.to_str().unwrap();
    let verified = pawl(["audit", "verify", "--data", data]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let shown = pawl(["audit", "show", "--data", data]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
}

/// A128: Code in the frontend counts what was never stored until numbers run over.
#[test]
fn counting_runs_over_no_number() {
    let mut case = Case::new();
    let tally = |taken_back| Word::Tally { principal: "web1".into(), bytes: u64::MAX, taken_back };
    for taken_back in [false, false, true, true, false] {
        case.forger.done(&tally(taken_back));
    }
    case.assert_kept("tallies");
    // Its host is held to its quota then; that is seen, and nothing is lost.
    let content = noise("after", 10);
    let slot = case.forger.filled(&content);
    case.forger.done(&commit(slot, "web1", &format!("data/{}", id_of(&content))));
}

/// A129: Code in the frontend stores its own content as the file by which Pawl tries itself.
#[test]
fn the_file_of_the_self_test_is_stored_once() {
    let mut case = Case::new();
    let slot = case.forger.filled(b"one");
    case.forger.done(&Word::Canary { slot });
    case.before = case.now();
    let slot = case.forger.filled(b"two");
    assert_eq!(case.forger.refused(&Word::Canary { slot }), Refusal::NameTaken);
    case.assert_same("a second canary");
}

/// Puts a descriptor into a socket that nobody reads.
fn hide(socket: &std::os::fd::OwnedFd, file: &std::os::fd::OwnedFd) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    let part = [std::io::IoSlice::new(b"x")];
    rustix::net::sendmsg(socket, &part, &mut control, SendFlags::empty()).unwrap();
}

/// A process that maps a file for writing and holds nothing else of it.
struct Mapping(std::process::Child);

impl Mapping {
    fn of(file: &std::os::fd::OwnedFd) -> Self {
        use std::io::BufRead;
        use std::os::fd::AsRawFd;
        let script = format!(
            "import mmap,os,sys\nf=os.open('/proc/{}/fd/{}',os.O_RDWR)\nm=mmap.mmap(f,4096)\nos.close(f)\n\
             print('mapped',flush=True)\nsys.stdin.read()",
            std::process::id(),
            file.as_raw_fd()
        );
        let mut command = std::process::Command::new("python3");
        command
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mapped\n");
        Self(child)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
