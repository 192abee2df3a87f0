//! Many clients at once: nothing is refused, lost or mixed up because the server is busy.
//!
//! Invariant: what is checked is what came of each request, never how long it took.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::thread;

use pawl_tests::clients::{Restic, Version};
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Body, Client, Connection, Request};
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use rustix::process::{Resource, Rlimit};

/// Connections of a host that asks nothing more, and of one that sends a byte now and then.
const IDLE: usize = 1000;
const SLOW: usize = 200;

const CLIENTS: usize = 8;
const FILES: usize = 40;

fn content(client: usize, file: usize) -> Vec<u8> {
    noise(&format!("file {file} of {client}"), 1000 + 997 * file)
}

/// Uploads over one connection, as restic does, and returns the answers that were not 200.
fn upload(server: &Server, who: &Client, repository: &str, client: usize) -> Vec<String> {
    let mut connection = Connection::open(server.address()).unwrap();
    let mut refused = Vec::new();
    for file in 0..FILES {
        let content = content(client, file);
        let target = format!("/{repository}/data/{}", id_of(&content));
        let request = Request::new("POST", &target).body(Body::Sized(content));
        let response = connection.exchange(&who.signed(request)).unwrap();
        if response.status != 200 {
            refused.push(format!("{} {}", response.status, response.reason));
        }
    }
    refused
}

#[test]
fn uploads_of_many_clients_at_once_are_all_stored() {
    let server = Server::start();
    let clients: Vec<(String, Client)> = (0..CLIENTS)
        .map(|number| {
            let name = format!("web{number}");
            let client = server.add_client(&name, &[]);
            assert_eq!(client.ask("POST", &format!("/{name}/?create=true")).unwrap().status, 200);
            (name, client)
        })
        .collect();
    thread::scope(|scope| {
        for (number, (name, client)) in clients.iter().enumerate() {
            let server = &server;
            scope.spawn(move || {
                assert_eq!(upload(server, client, name, number), Vec::<String>::new(), "{name}");
            });
        }
    });
    for (number, (name, client)) in clients.iter().enumerate() {
        for file in 0..FILES {
            let content = content(number, file);
            let stored = client.ask("GET", &format!("/{name}/data/{}", id_of(&content))).unwrap();
            assert!(stored.body == content, "file {file} of {name}");
        }
    }
}

#[test]
fn the_first_upload_after_a_start_is_stored() {
    // Several servers, so that none has the machine to itself: its processes meet in every order.
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut server = Server::start();
                let web1 = server.add_client("web1", &[]);
                assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
                for round in 0..10 {
                    let content = noise(&format!("round {round}"), 300);
                    let target = format!("/web1/data/{}", id_of(&content));
                    let response = web1.post(&target, &content).unwrap();
                    assert_eq!(response.status, 200, "{round}: {}", response.reason);
                    server.stop();
                    server.start_again();
                }
            });
        }
    });
}

#[test]
fn readers_see_whole_files_while_others_write() {
    // The reader comes with a new connection for each request, as fast as it can.
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    thread::scope(|scope| {
        let writer = scope.spawn(|| upload(&server, &web1, "web1", 0));
        let mut seen = 0;
        while seen < FILES && !writer.is_finished() {
            let listing = web1.ask("GET", "/web1/data/").unwrap();
            assert_eq!(listing.status, 200);
            let names: Vec<String> = serde_json::from_slice(&listing.body).unwrap();
            for name in &names {
                let file = web1.ask("GET", &format!("/web1/data/{name}")).unwrap();
                assert_eq!((file.status, id_of(&file.body)), (200, name.clone()));
            }
            assert!(names.len() >= seen, "a file that was listed is no longer");
            seen = names.len();
        }
        assert_eq!(writer.join().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn restic_backs_up_beside_a_thousand_idle_and_two_hundred_slow_connections() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let server = Server::build()
        .config("limits.connections = 2000")
        .config("limits.connections_per_address = 2000")
        .config("limits.new_connections_per_minute = 100000")
        .config("limits.requests_per_host = 2000")
        // Longer than a busy machine takes to open the connections, and restic to back up.
        .config("limits.header_seconds = 1800")
        .config("limits.idle_seconds = 1800")
        .config("limits.stall_seconds = 1800")
        .start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let asked = web1.signed(Request::new("HEAD", "/web1/config"));
    let mut idle: Vec<_> = (0..IDLE).map(|_| Connection::open(server.address()).unwrap()).collect();
    for connection in &mut idle {
        assert_eq!(connection.exchange(&asked).unwrap().status, 404);
    }
    let contents: Vec<_> = (0..SLOW).map(|number| noise(&format!("slow {number}"), 1000)).collect();
    let mut slow: Vec<_> = contents
        .iter()
        .map(|content| {
            let target = format!("/web1/data/{}", id_of(content));
            let head = web1.signed(Request::new("POST", &target)).header("Content-Length", "1000");
            let mut connection = Connection::open(server.address()).unwrap();
            connection.send(&head.header("Expect", "100-continue")).unwrap();
            connection.wait_for_continue().unwrap();
            connection
        })
        .collect();
    let mut sent = 0;
    let mut drip = |slow: &mut Vec<Connection>| {
        for (connection, content) in slow.iter_mut().zip(&contents) {
            connection.send_bytes(&content[sent..=sent]).unwrap();
        }
        sent += 1;
    };
    drip(&mut slow);

    let credential = server.add_host("web2", &[]);
    let restic = Restic::new(Version::V0_19, &credential);
    restic.succeed(["init"]);
    let documents = server.dir().join("documents");
    plant(&documents.join("file"), &noise("document", 20 << 20));
    restic.backup(&documents);
    drip(&mut slow);
    restic.check();
    let restored = restic.restore(&documents, &[]);
    assert!(std::fs::read(restored.join("file")).unwrap() == noise("document", 20 << 20));

    for (connection, content) in slow.iter_mut().zip(&contents) {
        connection.send_bytes(&content[2..]).unwrap();
        assert_eq!(connection.receive("POST").unwrap().status, 200);
    }
    for connection in &mut idle {
        assert_eq!(connection.exchange(&asked).unwrap().status, 404);
    }
}
