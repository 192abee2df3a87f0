//! Attacks with connections: too slow, too many, too long, another's.

use std::io;
use std::net::Ipv4Addr;

use pawl_tests::content::basic;
use pawl_tests::http::{Client, Connection, Request};
use pawl_tests::server::Server;
use pawl_tests::wait;

use super::initialised;

const CONFIG: &str = "/web1/config";

fn guess(connection: io::Result<Connection>, password: &str) -> u16 {
    let request = Request::new("GET", CONFIG).header("Authorization", &basic("web1", password));
    connection.unwrap().exchange(&request).unwrap().status
}

/// A3: somebody guesses passwords as fast as the network allows.
#[test]
fn guessing_is_throttled_and_locks_nobody_out() {
    let server = Server::build().config("credentials.failed_logins_per_minute = 5").start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();

    let here = || Connection::open(server.address());
    let answers: Vec<u16> = (0..20).map(|round| guess(here(), &format!("guess {round}"))).collect();
    assert!(answers.starts_with(&[401, 401, 401, 401, 401]), "{answers:?}");
    assert!(answers.iter().all(|status| [401, 429].contains(status)), "{answers:?}");
    assert!(answers.iter().filter(|&&status| status == 429).count() >= 10, "{answers:?}");
    let refused = Request::new("GET", CONFIG).header("Authorization", &basic("web1", "guess"));
    let refused = server.nobody().send(refused).unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.reason.contains("credentials.failed_logins_per_minute"), "{refused:?}");
    let after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(after >= 1, "{refused:?}");

    // From the same address with the right one, and from another address with a wrong one.
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 200);
    let elsewhere = Connection::open_from(Ipv4Addr::new(127, 0, 0, 2), server.address());
    assert_eq!(guess(elsewhere, "guess"), 401);
    before.assert_unchanged(&server.stored());
}

/// A6: somebody sends a request's head so slowly that it never ends.
#[test]
fn a_head_that_never_ends_is_cut_off() {
    let server = Server::build().config("limits.header_seconds = 3").start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();

    for start in ["", "G", "GET /web1/config HTTP/1.1\r\n", "GET /web1/config HTTP/1.1\r\nHost: a\r\nX-A"] {
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send_bytes(start.as_bytes()).unwrap();
        connection.read_to_end().unwrap_or_else(|error| panic!("after {start:?}: {error}"));
    }
    // A byte now and then does not buy more time.
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send_bytes(b"GET /web1/config HTTP/1.1\r\n").unwrap();
    wait::until("the server hangs up on a slow head", || connection.send_bytes(b"X-A: b\r\n").err());
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 200);
    before.assert_unchanged(&server.stored());
}

/// A7: somebody opens as many connections as the server takes and says nothing.
#[test]
fn silent_connections_keep_nobody_out_for_ever() {
    let config = "limits.connections = 8\nlimits.header_seconds = 1\nlimits.idle_seconds = 1";
    let server = Server::build().config(config).start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();

    let silent: Vec<_> = (0..50).map(|_| Connection::open(server.address()).unwrap()).collect();
    let answer =
        wait::until("somebody is served besides 50 silent connections", || web1.ask("GET", CONFIG).ok());
    assert_eq!(answer.status, 200);
    drop(silent);
    before.assert_unchanged(&server.stored());
}

/// A9: somebody sends a path without an end.
#[test]
fn an_endless_path_is_cut_off() {
    let server = Server::build().config("limits.header_seconds = 5").start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();

    let mut connection = Connection::open(server.address()).unwrap();
    connection.send_bytes(b"GET /").unwrap();
    let part = vec![b'a'; 1 << 16];
    // 256 MiB: far more than any head that a server should hold.
    let cut_off = (0..4096).any(|_| connection.send_bytes(&part).is_err());
    assert!(cut_off, "the server read a path of 256 MiB");
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 200);
    before.assert_unchanged(&server.stored());
}

/// A14: somebody sends requests over a connection on which another has authenticated, as behind a proxy.
#[test]
fn a_credential_counts_for_one_request_only() {
    let server = Server::start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();

    let mut connection = Connection::open(server.address()).unwrap();
    let request = || Request::new("GET", CONFIG);
    assert_eq!(connection.exchange(&web1.signed(request())).unwrap().status, 200);
    assert_eq!(connection.exchange(&request()).unwrap().status, 401);
    before.assert_unchanged(&server.stored());
}

/// A47: a thief of a credential goes on using an open connection after it was revoked.
#[test]
fn a_revoked_credential_is_refused_on_an_open_connection() {
    let server = Server::start();
    let web1 = initialised(&server, "web1");
    let mut connection = Connection::open(server.address()).unwrap();
    let request = || web1.signed(Request::new("GET", CONFIG));
    assert_eq!(connection.exchange(&request()).unwrap().status, 200);

    let _ = server.host(&["revoke", "web1"]).expect_code(0);
    let before = server.stored();
    wait::until("the revoked credential is refused", || {
        (connection.exchange(&request()).unwrap().status == 401).then_some(())
    });
    let another: Client = web1.clone();
    assert_eq!(another.ask("GET", CONFIG).unwrap().status, 401);
    before.assert_unchanged(&server.stored());
}
