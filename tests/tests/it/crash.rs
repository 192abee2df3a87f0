//! The server is killed again and again while it stores files.
//!
//! Invariant: what it confirmed is there, whole; what it did not confirm is there whole or not at all.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::pawl_command;
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Client, Connection, Request};
use pawl_tests::process::Process;
use pawl_tests::program::Run;
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::random::Random;
use pawl_tests::server::Server;
use pawl_tests::store::{path_of, plant};
use rustix::process::Signal;

const ROUNDS: u64 = 50;
/// In each n-th of them restic is at work as well.
const RESTIC_EVERY: u64 = 5;
const UPLOADERS: u64 = 6;
/// A killing that comes after this many bytes at the latest finds most uploads in the middle.
const BYTES_BEFORE_KILLING_MAX: u64 = 12 << 20;
const FILE_BYTES_MAX: u64 = 4 << 20;
const TYPES: [&str; 5] = ["data", "index", "keys", "locks", "snapshots"];

/// Any order of magnitude is as likely as any other.
fn size(random: &mut Random) -> usize {
    let magnitude = random.below(u64::from((FILE_BYTES_MAX / 64).ilog2()) + 1);
    let size = 64 << magnitude;
    usize::try_from(size + random.below(size)).unwrap()
}

/// What is to be killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Door,
    Keeper,
    Both,
}

/// One round's uploads, and the moment when the server is killed.
struct Round<'a> {
    seed: u64,
    noise: &'a [u8],
    client: &'a Client,
    server: &'a Server,
    victim: Victim,
    bytes_left: AtomicU64,
    /// Work to do between that moment and the killing, so that it also meets a server that has all bytes.
    delay: Range<usize>,
    killed: AtomicBool,
    confirmed: Mutex<Vec<String>>,
}

impl Round<'_> {
    /// Uploads one file after the other until the server is gone.
    fn upload(&self, uploader: u64) {
        let mut random = Random::new(self.seed * 1000 + uploader);
        for number in 0u64.. {
            let file_type =
                ["data", "data", "data", "index", "snapshots"][usize::try_from(random.below(5)).unwrap()];
            let size = size(&mut random);
            let start = usize::try_from(random.below(self.noise.len() as u64 - size as u64)).unwrap();
            let mut content = self.noise[start..start + size].to_vec();
            content.extend(format!("{} {uploader} {number}", self.seed).bytes());
            let target = format!("/raw/{file_type}/{}", id_of(&content));
            match self.post(&target, &content) {
                Some((200, _)) => self.confirmed.lock().unwrap().push(target),
                Some(other) => assert!(self.is_killed(), "{other:?} for {target}"),
                None if self.is_killed() => return,
                None => (), // killed at this moment, or else the next upload tells
            }
        }
    }

    fn post(&self, target: &str, content: &[u8]) -> Option<(u16, String)> {
        let mut connection = Connection::open(self.server.address()).ok()?;
        let head = Request::new("POST", target).header("Content-Length", &content.len().to_string());
        connection.send(&self.client.signed(head)).ok()?;
        for piece in content.chunks(64 << 10) {
            connection.send_bytes(piece).ok()?;
            self.sent(piece.len() as u64);
        }
        let answer = connection.receive("POST").ok()?;
        Some((answer.status, answer.reason))
    }

    fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Counts, and kills when it is time.
    fn sent(&self, bytes: u64) {
        let count = |left: u64| Some(left.saturating_sub(bytes));
        let left = self.bytes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        if !(1..=bytes).contains(&left.unwrap()) {
            return;
        }
        let _ = id_of(&self.noise[self.delay.clone()]);
        self.killed.store(true, Ordering::SeqCst);
        let door = Process::open(self.server.door_pid());
        match self.victim {
            Victim::Door => door.unwrap().signal(Signal::KILL),
            Victim::Keeper => self.server.keeper().signal(Signal::KILL),
            Victim::Both => {
                self.server.keeper().signal(Signal::KILL);
                door.unwrap().signal(Signal::KILL);
            }
        }
    }
}

/// Names of all files that a client is shown, with what it is told of their sizes.
fn listed(client: &Client, repository: &str) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for file_type in TYPES {
        let request = Request::new("GET", &format!("/{repository}/{file_type}/"))
            .header("Accept", "application/vnd.x.restic.rest.v2");
        let answer = client.send(request).unwrap();
        assert_eq!(answer.status, 200);
        let entries: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).unwrap();
        for entry in entries {
            let name = format!("/{repository}/{file_type}/{}", entry["name"].as_str().unwrap());
            names.insert(name, entry["size"].as_u64().unwrap());
        }
    }
    names
}

/// Every file that lies in a repository, whatever its name.
fn lying_in(repository: &Path) -> usize {
    let count = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() { lying_in(&path) } else { 1 }
    };
    fs::read_dir(repository).unwrap().map(count).sum()
}

fn assert_whole(data: &Path, names: impl IntoIterator<Item = (String, u64)>) {
    for (name, size) in names {
        let content = fs::read(path_of(data, name.trim_start_matches('/'))).unwrap();
        assert_eq!(content.len() as u64, size, "{name}");
        assert!(name.ends_with(&id_of(&content)), "{name} is not whole");
    }
}

/// A backup that is running when the server is killed.
fn begin_backup(restic: &Restic, round: u64) -> Run {
    let files = restic.home().join("files");
    plant(&files.join(round.to_string()), &noise(&format!("round {round}"), 3_000_000));
    restic.start(["backup", files.to_str().unwrap()])
}

