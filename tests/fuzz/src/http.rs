//! A whole connection, as anybody can make one: heads, paths, credentials, ranges, lengths and bodies.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pawl_config::{Limits, Listen};
use pawl_frontend::credentials::{Credentials, Secret};
use pawl_frontend::http::{Frontend, serve};
use pawl_frontend::socket::bind;
use pawl_keeper::KeeperClient;
use pawl_keeper::audit_queue::Queue;
use pawl_policy::{Caps, FileId, FileType, Handle};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::ReadHalf;
use tokio::sync::oneshot;

use crate::run;
use crate::scratch::Scratch;
use crate::settings::PASSWORD;
use crate::store::Store;

/// Longer ones say nothing new.
const INPUT_BYTES_MAX: usize = 16 << 10;
/// Tasks' turns after which a server that has not answered waits for more: a request takes some dozens.
const TURNS: usize = 300;
/// A pack, as far as the store can tell.
const PACK: &[u8; 40] = b"0123456789abcdefghijklmnopqrstuvwxyz+-*/";

thread_local! {
    static SCRATCH: Scratch = Scratch::new();
}

static HOSTS: LazyLock<String> = LazyLock::new(|| {
    let host = |name: &str, password: &str| {
        let hash = Secret::again(password.to_owned()).hash();
        format!(
            "[host.{name}]\nsecret_sha256 = \"{hash}\"\n[[host.{name}.grants]]\nrepository = \"{name}\"\nrole = \"backup\"\n"
        )
    };
    host("web1", PASSWORD) + &host("web2", "another")
});

fn file(file_type: FileType, content: &[u8]) -> Handle {
    Handle::File(file_type, FileId::from_sha256(Sha256::digest(content).into()))
}

/// Nothing reaches the store but what stands in the request, with the right credential, on the host's own repository;
/// nothing stored is changed or removed but locks, and what is new is what its name says.
pub(crate) fn connection(input: &[u8]) {
    if input.len() > INPUT_BYTES_MAX {
        return;
    }
    let store = Store::default();
    let before = [
        (Handle::Config, b"config".to_vec()),
        (file(FileType::Data, PACK), PACK.to_vec()),
        (file(FileType::Snapshots, PACK), PACK.to_vec()),
    ];
    store.held().files.extend(before.clone());
    store.held().files.insert(file(FileType::Locks, PACK), PACK.to_vec());
    let answer = run(converse(store.clone(), input));

    let held = store.held();
    let has = |part: &[u8]| input.windows(part.len()).any(|window| window == part);
    let credential = BASE64_STANDARD.encode(format!("web1:{PASSWORD}"));
    for (repository, handle) in &held.reached {
        assert!(has(credential.as_bytes()), "{repository} was reached without the right credential");
        assert_eq!(repository.as_str(), "web1");
        let path = handle.map_or_else(|| "/web1/".to_owned(), |handle| format!("/web1/{handle}"));
        // Who creates a repository has its config looked for.
        assert!(asks_for(input, &path) || asks_for(input, "/web1/?create=true"), "{path} was reached");
    }
    for (handle, content) in &before {
        assert_eq!(held.files.get(handle), Some(content), "{handle}");
    }
    let is_chunked = has(b"hunked") || has(b"HUNKED");
    for (handle, content) in &held.files {
        let Handle::File(file_type, _) = handle else { continue };
        assert_eq!(*handle, file(*file_type, content));
        assert!(
            is_chunked || before.iter().any(|(there, _)| there == handle) || content == PACK || has(content)
        );
    }
    if answer.starts_with(b"HTTP/1.1 401") {
        assert!(held.reached.is_empty(), "a connection ends with the answer to who has not authenticated");
    }
    check_answer(&answer);
}

/// Whether a request in this input has a target whose path begins so, behind nothing but a scheme and an authority.
fn asks_for(input: &[u8], path: &str) -> bool {
    let text = String::from_utf8_lossy(input);
    text.match_indices(path).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.rsplit([' ', '\n']).next()).unwrap_or_default();
        before.is_empty() || before.split_once("://").is_some_and(|(_, authority)| !authority.contains('/'))
    })
}

/// Sends the input as one connection, and returns all that is answered.
async fn converse(store: Store, input: &[u8]) -> Vec<u8> {
    let (path, hosts) = SCRATCH
        .with(|scratch| (scratch.path().join("socket"), scratch.write("hosts.toml", HOSTS.as_bytes())));
    let credentials = Credentials::load(hosts, None, NonZeroU32::MAX).unwrap();
    // Nobody reads what the keeper is told.
    let (ours, _theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let audit = Queue::start(KeeperClient::new(ours).unwrap());
    let frontend = Arc::new(Frontend::new(store, credentials, Caps::default(), Limits::default(), audit));
    let bound = bind(&[Listen::Unix(PathBuf::clone(&path))]).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(bound, frontend, None, async { drop(stopped.await) }));
    let mut client = UnixStream::connect(path).await.unwrap();
    let mut answer = Vec::new();
    let (reading, mut writing) = client.split();
    let written = writing.write_all(input); // fails where the server has hung up
    let read = async { while let Some(()) = settled(&reading, &mut answer).await {} };
    let (_, ()) = tokio::join!(written, read);
    drop(client);
    drop(stop);
    assert!(serving.await.unwrap().unwrap(), "a request has not ended");
    answer
}

/// Reads what has been answered by now; nothing if that is all, because the server waits for more or has hung up.
async fn settled(reading: &ReadHalf<'_>, answer: &mut Vec<u8>) -> Option<()> {
    for _ in 0..TURNS {
        match reading.try_read_buf(answer) {
            Ok(0) => return None,
            Ok(_) => return Some(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::task::yield_now().await,
            Err(_) => return None,
        }
    }
    None
}

/// The first answer is one of those that restic knows, and a part is the part that it says it is.
fn check_answer(answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return };
    let (status, headers) = head.split_once("\r\n").unwrap();
    let status: u16 = status.split(' ').nth(1).unwrap().parse().unwrap();
    let known = [200, 206, 400, 401, 403, 404, 405, 411, 414, 416, 431, 503, 507];
    assert!(known.contains(&status), "{head}");
    let range = headers.lines().find_map(|line| line.strip_prefix("content-range: bytes "));
    if status == 206 {
        let (first, rest) = range.unwrap().split_once('-').unwrap();
        let (last, size) = rest.split_once('/').unwrap();
        let [first, last, size]: [usize; 3] = [first, last, size].map(|number| number.parse().unwrap());
        let content = if size == PACK.len() { &PACK[..] } else { b"config" };
        assert!(body.as_bytes().starts_with(content.get(first..=last).unwrap()), "{text}");
    }
}
