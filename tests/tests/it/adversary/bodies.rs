//! Attacks with bodies: hidden requests, no end, no progress, nobody who reads.

use std::fs;

use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Body, Client, Connection, Request};
use pawl_tests::server::Server;
use pawl_tests::wait;

use super::initialised;

const CONFIG: &str = "/web1/config";

/// A12: somebody hides a request of another in the body of one that is refused.
#[test]
fn the_body_of_a_refused_request_is_never_read_as_a_request() {
    let server = Server::build().config("credentials.failed_logins_per_minute = 1000").start();
    let web1 = initialised(&server, "web1");
    let lock = b"a lock of more than thirty-two bytes";
    let target = format!("/web1/locks/{}", id_of(lock));
    assert_eq!(web1.post(&target, lock).unwrap().status, 200);
    let before = server.stored();

    // What a proxy that adds web1's credential would be tricked into sending.
    let Some((_, authorization)) = web1.signed(Request::new("GET", "/")).headers.pop() else {
        panic!("the client has a credential")
    };
    let hidden = format!("DELETE {target} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n\r\n");
    let body = || Body::Sized(hidden.clone().into_bytes());
    let refused = [
        (server.nobody(), Request::new("POST", "/web1/config").body(body())),
        (server.nobody(), Request::new("GET", "/web1/config").body(body())),
        (web1.clone(), Request::new("POST", "/web2/config").body(body())),
        (web1.clone(), Request::new("PUT", "/web1/config").body(body())),
        (web1.clone(), Request::new("POST", "/no/such/path").body(body())),
        (web1.clone(), Request::new("DELETE", "/web1/config").body(body())),
        (web1.clone(), Request::new("POST", "/web1/?create=false").body(body())),
        (web1.clone(), Request::new("GET", "/web1/config").body(body())),
        (web1, Request::new("HEAD", "/web1/config").body(body())),
    ];
    for (who, request) in refused {
        let mut connection = Connection::open(server.address()).unwrap();
        connection.exchange(&who.signed(request.clone())).unwrap();
        // Either the connection has ended, or the next answer is the next request's.
        if let Ok(next) = connection.exchange(&server.nobody().signed(Request::new("GET", CONFIG))) {
            assert_eq!(next.status, 401, "after {request:?}: {next:?}");
        }
        before.assert_unchanged(&server.stored());
    }
}

/// Sends chunks until the server hangs up; whether it did within `chunks_max` of 1 MiB.
fn is_cut_off(server: &Server, who: &Client, target: &str, chunks_max: usize) -> bool {
    let mut connection = Connection::open(server.address()).unwrap();
    let head = who.signed(Request::new("POST", target).header("Transfer-Encoding", "chunked"));
    connection.send(&head).unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    (0..chunks_max).any(|_| connection.send_bytes(&chunk).is_err())
}

/// A13: somebody without a credential sends a body without an end.
#[test]
fn an_endless_body_without_a_credential_is_cut_off() {
    let server = Server::start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();
    let target = format!("/web1/data/{}", id_of(b"a pack"));
    assert!(is_cut_off(&server, &server.nobody(), &target, 512));
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 200);
    before.assert_unchanged(&server.stored());
}

/// A32: a host sends a body without an end, in chunks, where a small file belongs.
#[test]
fn an_endless_upload_is_cut_off() {
    let server = Server::build().config("caps.data = \"1 MiB\"").start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();
    for target in ["/web1/config".to_owned(), format!("/web1/data/{}", id_of(b"a pack"))] {
        assert!(is_cut_off(&server, &web1, &target, 512), "{target}");
    }
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 200);
    before.assert_unchanged(&server.stored());
}

/// A34: a host begins uploads and then sends nothing more.
#[test]
fn an_upload_without_progress_is_cut_off() {
    let config = "limits.stall_seconds = 1\nlimits.idle_seconds = 1\nlimits.connections = 8";
    let server = Server::build().config(config).start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();

    let content = noise("pack", 100_000);
    let target = format!("/web1/data/{}", id_of(&content));
    let mut stalled: Vec<Connection> = (0..8)
        .map(|_| {
            let mut connection = Connection::open(server.address()).unwrap();
            let length = content.len().to_string();
            connection
                .send(&web1.signed(Request::new("POST", &target).header("Content-Length", &length)))
                .unwrap();
            // On a busy machine that may come so late that it was cut off already.
            let _ = connection.send_bytes(content.get(..50_000).unwrap());
            connection
        })
        .collect();
    let answer = wait::until("somebody is served besides", || web1.ask("GET", CONFIG).ok());
    assert_eq!(answer.status, 200);
    for connection in &mut stalled {
        connection.read_to_end().unwrap();
    }
    before.assert_unchanged(&server.stored());
    assert_eq!(web1.ask("HEAD", &target).unwrap().status, 404);
    before.assert_unchanged(&server.stored());
}

/// Sockets that the listening process has open.
fn sockets(server: &Server) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.door_pid())).unwrap().flatten();
    let is_socket = |link: &std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).filter(is_socket).count()
}

/// A35: a host asks for large files and does not read the answers.
#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let config = "limits.stall_seconds = 1\nlimits.idle_seconds = 1";
    let server = Server::build().config(config).start();
    let idle = sockets(&server);
    let web1 = initialised(&server, "web1");
    let content = noise("pack", 64 << 20);
    let target = format!("/web1/data/{}", id_of(&content));
    // Not sent: so much takes long enough that a busy machine stops for a second in the middle.
    server.plant(&format!("web1/data/{}", id_of(&content)), &content);
    let before = server.stored();
    let unread: Vec<Connection> = (0..4)
        .map(|_| {
            let mut connection = Connection::open(server.address()).unwrap();
            connection.send(&web1.signed(Request::new("GET", &target))).unwrap();
            // Of the answer that has begun only the head, as of one without a body.
            assert_eq!(connection.receive("HEAD").unwrap().status, 200);
            connection
        })
        .collect();
    wait::until("the answers are given up", || (sockets(&server) <= idle).then_some(()));
    for mut connection in unread {
        let rest = connection.read_to_end().unwrap();
        assert!(rest.len() < content.len(), "all of it was sent to somebody who read nothing");
    }
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 200);
    before.assert_unchanged(&server.stored());
}