#[test]
fn fifty_killings_lose_nothing_and_leave_nothing_half() {
    let mut server = Server::start();
    let client = server.add_client("raw", &[]);
    clients::initialise(&client, "raw");
    let restic = Restic::new(Version::V0_19, &clients::ready(&server, "web1"));
    let noise = noise("pool", usize::try_from(FILE_BYTES_MAX * 4).unwrap());
    let mut random = Random::new(20_261_120);
    let mut known = listed(&client, "raw");
    let mut confirmed = 0;

    for seed in 0..ROUNDS {
        let victim = [Victim::Door, Victim::Keeper, Victim::Both][usize::try_from(random.below(3)).unwrap()];
        let delay = 0..usize::try_from(random.below(FILE_BYTES_MAX)).unwrap();
        let backup = (seed % RESTIC_EVERY == 0).then(|| begin_backup(&restic, seed));
        let round = Round {
            seed,
            noise: &noise,
            client: &client,
            server: &server,
            victim,
            bytes_left: AtomicU64::new(1 + random.below(BYTES_BEFORE_KILLING_MAX)),
            delay,
            killed: AtomicBool::new(false),
            confirmed: Mutex::default(),
        };
        let said_before = server.log().text().len();
        thread::scope(|scope| {
            for uploader in 0..UPLOADERS {
                let round = &round;
                scope.spawn(move || round.upload(uploader));
            }
        });
        let stored = round.confirmed.into_inner().unwrap();
        match victim {
            Victim::Keeper => {
                assert_eq!(server.wait().code(), Some(1), "round {seed}");
                let said = server.log().text().split_off(said_before);
                assert!(said.contains("keeper"), "round {seed}: {said}");
            }
            Victim::Door | Victim::Both => server.kill(),
        }
        server.start_again();

        let now = listed(&client, "raw");
        for name in stored.iter().chain(known.keys()) {
            assert!(now.contains_key(name), "round {seed}, {victim:?}: {name} is lost");
        }
        let config = 1;
        assert_eq!(lying_in(&server.data().join("raw")), now.len() + config, "round {seed}");
        let new = now.iter().filter(|(name, _)| !known.contains_key(*name));
        assert_whole(server.data(), new.map(|(name, size)| (name.clone(), *size)));
        confirmed += stored.len();
        known = now;

        // Every second backup goes on with the server that has come back; the others are killed as well.
        match backup {
            Some(backup) if seed % (2 * RESTIC_EVERY) == 0 => drop(backup.end().expect_code(0)),
            Some(backup) => backup.kill(),
            None => {}
        }
    }

    assert!(confirmed > 100, "{confirmed} uploads were confirmed");
    assert_whole(server.data(), known);
    restic.succeed(["unlock"]);
    restic.check();
    assert_whole(
        server.data(),
        listed(&server.client(&server.add_host("watcher", &["--repository", "web1"])), "web1"),
    );
    println!("{confirmed} uploads were confirmed in {ROUNDS} rounds");
}

/// Begins an upload and returns when the server has asked for its body and been sent half of it.
fn half_an_upload(server: &Server, client: &Client, content: &[u8]) -> Connection {
    let mut connection = Connection::open(server.address()).unwrap();
    let head = Request::new("POST", &format!("/web1/data/{}", id_of(content)))
        .header("Content-Length", &content.len().to_string())
        .header("Expect", "100-continue");
    connection.send(&client.signed(head)).unwrap();
    connection.wait_for_continue().unwrap();
    connection.send_bytes(&content[..content.len() / 2]).unwrap();
    connection
}

#[test]
fn a_stop_lets_an_upload_finish() {
    let mut server = Server::start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    let content = noise("pack", 2_000_000);
    let mut connection = half_an_upload(&server, &client, &content);
    server.signal(Signal::TERM);
    let _ = server.log().wait_for_line(&["stopping"]);
    connection.send_bytes(&content[content.len() / 2..]).unwrap();
    assert_eq!(connection.receive("POST").unwrap().status, 200);
    assert_eq!(server.wait().code(), Some(0));
    let name = format!("web1/data/{}", id_of(&content));
    assert!(fs::read(path_of(server.data(), &name)).unwrap() == content);
}

#[test]
fn a_stop_does_not_wait_for_ever_for_an_upload() {
    let mut server = Server::build().config("limits.stop_seconds = 1").start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    let content = noise("pack", 2_000_000);
    let mut connection = half_an_upload(&server, &client, &content);
    let before = server.stored();
    assert_eq!(server.stop().code(), Some(0));
    assert!(connection.receive("POST").is_err());
    before.assert_unchanged(&server.stored());
}

#[test]
fn a_second_server_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let server = Server::start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    let before = server.stored();
    let mut second = pawl_command();
    second.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(server.data());
    let ended = Run::start(second).end().expect_code(1);
    assert!(ended.stderr.contains("another pawl"), "{}", ended.stderr);
    before.assert_unchanged(&server.stored());

    let content = noise("pack", 100_000);
    let target = format!("/web1/data/{}", id_of(&content));
    assert_eq!(client.post(&target, &content).unwrap().status, 200);
    // New hosts are still sent to the server that runs.
    let url = server.add_host("web2", &[]).repository;
    assert_eq!(url, format!("rest:{}/web2/", server.url()));
}

#[test]
fn a_restart_in_the_middle_of_a_backup_costs_it_nothing() {
    let mut server = Server::start();
    let near = Restic::new(Version::V0_19, &clients::ready(&server, "web1"));
    let line = Proxy::start(server.address(), Fault::Hold, "POST /web1/data/");
    let restic = near.through(line.address());
    let backup = begin_backup(&restic, 0);
    line.wait_for_fault();
    server.kill();
    server.start_again();
    line.let_through();
    let _ = backup.end().expect_code(0);
    restic.check();
}
