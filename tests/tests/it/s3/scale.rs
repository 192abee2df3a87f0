//! Many uploads at once, large repositories, slow and vanishing readers.
//!
//! Invariant: the server's memory does not grow with the size of a file, of a repository or with a client's slowness.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use pawl_tests::bucket::Kind;
use pawl_tests::clients;
use pawl_tests::content::{id_of, noise};
use pawl_tests::faults::Faults;
use pawl_tests::http::{Client, Connection, Request};
use pawl_tests::memory::Memory;
use pawl_tests::moto::Moto;
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use pawl_tests::server::{Server, key_of};
use pawl_tests::wait;

on_each_s3!(
    sixty_four_uploads_at_once_take_little_memory_and_are_all_stored,
    a_reader_who_leaves_ends_the_download,
    a_slow_reader_is_not_buffered_for,
);

const UPLOADS: usize = 64;
/// Held half-sent, so that a server that gathers what arrives takes 128 MiB.
const UPLOAD_BYTES: usize = 4 << 20;
const UPLOADS_KIB_MAX: u64 = 64 << 10;

/// Large enough for no buffer between the store and a reader.
const DOWNLOAD_BYTES: usize = 64 << 20;
const DOWNLOAD_KIB_MAX: u64 = 8 << 10;

const FILES: usize = 20_000;
const LISTING_KIB_MAX: u64 = 24 << 10;

fn upload(server: &Server, client: &Client, content: &[u8], all_have_sent_half: &Barrier) -> u16 {
    let mut connection = Connection::open(server.address()).unwrap();
    let head = Request::new("POST", &format!("/web1/data/{}", id_of(content)))
        .header("Content-Length", &content.len().to_string());
    connection.send(&client.signed(head)).unwrap();
    let (first, second) = content.split_at(UPLOAD_BYTES / 2);
    connection.send_bytes(first).unwrap();
    all_have_sent_half.wait();
    connection.send_bytes(second).unwrap();
    connection.receive("POST").unwrap().status
}

fn sixty_four_uploads_at_once_take_little_memory_and_are_all_stored(s3: &S3) {
    let server = Server::on(s3);
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    let block = noise("block", UPLOAD_BYTES);
    let content = |number: usize| [&number.to_le_bytes(), &block[8..]].concat();
    let memory = Memory::watch(server.door_pid());
    let all_have_sent_half = Barrier::new(UPLOADS);
    thread::scope(|scope| {
        for number in 0..UPLOADS {
            let (server, client, content) = (&server, &client, &content);
            let all_have_sent_half = &all_have_sent_half;
            scope.spawn(move || {
                let status = upload(server, client, &content(number), all_have_sent_half);
                assert_eq!(status, 200, "upload {number}");
            });
        }
    });
    let growth = memory.growth();
    println!("{UPLOADS} uploads of {UPLOAD_BYTES} bytes at once: the server grew by {growth} KiB");
    assert!(growth < UPLOADS_KIB_MAX, "by {growth} KiB");
    let bucket = server.bucket().unwrap();
    for number in 0..UPLOADS {
        let key = key_of(&format!("web1/data/{}", id_of(&content(number))));
        let length = bucket.head(&key).unwrap().content_length;
        assert_eq!(length, Some(i64::try_from(UPLOAD_BYTES).unwrap()), "upload {number}");
    }
}

/// A server behind a line to the store, and a reader who has asked for a large file and taken the beginning of it.
struct Reading {
    line: Faults,
    server: Server,
    connection: Connection,
    memory: Memory,
}

impl Reading {
    fn begin(s3: &S3) -> Self {
        let bucket = s3.bucket("reading", Kind::Versioned);
        let line = Faults::in_front_of(s3.address());
        let server = Server::build().bucket(&bucket.through(line.address())).start();
        let client = server.add_client("web1", &[]);
        clients::initialise(&client, "web1");
        let content = noise("block", 1 << 20).repeat(DOWNLOAD_BYTES >> 20);
        let file = format!("web1/data/{}", id_of(&content));
        bucket.put(&key_of(&file), &content).unwrap();
        let memory = Memory::watch(server.door_pid());
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send(&client.signed(Request::new("GET", &format!("/{file}")))).unwrap();
        let reading = Self { line, server, connection, memory };
        reading.wait_until_nothing_moves();
        reading
    }

    /// Until what the store sends stands still, with the reader taking nothing.
    fn wait_until_nothing_moves(&self) {
        let mut before = 0;
        wait::until("the store's answer stands still", || {
            let now = self.line.answered_bytes();
            let stands = now == before && now > 100_000;
            before = now;
            thread::sleep(std::time::Duration::from_millis(300));
            stands.then_some(())
        });
        let taken = self.line.answered_bytes();
        assert!(taken < DOWNLOAD_BYTES / 2, "{taken} bytes were taken from the store for nobody");
    }
}

fn a_slow_reader_is_not_buffered_for(s3: &S3) {
    let mut reading = Reading::begin(s3);
    let growth = reading.memory.growth();
    println!("a reader who takes nothing: the server grew by {growth} KiB");
    assert!(growth < DOWNLOAD_KIB_MAX, "by {growth} KiB");
    let answer = reading.connection.receive("GET").unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, DOWNLOAD_BYTES));
    let growth = reading.memory.growth();
    println!("a reader who takes all: the server grew by {growth} KiB");
    assert!(growth < DOWNLOAD_KIB_MAX, "by {growth} KiB");
}

fn a_reader_who_leaves_ends_the_download(s3: &S3) {
    let Reading { line, connection, server: _server, .. } = Reading::begin(s3);
    assert!(line.connections() > 0);
    drop(connection);
    wait::until("the connection to the store is closed", || (line.connections() == 0).then_some(()));
    assert!(line.answered_bytes() < DOWNLOAD_BYTES, "the store has sent all of it");
}

#[test]
fn twenty_thousand_files_are_listed_in_bounded_memory() {
    let moto = Moto::shared();
    let bucket = moto.bucket("large", Kind::Versioned);
    let server = Server::build().bucket(&bucket).start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    let names: BTreeSet<String> = (0..FILES).map(|number| id_of(&number.to_le_bytes())).collect();
    let keys: Vec<_> = names.iter().map(|name| key_of(&format!("web1/data/{name}"))).collect();
    bucket.put_each(&keys).unwrap();
    let memory = Memory::watch(server.door_pid());
    let request = Request::new("GET", "/web1/data/").header("Accept", "application/vnd.x.restic.rest.v1");
    let answer = client.send(request).unwrap();
    assert_eq!(answer.status, 200);
    let listed: Vec<String> = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(listed.len(), FILES, "each is listed once");
    assert!(listed.into_iter().collect::<BTreeSet<_>>() == names);
    let growth = memory.growth();
    println!("listing {FILES} files: the server grew by {growth} KiB");
    assert!(growth < LISTING_KIB_MAX, "by {growth} KiB");
}
