//! What an interruption leaves behind: nothing half, and nothing lost.
//!
//! Invariant: after each, the server works on the same directory as if nothing had happened.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;

use pawl_tests::content::{id_of, key_file, noise};
use pawl_tests::http::{Connection, Request};
use pawl_tests::server::Server;
use pawl_tests::store::path_of;

/// Begins an upload and returns when the server has asked for its body and been sent half of it.
fn half_an_upload(server: &Server, signed: &dyn Fn(Request) -> Request, content: &[u8]) -> Connection {
    let mut connection = Connection::open(server.address()).unwrap();
    let head = Request::new("POST", &format!("/web1/data/{}", id_of(content)))
        .header("Content-Length", &content.len().to_string())
        .header("Expect", "100-continue");
    connection.send(&signed(head)).unwrap();
    connection.wait_for_continue().unwrap();
    connection.send_bytes(content.get(..content.len() / 2).unwrap()).unwrap();
    connection
}

#[test]
fn a_killed_server_leaves_nothing_of_an_upload() {
    let mut server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let content = noise("pack", 4_000_000);
    let target = format!("/web1/data/{}", id_of(&content));
    let before = server.stored();

    let mut connection = half_an_upload(&server, &|request| web1.signed(request), &content);
    server.kill();
    assert_eq!(connection.read_to_end().unwrap(), b"");
    before.assert_unchanged(&server.stored());
    server.start_again();
    before.assert_unchanged(&server.stored());
    assert_eq!(web1.ask("HEAD", &target).unwrap().status, 404);
    assert_eq!(web1.post(&target, &content).unwrap().status, 200);
    assert_eq!(web1.ask("GET", &target).unwrap().body, content);
}

#[test]
fn a_killed_server_keeps_what_it_confirmed() {
    let mut server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let contents: Vec<_> = (0..10).map(|number| noise(&format!("pack {number}"), 100_000)).collect();
    for content in &contents {
        assert_eq!(web1.post(&format!("/web1/data/{}", id_of(content)), content).unwrap().status, 200);
    }
    let before = server.stored();
    server.kill();
    server.start_again();
    before.assert_unchanged(&server.stored());
    for content in &contents {
        assert_eq!(web1.ask("GET", &format!("/web1/data/{}", id_of(content))).unwrap().body, *content);
    }
}

#[test]
fn a_client_that_vanishes_leaves_nothing_of_its_upload() {
    let mut server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let content = noise("pack", 4_000_000);
    let before = server.stored();
    drop(half_an_upload(&server, &|request| web1.signed(request), &content));
    assert_eq!(server.stop().code(), Some(0));
    before.assert_unchanged(&server.stored());
}

#[test]
fn the_keys_of_an_interrupted_init_are_kept_aside() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    let key = key_file("lost");
    let name = format!("web1/keys/{}", id_of(&key));
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    assert_eq!(web1.post(&format!("/{name}"), &key).unwrap().status, 200);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    assert!(!path_of(server.data(), &name).exists());
    let stored = server.stored();
    let is_the_key = |path: &&std::path::Path| {
        path.starts_with(".pawl/aside")
            && fs::read(server.data().join(path)).is_ok_and(|content| content == key)
    };
    assert_eq!(stored.names().filter(is_the_key).count(), 1, "{stored:?}");
}

#[test]
fn an_init_that_is_interrupted_twice_keeps_both_keys_aside() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    // The same key again, as a client does that repeats its requests, and then another.
    for seed in ["one", "one", "two"] {
        let key = key_file(seed);
        assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
        assert_eq!(web1.post(&format!("/web1/keys/{}", id_of(&key)), &key).unwrap().status, 200);
    }
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    assert_eq!(web1.ask("GET", "/web1/keys/").unwrap().text(), "[]");
    let stored = server.stored();
    for seed in ["one", "two"] {
        let is_the_key = |path: &std::path::Path| {
            fs::read(server.data().join(path)).is_ok_and(|content| content == key_file(seed))
        };
        assert!(stored.names().any(is_the_key), "{seed}: {stored:?}");
    }
}
