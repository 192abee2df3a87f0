//! Large repositories and many uploads at once.
//!
//! Invariant: the server's memory does not grow with the size of a repository or of a file.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use pawl_tests::clients;
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Client, Connection, Request};
use pawl_tests::memory::Memory;
use pawl_tests::server::Server;
use pawl_tests::store::{path_of, plant};
use sha2::{Digest, Sha256};

const FILES: usize = 100_000;
const LISTING_KIB_MAX: u64 = 8 << 10;

const UPLOADS: usize = 64;
const UPLOAD_BYTES: usize = 16 << 20;
const UPLOADS_KIB_MAX: u64 = 64 << 10;

/// Puts this many files of one byte into a repository, as rest-server would have. Their content does not fit
/// their names, which no listing looks at.
fn plant_many(data: &Path) -> BTreeSet<String> {
    let names: BTreeSet<String> = (0..FILES).map(|number| id_of(&number.to_le_bytes())).collect();
    for first in 0..=255 {
        fs::create_dir_all(data.join(format!("web1/data/{first:02x}"))).unwrap();
    }
    // Links are quicker than files, but one file has room for fewer than 65,000.
    let mut seed = data.to_owned();
    for (number, name) in names.iter().enumerate() {
        let path = path_of(data, &format!("web1/data/{name}"));
        if number % 50_000 == 0 {
            plant(&path, b"x");
            seed = path;
        } else {
            fs::hard_link(&seed, path).unwrap();
        }
    }
    names
}

fn list(client: &Client, version: &str) -> serde_json::Value {
    let kind = format!("application/vnd.x.restic.rest.{version}");
    let request = Request::new("GET", "/web1/data/").header("Accept", &kind);
    let answer = client.send(request).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind.as_str())));
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn a_hundred_thousand_files_are_listed_in_bounded_memory() {
    let server = Server::start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    assert_eq!(list(&client, "v2"), serde_json::json!([]));
    let names = plant_many(server.data());

    let memory = Memory::watch(server.door_pid());
    let v1: BTreeSet<String> = serde_json::from_value(list(&client, "v1")).unwrap();
    assert!(v1 == names, "{} names", v1.len());
    let v2 = list(&client, "v2");
    let v2: BTreeSet<&str> = v2
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(entry["size"], 1);
            entry["name"].as_str().unwrap()
        })
        .collect();
    assert!(v2.len() == FILES && v2.iter().all(|name| names.contains(*name)));
    let growth = memory.growth();
    println!("listing {FILES} files twice: the server grew by {growth} KiB");
    assert!(growth < LISTING_KIB_MAX, "by {growth} KiB");
}

/// Contents that share all but their end, so that making and hashing them costs little.
struct Contents {
    start: Vec<u8>,
    hash: Sha256,
}

impl Contents {
    fn new() -> Self {
        let block = noise("block", 1 << 20);
        let start = block.repeat(UPLOAD_BYTES >> 20);
        let hash = Sha256::new_with_prefix(&start);
        Self { start, hash }
    }

    fn end(number: usize) -> String {
        format!("{number:08}")
    }

    fn id(&self, number: usize) -> String {
        hex::encode(self.hash.clone().chain_update(Self::end(number)).finalize())
    }

    /// Begins an upload and sends half of it.
    fn send_half(&self, number: usize, server: &Server, client: &Client) -> Connection {
        let mut connection = Connection::open(server.address()).unwrap();
        let length = self.start.len() + Self::end(number).len();
        let head = Request::new("POST", &format!("/web1/data/{}", self.id(number)))
            .header("Content-Length", &length.to_string());
        connection.send(&client.signed(head)).unwrap();
        connection.send_bytes(&self.start[..UPLOAD_BYTES / 2]).unwrap();
        connection
    }

    fn send_rest(&self, number: usize, connection: &mut Connection) -> u16 {
        connection.send_bytes(&self.start[UPLOAD_BYTES / 2..]).unwrap();
        connection.send_bytes(Self::end(number).as_bytes()).unwrap();
        connection.receive("POST").unwrap().status
    }
}

#[test]
fn sixty_four_uploads_at_once_take_little_memory_and_are_all_stored() {
    let server = Server::start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    let contents = Contents::new();
    let memory = Memory::watch(server.door_pid());
    let all_have_sent_half = Barrier::new(UPLOADS);
    thread::scope(|scope| {
        for number in 0..UPLOADS {
            let (server, client, contents) = (&server, &client, &contents);
            let all_have_sent_half = &all_have_sent_half;
            scope.spawn(move || {
                let mut connection = contents.send_half(number, server, client);
                all_have_sent_half.wait();
                assert_eq!(contents.send_rest(number, &mut connection), 200, "upload {number}");
            });
        }
    });
    let growth = memory.growth();
    println!("{UPLOADS} uploads of {UPLOAD_BYTES} bytes at once: the server grew by {growth} KiB");
    assert!(growth < UPLOADS_KIB_MAX, "by {growth} KiB");
    let length = u64::try_from(UPLOAD_BYTES + Contents::end(0).len()).unwrap();
    for number in 0..UPLOADS {
        let path = path_of(server.data(), &format!("web1/data/{}", contents.id(number)));
        assert_eq!(fs::metadata(path).unwrap().len(), length, "upload {number}");
    }
}

#[test]
fn uploads_of_one_name_at_once_all_succeed_and_store_one_file() {
    let server = Server::start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    let before = server.stored();
    let contents = Contents::new();
    let all_have_sent_half = Arc::new(Barrier::new(8));
    thread::scope(|scope| {
        for _uploader in 0..8 {
            let (server, client, contents) = (&server, &client, &contents);
            let all_have_sent_half = Arc::clone(&all_have_sent_half);
            scope.spawn(move || {
                let mut connection = contents.send_half(0, server, client);
                all_have_sent_half.wait();
                assert_eq!(contents.send_rest(0, &mut connection), 200);
            });
        }
    });
    let after = server.stored();
    before.assert_kept(&after);
    assert_eq!(before.differences(&after), [format!("+ web1/data/{0:.2}/{0}", contents.id(0))]);
}

#[test]
fn a_slow_upload_does_not_hinder_others() {
    let server = Server::start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    let slow = noise("slow", 2000);
    let mut connection = Connection::open(server.address()).unwrap();
    let head = Request::new("POST", &format!("/web1/data/{}", id_of(&slow)))
        .header("Content-Length", &slow.len().to_string());
    connection.send(&client.signed(head)).unwrap();
    let (most, last) = slow.split_at(1960);
    for (number, few) in most.chunks(40).enumerate() {
        connection.send_bytes(few).unwrap();
        let quick = noise(&format!("quick {number}"), 100_000);
        let target = format!("/web1/data/{}", id_of(&quick));
        assert_eq!(client.post(&target, &quick).unwrap().status, 200);
        assert!(client.ask("GET", &target).unwrap().body == quick);
        assert_eq!(list(&client, "v1").as_array().unwrap().len(), number + 1);
    }
    connection.send_bytes(last).unwrap();
    assert_eq!(connection.receive("POST").unwrap().status, 200);
}
