//! Attacks that hoard what the server has to share: connections, requests, descriptors, files without a name.
//!
//! Invariant: whatever one hoards, somebody else is served, and nothing stored changes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use pawl_tests::content::{basic, id_of, noise};
use pawl_tests::disk::Disk;
use pawl_tests::http::{Body, Client, Connection, Request, Response};
use pawl_tests::server::{Credential, Server};
use pawl_tests::wait::until;
use rustix::process::{Pid, Resource, Rlimit};

/// A connection of HTTP/2 whose client sends what no library would. Ends with the value.
struct Http2(Child);

impl Http2 {
    /// Connects, with these settings.
    fn open(server: &Server, settings: &[u8]) -> Self {
        let tls = Command::new("openssl")
            .args(["s_client", "-quiet", "-alpn", "h2", "-connect", &server.address().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let mut connection = Self(tls);
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, settings)); // SETTINGS
        connection.send(&bytes);
        connection
    }

    /// Connects, asks for something and makes no room for the answer.
    fn without_room(server: &Server, target: &str, authorization: Option<&str>) -> Self {
        let mut connection = Self::open(server, &[0, 4, 0, 0, 0, 0]); // a window of 0 bytes for each stream
        connection.send(&head(1, true, target, authorization));
        connection
    }

    /// Fails where the connection has ended, which [`Self::has_ended`] tells.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.stdin.as_mut().unwrap().write_all(bytes);
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// HEADERS of a request: a GET that ends with them, or a POST whose body is to come.
fn head(stream: u32, ends: bool, target: &str, authorization: Option<&str>) -> Vec<u8> {
    let mut head = vec![if ends { 0x82 } else { 0x83 }, 0x87]; // :method, :scheme https
    head.extend(literal(4, target)); // :path
    head.extend(literal(1, "pawl")); // :authority
    if let Some(value) = authorization {
        head.extend(literal(23, value));
    }
    frame(1, if ends { 5 } else { 4 }, stream, &head)
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let mut frame = len.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field with a name from the static table, not to be remembered (RFC 7541, section 6.2.2).
fn literal(name: u8, value: &str) -> Vec<u8> {
    let mut field = if name < 15 { vec![name] } else { vec![15, name - 15] };
    field.push(u8::try_from(value.len()).ok().filter(|len| *len < 127).expect("a short value"));
    field.extend(value.as_bytes());
    field
}

fn upload_begun(server: &Server, client: &Client, target: &str, content: &[u8]) -> Connection {
    let mut connection = Connection::open(server.address()).unwrap();
    let head =
        client.signed(Request::new("POST", target)).header("Content-Length", &content.len().to_string());
    connection.send(&head.header("Expect", "100-continue")).unwrap();
    connection.wait_for_continue().unwrap(); // now the server has begun with it
    connection.send_bytes(&content[..content.len() / 2]).unwrap();
    connection
}

fn created(server: &Server, name: &str) -> Client {
    let client = server.add_client(name, &[]);
    assert_eq!(client.ask("POST", &format!("/{name}/?create=true")).unwrap().status, 200);
    client
}

/// What curl gets over TLS, or nothing if it gets no answer.
fn answer(server: &Server, credential: &Credential) -> Option<String> {
    let output = Command::new("curl")
        .args([
            "--disable",
            "--silent",
            "--max-time",
            "5",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .args(["--user", &format!("{}:{}", credential.user, credential.password), "--cacert"])
        .arg(credential.ca_file.as_ref().unwrap())
        .arg(format!("{}/{}/config", server.url(), credential.user))
        .output()
        .expect("curl starts");
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// A51: somebody asks over HTTP/2 and makes no room for the answer, to keep the connection.
#[test]
fn an_answer_without_room_keeps_nobody_out() {
    let server =
        Server::build().tls().config("limits.connections = 3").config("limits.header_seconds = 1").start();
    let credential = server.add_host("web1", &[]);
    let before = server.stored();
    let mut strangers: Vec<_> = (0..3).map(|_| Http2::without_room(&server, "/web1/config", None)).collect();
    let _ = server.log().wait_for_line(&["GET /web1/config"]);
    assert_eq!(until("somebody else is served", || answer(&server, &credential)), "404");
    until("the strangers are gone", || strangers.iter_mut().all(Http2::has_ended).then_some(()));
    before.assert_unchanged(&server.stored());
}

/// A185: somebody without a credential keeps connections by uploads of which nothing comes, one after the other.
#[test]
fn uploads_that_never_come_keep_no_connection_without_a_credential() {
    const STRANGERS: usize = 4;
    let server =
        Server::build().tls().config("limits.connections = 4").config("limits.header_seconds = 1").start();
    let credential = server.add_host("web1", &[]);
    let before = server.stored();
    let target = format!("/web1/data/{}", id_of(b"never sent"));
    let mut strangers: Vec<_> = (0..STRANGERS).map(|_| Http2::open(&server, &[])).collect();
    let mut looks = 0_u32;
    until("the strangers are gone", || {
        // Twenty looks take a tenth of a second at least, so that a request always begins before one has ended.
        if looks.is_multiple_of(20) {
            let request = head(looks / 10 + 1, false, &target, None);
            for stranger in &mut strangers {
                stranger.send(&request);
            }
        }
        looks += 1;
        strangers.iter_mut().all(Http2::has_ended).then_some(())
    });
    assert_eq!(until("somebody else is served", || answer(&server, &credential)), "404");
    before.assert_unchanged(&server.stored());
}

#[test]
fn over_http_1_an_upload_that_never_comes_ends_its_connection() {
    let config = "limits.connections = 4\nlimits.header_seconds = 1";
    let server = Server::build().config(config).start();
    let web1 = server.add_client("web1", &[]);
    let before = server.stored();
    let target = format!("/web1/data/{}", id_of(b"never sent"));
    let upload = Request::new("POST", &target).header("Content-Length", "1000000");
    let mut strangers: Vec<_> = (0..4)
        .map(|_| {
            let mut stranger = Connection::open(server.address()).unwrap();
            stranger.send(&upload).unwrap();
            stranger
        })
        .collect();
    for stranger in &mut strangers {
        assert_eq!(stranger.receive("POST").unwrap().status, 401);
        assert_eq!(stranger.read_to_end().unwrap(), b"");
    }
    assert_eq!(web1.ask("HEAD", "/web1/config").unwrap().status, 404);
    before.assert_unchanged(&server.stored());
}

/// A52: a host asks for its files over HTTP/2 and makes no room for them, to keep memory and descriptors.
#[test]
fn a_host_that_takes_nothing_is_given_up() {
    let server = Server::build()
        .tls()
        .config("limits.header_seconds = 1")
        .config("limits.idle_seconds = 1")
        .config("limits.stall_seconds = 1")
        .start();
    let credential = server.add_host("web1", &[]);
    let authorization = basic(&credential.user, &credential.password);
    let before = server.stored();
    let mut host = Http2::without_room(&server, "/web1/data/", Some(&authorization));
    until("the host is given up", || host.has_ended().then_some(()));
    before.assert_unchanged(&server.stored());
}

/// A53: somebody keeps a connection by asking again and again without a credential.
#[test]
fn a_connection_ends_with_the_answer_to_a_stranger() {
    let server = Server::start();
    for authorization in [None, Some(basic("nobody", "nothing"))] {
        let mut connection = Connection::open(server.address()).unwrap();
        let mut request = Request::new("GET", "/web1/config");
        if let Some(value) = &authorization {
            request = request.header("Authorization", value);
        }
        let response = connection.exchange(&request).unwrap();
        assert_eq!((response.status, response.header("connection")), (401, Some("close")));
        assert_eq!(connection.read_to_end().unwrap(), b"");
    }
}

/// A54: somebody takes all connections from one address.
#[test]
fn one_address_has_its_share_of_connections() {
    let config = "limits.connections = 40\nlimits.connections_per_address = 3\nlimits.header_seconds = 3600";
    let server = Server::build().config(config).start();
    let web1 = server.add_client("web1", &[]);
    let address = Ipv4Addr::new(127, 0, 0, 9);
    let open = || Connection::open_from(address, server.address()).unwrap();
    let mut hoarded: Vec<_> = (0..3).map(|_| open()).collect();
    // From the same address a host has its turn, for which the oldest makes way.
    let mut host = open();
    assert_eq!(host.exchange(&web1.signed(Request::new("HEAD", "/web1/config"))).unwrap().status, 404);
    assert_eq!(hoarded.remove(0).read_to_end().unwrap(), b"");
    assert_eq!(web1.ask("HEAD", "/web1/config").unwrap().status, 404);
    // An eighth of all places may wait; more are closed at once, and the log says so.
    hoarded.extend((0..20).map(|_| open()));
    let _ = server.log().wait_for_line(&[" INFO ", "127.0.0.9", "limits.connections_per_address"]);
}

/// A186: somebody without a credential takes all connections, from many addresses.
#[test]
fn strangers_make_way_where_all_connections_are_taken() {
    let server = Server::build().config("limits.connections = 8\nlimits.header_seconds = 3600").start();
    let web1 = server.add_client("web1", &[]);
    let addresses = (10..26).map(|last| Ipv4Addr::new(127, 0, 0, last));
    let silent: Vec<_> =
        addresses.map(|from| Connection::open_from(from, server.address()).unwrap()).collect();
    let answer = until("a host is served", || web1.ask("HEAD", "/web1/config").ok());
    assert_eq!(answer.status, 404);
    drop(silent);
}

/// A187: a host opens connections without end and lets them lie.
#[test]
fn one_host_has_its_share_of_connections() {
    let config = "limits.connections = 8\nlimits.requests_per_host = 3\nlimits.idle_seconds = 3600";
    let server = Server::build().config(config).start();
    let (web1, web2) = (server.add_client("web1", &[]), server.add_client("web2", &[]));
    let request = web1.signed(Request::new("HEAD", "/web1/config"));
    let mut idle: Vec<_> = (0..12)
        .map(|_| {
            let mut connection = Connection::open(server.address()).unwrap();
            assert_eq!(connection.exchange(&request).unwrap().status, 404);
            connection
        })
        .collect();
    assert_eq!(idle.remove(0).read_to_end().unwrap(), b"");
    assert_eq!(idle.pop().unwrap().exchange(&request).unwrap().status, 404);
    assert_eq!(web2.ask("HEAD", "/web2/config").unwrap().status, 404);
}

/// Announces an upload; the connection if the server waits for it, or else its answer.
fn announce(server: &Server, client: &Client, target: &str, bytes: usize) -> Result<Connection, Response> {
    let request = Request::new("POST", target).header("Content-Length", &bytes.to_string());
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send(&client.signed(request.header("Expect", "100-continue"))).unwrap();
    match connection.receive_any().unwrap() {
        response if response.status == 100 => Ok(connection),
        response => Err(response),
    }
}

/// A188: a host announces uploads of which nothing comes, so that there seems to be no room for others.
#[test]
fn what_one_host_announces_leaves_room_for_others() {
    const KIB: usize = 1 << 10;
    let Some(disk) = Disk::new("size=16m") else { return };
    let server = Server::build().data(&disk.data()).start();
    let (web1, web2) = (created(&server, "web1"), created(&server, "web2"));
    let announced: Vec<_> = (0..10)
        .map(|number| format!("/web1/data/{}", id_of(format!("announced {number}").as_bytes())))
        .map(|target| announce(&server, &web1, &target, 2500 * KIB))
        .collect();
    assert!(announced[0].is_ok());
    for refused in announced.iter().filter_map(|announced| announced.as_ref().err()) {
        assert_eq!(refused.status, 503, "{refused:?}"); // which restic tries again
    }
    let status_of = |name: &str, bytes: usize| {
        let content = noise(name, bytes);
        web2.post(&format!("/web2/data/{}", id_of(&content)), &content).unwrap().status
    };
    assert_eq!(status_of("a small one", 1000 * KIB), 200);

    // A single upload may have nearly all the room. While it has, others come later.
    drop(announced);
    let large = noise("a large one", 12_000 * KIB);
    let target = format!("/web1/data/{}", id_of(&large));
    let mut connection =
        until("there is room for a large one", || announce(&server, &web1, &target, large.len()).ok());
    assert_eq!(status_of("another", 4000 * KIB), 503);
    // What has arrived of it takes room on the disk, and not twice.
    let (most, last) = large.split_at(large.len() - 1);
    connection.send_bytes(most).unwrap();
    until("there is room for a third", || (status_of("a third", 300 * KIB) == 200).then_some(()));
    connection.send_bytes(last).unwrap();
    assert_eq!(connection.receive("POST").unwrap().status, 200);
}

/// A55: a host has more requests going on than its share.
#[test]
fn one_host_has_its_share_of_requests() {
    let server = Server::build().config("limits.requests_per_host = 3").start();
    let (web1, web2) = (created(&server, "web1"), created(&server, "web2"));
    let contents: Vec<_> = (0..3).map(|seed| noise(&format!("upload {seed}"), 100_000)).collect();
    let mut begun: Vec<_> = contents
        .iter()
        .map(|content| upload_begun(&server, &web1, &format!("/web1/data/{}", id_of(content)), content))
        .collect();
    let refused = until("the host's share is used up", || {
        web1.ask("GET", "/web1/data/").ok().filter(|response| response.status == 503)
    });
    assert!(refused.reason.contains("limits.requests_per_host"), "{}", refused.reason);
    assert_eq!(web2.ask("GET", "/web2/data/").unwrap().status, 200);
    for (connection, content) in begun.iter_mut().zip(&contents) {
        connection.send_bytes(&content[content.len() / 2..]).unwrap();
        assert_eq!(connection.receive("POST").unwrap().status, 200);
    }
    until("the host has its share again", || {
        web1.ask("GET", "/web1/data/").ok().filter(|response| response.status == 200)
    });
}

/// A56: a host begins uploads and goes away, again and again, so that files without a name are left over, or so
/// that what it does is in no log.
#[test]
fn a_host_that_goes_away_leaves_nothing_behind_but_its_line_in_the_log() {
    const ROUNDS: usize = 150;
    let server = Server::build().config("limits.requests_per_host = 1000").start();
    let web1 = created(&server, "web1");
    for round in 0..ROUNDS {
        let content = noise(&format!("round {round}"), 4096);
        let mut connection =
            upload_begun(&server, &web1, &format!("/web1/data/{}", id_of(&content)), &content);
        if round % 2 == 0 {
            connection.send_bytes(&content[content.len() / 2..]).unwrap();
        }
    }
    until("every upload has its line", || {
        let lines = server.log().text().lines().filter(|line| line.contains("create data")).count();
        (lines == ROUNDS).then_some(())
    });
    let logged = server
        .log()
        .text()
        .lines()
        .filter(|line| line.contains("create data") && line.contains("stored"))
        .count();
    let stored = server.stored().names().filter(|name| name.to_string_lossy().contains("/data/")).count();
    assert_eq!(logged, stored);
    // What is ready for the next uploads: at most two batches.
    until("the keeper has closed the rest", || (unnamed_files(server.keeper_pid()) <= 16).then_some(()));
}

/// Files without a name that a process has open.
fn unnamed_files(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().ends_with("(deleted)")).count()
}

/// A57: a host makes the server run out of descriptors.
#[test]
fn a_server_without_descriptors_refuses_and_recovers() {
    let server = Server::start();
    let web1 = created(&server, "web1");
    let door = Pid::from_raw(i32::try_from(server.door_pid()).unwrap());
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.door_pid())).unwrap().count() as u64;
    let before = server.stored();
    let usual = rustix::process::prlimit(door, Resource::Nofile, limit(open + 12)).unwrap();

    let content = noise("held", 100_000);
    let mut held = Vec::new();
    until("an upload is refused", || {
        let unsaid = noise(&format!("upload {}", held.len()), 1000);
        let target = format!("/web1/data/{}", id_of(&unsaid));
        let mut connection = Connection::open(server.address()).unwrap();
        let request = web1.signed(Request::new("POST", &target)).header("Content-Length", "1000");
        // One that is refused may be hung up on before all of this is said.
        let _ = connection.send(&request).and_then(|()| connection.send_bytes(&unsaid[..500]));
        held.push(connection);
        let log = server.log().text();
        (log.contains("too many open files") || log.contains("cannot accept a connection")).then_some(())
    });
    drop(held);
    rustix::process::prlimit(door, Resource::Nofile, usual).unwrap();
    until("uploads are stored again", || {
        let target = format!("/web1/data/{}", id_of(&content));
        web1.send(Request::new("POST", &target).body(Body::Sized(content.clone())))
            .ok()
            .filter(|response| response.status == 200)
    });
    before.assert_kept(&server.stored());
}

fn limit(descriptors: u64) -> Rlimit {
    Rlimit { current: Some(descriptors), maximum: rustix::process::getrlimit(Resource::Nofile).maximum }
}
