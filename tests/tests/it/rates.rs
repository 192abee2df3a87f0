//! Hosts and addresses that are too fast.
//!
//! Invariant: a host that is too fast waits and is never refused; only lower bounds of time are asserted, which
//! slowness cannot break.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Client, Connection, Request};
use pawl_tests::server::Server;

fn created(server: &Server, options: &[&str]) -> Client {
    let client = server.add_client("web1", options);
    assert_eq!(client.ask("POST", "/web1/?create=true").unwrap().status, 200);
    client
}

#[test]
fn a_host_beyond_its_bytes_waits() {
    let server = Server::start();
    let web1 = created(&server, &["--bytes-per-second", "1MiB"]);
    let content = noise("a pack", 2 << 20);
    let target = format!("/web1/data/{}", id_of(&content));
    let started = Instant::now();
    assert_eq!(web1.post(&target, &content).unwrap().status, 200);
    assert!(started.elapsed() >= Duration::from_millis(900), "2 MiB at 1 MiB/s, after a burst of one second");
    let started = Instant::now();
    assert_eq!(web1.ask("GET", &target).unwrap().body, content);
    assert!(started.elapsed() >= Duration::from_millis(900));
}

#[test]
fn a_host_beyond_its_requests_waits() {
    let server = Server::start();
    let web1 = created(&server, &["--requests-per-second", "10"]);
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(web1.ask("GET", "/web1/data/").unwrap().status, 200);
    }
    assert!(started.elapsed() >= Duration::from_millis(900));
}

/// A65: somebody opens connections faster than anybody needs them.
#[test]
fn new_connections_from_one_address_are_bounded() {
    // Each counts for half a minute, and one that waits is closed long before.
    let config = "limits.new_connections_per_minute = 2\nlimits.header_seconds = 1";
    let server = Server::build().config(config).start();
    let address = Ipv4Addr::new(127, 0, 0, 9);
    for _ in 0..2 {
        let mut connection = Connection::open_from(address, server.address()).unwrap();
        assert_eq!(connection.exchange(&Request::new("GET", "/web1/config")).unwrap().status, 401);
    }
    let mut one_more = Connection::open_from(address, server.address()).unwrap();
    one_more.send(&Request::new("GET", "/web1/config")).unwrap();
    assert_eq!(one_more.read_to_end().unwrap(), b"");
    let web1 = created(&server, &[]); // from another address
    assert_eq!(web1.ask("GET", "/web1/data/").unwrap().status, 200);
}

#[test]
fn connections_on_which_a_host_authenticates_use_up_nothing_of_their_address() {
    let config = "limits.new_connections_per_minute = 2\nlimits.connections_per_address = 2";
    let server = Server::build().config(config).start();
    let web1 = created(&server, &[]);
    let address = Ipv4Addr::new(127, 0, 0, 9);
    let request = web1.signed(Request::new("GET", "/web1/data/"));
    let open: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = Connection::open_from(address, server.address()).unwrap();
            assert_eq!(connection.exchange(&request).unwrap().status, 200);
            connection
        })
        .collect();
    for mut connection in open {
        assert_eq!(connection.exchange(&request).unwrap().status, 200);
    }
}

#[test]
fn all_the_connections_of_a_proxy_are_served_whoever_comes_on_them() {
    let config = "limits.new_connections_per_minute = 2\nlimits.connections_per_address = 2\n\
                  limits.header_seconds = 3600\nproxy.addresses = [\"127.0.0.1\"]";
    let server = Server::build().config(config).start();
    let silent: Vec<_> = (0..10).map(|_| Connection::open(server.address()).unwrap()).collect();
    for number in 0..20 {
        let request =
            Request::new("GET", "/web1/config").header("X-Forwarded-For", &format!("192.0.2.{number}"));
        assert_eq!(server.nobody().send(request).unwrap().status, 401);
    }
    drop(silent);
}
