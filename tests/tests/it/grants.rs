//! Grants that reach only as far as they must: networks, time, quotas, and the reserve of the disk.
//!
//! Invariant: each limit is tried just below, at, and beyond it, and what was stored before is still there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::pawl;
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Body, Client, Connection, Request, Response};
use pawl_tests::server::Server;
use pawl_tests::store;
use pawl_tests::wait::until;
use pawl_tests::with_each_restic;

use rustix::process::Signal;

with_each_restic! {
    a_backup_beyond_the_quota_ends_and_says_why,
}

fn created(server: &Server, name: &str, options: &[&str]) -> Client {
    let client = server.add_client(name, options);
    assert_eq!(client.ask("POST", &format!("/{name}/?create=true")).unwrap().status, 200);
    client
}

fn target(repository: &str, kind: &str, content: &[u8]) -> String {
    format!("/{repository}/{kind}/{}", id_of(content))
}

fn post(client: &Client, kind: &str, content: &[u8]) -> Response {
    client.post(&target("web1", kind, content), content).unwrap()
}

fn from(address: Ipv4Addr, server: &Server, client: &Client, request: Request) -> Response {
    Connection::open_from(address, server.address()).unwrap().exchange(&client.signed(request)).unwrap()
}

const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A62: a thief of a credential uses it from another network than it is for.
#[test]
fn a_credential_is_for_its_networks_only() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--network", "127.0.0.1", "--network", "192.0.2.0/24"]);
    let content = noise("a pack", 1000);
    assert_eq!(post(&web1, "data", &content).status, 200);
    let before = server.stored();
    for (method, path) in [
        ("GET", target("web1", "data", &content)),
        ("HEAD", "/web1/config".to_owned()),
        ("GET", "/web1/data/".to_owned()),
        ("POST", "/web1/?create=true".to_owned()),
        ("DELETE", target("web1", "locks", b"x")),
    ] {
        let refused = from(ELSEWHERE, &server, &web1, Request::new(method, &path));
        assert_eq!(
            (refused.status, refused.reason.as_str()),
            (403, "not from this network"),
            "{method} {path}"
        );
    }
    // What a client says of its own address counts for nothing.
    let forged = Request::new("GET", "/web1/data/")
        .header("X-Forwarded-For", "127.0.0.1")
        .header("Forwarded", "for=127.0.0.1")
        .header("X-Real-IP", "127.0.0.1");
    assert_eq!(from(ELSEWHERE, &server, &web1, forged).status, 403);
    let other = noise("another pack", 1000);
    let upload = Request::new("POST", &target("web1", "data", &other)).body(Body::Sized(other));
    assert_eq!(from(ELSEWHERE, &server, &web1, upload).status, 403);
    assert_eq!(web1.ask("GET", "/web1/data/").unwrap().status, 200);
    before.assert_unchanged(&server.stored());
}

#[test]
fn a_network_that_is_none_is_refused_with_words() {
    let server = Server::start();
    for (network, words) in [("office", "such as 192.0.2.0/24"), ("192.0.2.1/24", "bits behind the prefix")] {
        let refused = server.host(&["add", "web1", "--network", network]).expect_code(2);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
}

/// A63: a thief of a credential uses it after its time.
#[test]
fn a_credential_ends_with_its_time() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--expires", "2126-01-01"]);
    assert_eq!(web1.ask("GET", "/web1/data/").unwrap().status, 200);
    let before = server.stored();
    let hosts = server.data().join(".pawl/hosts.toml");
    let text = std::fs::read_to_string(&hosts).unwrap();
    assert!(text.contains("expires = \"2126-01-01\""), "{text}");
    store::remove(&hosts);
    store::plant(&hosts, text.replace("2126-01-01", "2026-01-01T08:00:00Z").as_bytes());
    for (method, path) in [("GET", "/web1/data/"), ("POST", "/web1/?create=true"), ("HEAD", "/web1/config")] {
        let refused = web1.ask(method, path).unwrap();
        assert_eq!((refused.status, refused.reason.as_str()), (403, "access to this repository has expired"));
    }
    store::remove(&hosts);
    store::plant(&hosts, text.as_bytes());
    std::fs::set_permissions(&hosts, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(web1.ask("GET", "/web1/data/").unwrap().status, 200);
    before.assert_unchanged(&server.stored());
}

#[test]
fn limits_are_listed_and_wrong_ones_are_refused() {
    let server = Server::start();
    let _ = server
        .host(&["add", "web1", "--quota", "200GiB", "--network", "10.0.0.0/8", "--expires", "2027-12-31"])
        .expect_code(0);
    let _ = server
        .host(&[
            "add",
            "web3",
            "--total-quota",
            "1TiB",
            "--requests-per-second",
            "50",
            "--bytes-per-second",
            "50MiB",
        ])
        .expect_code(0);
    let listed = server.host(&["list"]).expect_code(0).stdout;
    for words in [
        "from 10.0.0.0/8",
        "until 2027-12-31",
        "up to 200.0 GiB",
        "in all up to 1.0 TiB",
        "bytes a second 50.0 MiB",
    ] {
        assert!(listed.contains(words), "expected {words:?} in {listed}");
    }
    let refused = server.host(&["add", "web2", "--expires", "soon"]).expect_code(1);
    assert!(refused.stderr.contains("2026-11-01"), "{}", refused.stderr);
    let refused = server.host(&["add", "web2", "--quota", "much"]).expect_code(2);
    assert!(refused.stderr.contains("much"), "{}", refused.stderr);
    assert_eq!(server.host(&["list", "--json"]).json().as_array().unwrap().len(), 2);
    let [_, config] = server.place();
    let table = pawl(["policy", "table", "--principal", "web1", "--config", config]).expect_code(0).stdout;
    for words in ["web1 in web1: backup, from 10.0.0.0/8", "\ncreate data        initialised", "nothing."] {
        assert!(table.contains(words), "expected {words:?} in {table}");
    }
    assert!(!table.contains("backup+keys"), "one column only: {table}");
    let whole = pawl(["policy", "table"]).expect_code(0).stdout;
    assert!(whole.contains("restore       backup        backup+keys   maintenance"), "{whole}");
}

#[test]
fn a_quota_is_reached_exactly_and_not_exceeded_by_a_byte() {
    let mut server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "30000B"]);
    assert_eq!(post(&web1, "data", &noise("first", 10_000)).status, 200);
    let refused = post(&web1, "data", &noise("too large", 20_001));
    assert_eq!((refused.status, refused.reason.as_str()), (403, "quota of this repository is used up"));
    assert_eq!(post(&web1, "data", &noise("just right", 20_000)).status, 200);
    assert_eq!(post(&web1, "index", &noise("one more", 32)).status, 403);

    // What is there can be sent again, read and locked; a restart changes nothing.
    for _ in 0..2 {
        assert_eq!(post(&web1, "data", &noise("first", 10_000)).status, 200);
        assert_eq!(post(&web1, "locks", &noise("a lock", 200)).status, 200);
        assert_eq!(post(&web1, "data", &noise("one byte", 1)).status, 403);
        let read = web1.ask("GET", &target("web1", "data", &noise("just right", 20_000))).unwrap();
        assert_eq!(read.body, noise("just right", 20_000));
        assert!(server.stop().success());
        server.start_again();
    }
}

#[test]
fn a_quota_of_files_counts_files() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--quota-files", "2"]);
    assert_eq!(post(&web1, "data", &noise("first", 10)).status, 200);
    assert_eq!(post(&web1, "snapshots", &noise("second", 100)).status, 200);
    assert_eq!(post(&web1, "data", &noise("third", 10)).status, 403);
    assert_eq!(post(&web1, "locks", &noise("a lock", 100)).status, 200);
}

#[test]
fn an_upload_that_fails_gives_its_room_back() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "10000B"]);
    let content = noise("right", 10_000);
    for _ in 0..3 {
        let wrong =
            Request::new("POST", &target("web1", "data", &content)).body(Body::Sized(noise("wrong", 10_000)));
        assert_eq!(web1.send(wrong).unwrap().status, 400);
    }
    assert_eq!(post(&web1, "data", &content).status, 200);
}

#[test]
fn a_body_without_a_length_needs_room_for_the_largest() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "1MiB"]);
    let content = noise("an index", 1000);
    let chunked =
        Request::new("POST", &target("web1", "index", &content)).body(Body::Chunked(content.clone()));
    assert_eq!(web1.send(chunked).unwrap().status, 403);
    assert_eq!(post(&web1, "index", &content).status, 200);
}

/// A64: a host exceeds its quota by uploading in parallel.
#[test]
fn a_race_of_uploads_stays_within_the_quota() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "100kB"]);
    let contents: Vec<_> = (0..32).map(|seed| noise(&format!("upload {seed}"), 10_000)).collect();
    let before = server.stored();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let uploads: Vec<_> =
            contents.iter().map(|content| scope.spawn(|| post(&web1, "data", content).status)).collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    let stored = statuses.iter().filter(|status| **status == 200).count();
    assert!((1..=10).contains(&stored), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 403].contains(status)), "{statuses:?}");
    let after = server.stored();
    before.assert_kept(&after);
    assert_eq!(after.names().filter(|name| name.to_string_lossy().contains("/data/")).count(), stored);
    // Room that was promised and not used is there again.
    for content in contents.iter().take(10 - stored.min(10)) {
        let fresh = noise(&format!("again {}", id_of(content)), 10_000);
        assert_eq!(post(&web1, "data", &fresh).status, 200);
    }
    assert_eq!(post(&web1, "data", &noise("beyond", 10_000)).status, 403);
}

#[test]
fn hosts_that_share_a_repository_share_what_it_holds() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "20000B"]);
    let web2 = server.add_client("web2", &["--repository", "web1"]);
    assert_eq!(post(&web2, "data", &noise("of another", 15_000)).status, 200);
    assert_eq!(post(&web1, "data", &noise("too much", 5_001)).status, 403);
    assert_eq!(post(&web2, "data", &noise("without limit", 5000)).status, 200);
}

#[test]
fn a_repository_that_was_never_counted_is_counted_when_a_quota_asks() {
    let server = Server::start();
    let pack = noise("of rest-server", 10_000);
    store::plant(&store::path_of(server.data(), &format!("web1/data/{}", id_of(&pack))), &pack);
    store::plant(&server.data().join("web1/config"), b"a config of rest-server");
    let web1 = server.add_client("web1", &["--quota", "20000B"]);
    let too_much = noise("too much", 6_000);
    let counted = until("the repository is counted", || {
        Some(post(&web1, "data", &too_much).status).filter(|status| *status != 503) // restic tries again, too
    });
    assert_eq!(counted, 403);
    assert_eq!(post(&web1, "data", &noise("enough", 5_900)).status, 200);
}

#[test]
fn restic_says_that_the_quota_is_used_up_and_still_restores() {
    let server = Server::start();
    let credential = server.add_host("web1", &["--quota", "20MiB"]);
    let restic = Restic::new(Version::V0_19, &credential);
    restic.succeed(["init"]);
    let (small, large) = (server.dir().join("small"), server.dir().join("large"));
    store::plant(&small.join("file"), &noise("small", 1 << 20));
    store::plant(&large.join("file"), &noise("large", 200 << 20));
    restic.backup(&small);
    let before = server.stored();
    restic.refused(["backup", large.to_str().unwrap()], "quota of this repository is used up");
    before.assert_kept(&server.stored());
    let restored = restic.restore(&small, &[]);
    assert_eq!(std::fs::read(restored.join("file")).unwrap(), noise("small", 1 << 20));
}

/// A client that still sends hears the refusal, whether it stops or not.
#[test]
fn a_refusal_is_heard_before_the_body_has_come() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "1MiB"]);
    let content = noise("large", 8 << 20);
    // Somebody without a credential is waited for 15 seconds, which is half as long as a refused body is read.
    let mut meanwhile = Connection::open(server.address()).unwrap();
    let mut connection = Connection::open(server.address()).unwrap();
    let head = Request::new("POST", &target("web1", "data", &content))
        .header("Content-Length", &content.len().to_string());
    connection.send(&web1.signed(head)).unwrap();
    let (begun, rest) = content.split_at(100_000);
    connection.send_bytes(begun).unwrap();
    let refused = connection.receive("POST").unwrap();
    assert_eq!((refused.status, &*refused.reason), (403, "quota of this repository is used up"));
    let stranger = meanwhile.exchange(&Request::new("GET", "/web1/data/")).map(|answer| answer.status);
    assert_eq!(stranger.unwrap(), 401, "the refusal came too late");
    connection.send_bytes(rest).unwrap();
    let next = web1.signed(Request::new("HEAD", &target("web1", "data", &content)));
    assert_eq!(connection.exchange(&next).unwrap().status, 404);
}

fn a_backup_beyond_the_quota_ends_and_says_why(version: Version) {
    let server = Server::start();
    let credential = server.add_host("web1", &["--quota", "1MiB"]);
    clients::initialise(&server.client(&credential), "web1");
    let restic = Restic::new(version, &credential);
    let files = restic.home().join("files");
    store::plant(&files.join("large"), &noise("large", 8 << 20));
    let ended = restic.run(["backup", files.to_str().unwrap()]);
    assert_ne!(ended.code, Some(0));
    let seen = ended.stdout + &ended.stderr;
    assert!(seen.contains("403 quota of this repository is used up"), "{seen}");
    // restic 0.14 takes nothing for final: it tries ten times, in less than a minute.
    assert!(version == Version::V0_14 || !seen.contains("retrying"), "{seen}");
}

#[test]
fn a_proxy_is_believed_if_it_is_configured_and_only_in_what_it_writes() {
    let proxy = "plain_http = true\nproxy.addresses = [\"127.0.0.2\"]";
    let server = Server::build().config(proxy).start();
    let web1 = server.add_client("web1", &["--network", "192.0.2.0/24"]);
    let asked = |from_address, forwarded: &str| {
        let request = Request::new("POST", "/web1/?create=true").header("X-Forwarded-For", forwarded);
        from(from_address, &server, &web1, request).status
    };
    assert_eq!(asked(ELSEWHERE, "192.0.2.7"), 200);
    assert_eq!(asked(ELSEWHERE, "198.51.100.1, 192.0.2.7"), 200);
    assert_eq!(asked(ELSEWHERE, "192.0.2.7, 198.51.100.1"), 403, "what the client wrote stands left");
    assert_eq!(asked(Ipv4Addr::LOCALHOST, "192.0.2.7"), 403, "no proxy");
    assert_eq!(from(ELSEWHERE, &server, &web1, Request::new("GET", "/web1/data/")).status, 403);
    let _ = server.log().wait_for_line(&["peer=192.0.2.7 via 127.0.0.2"]);
}

#[test]
fn a_quota_in_all_counts_what_a_host_stored_wherever_it_was() {
    let mut server = Server::start();
    let options = ["--repository", "web1", "--repository", "web2", "--total-quota", "20000B"];
    let host = server.add_client("host", &options);
    let other = server.add_client("other", &["--repository", "web1"]);
    for repository in ["web1", "web2"] {
        assert_eq!(host.ask("POST", &format!("/{repository}/?create=true")).unwrap().status, 200);
    }
    let store = |client: &Client, repository: &str, seed: &str| {
        let content = noise(seed, 10_000);
        client.post(&target(repository, "data", &content), &content).unwrap()
    };
    assert_eq!(store(&host, "web1", "one").status, 200);
    assert_eq!(store(&other, "web1", "of another").status, 200);
    assert_eq!(store(&host, "web2", "two").status, 200);
    for _ in 0..2 {
        let refused = store(&host, "web1", "three");
        assert_eq!((refused.status, refused.reason.as_str()), (403, "quota of this host is used up"));
        assert_eq!(store(&host, "web2", "two").status, 200, "already there");
        assert_eq!(store(&other, "web1", "of another").status, 200);
        assert!(server.stop().success());
        server.start_again();
    }
}

#[test]
fn what_was_pruned_on_the_directory_is_counted_no_more_after_a_start() {
    let mut server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "20000B"]);
    let pack = noise("to be pruned", 20_000);
    assert_eq!(post(&web1, "data", &pack).status, 200);
    let more = noise("more", 10_000);
    assert_eq!(post(&web1, "data", &more).status, 403);
    assert!(server.stop().success());
    store::remove(&store::path_of(server.data(), &target("web1", "data", &pack)[1..]));
    server.start_again();
    until("the repository is counted anew", || (post(&web1, "data", &more).status == 200).then_some(()));
}

#[test]
fn a_small_file_counts_as_much_as_it_takes() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "16KiB"]);
    for number in 0..4 {
        assert_eq!(post(&web1, "index", &noise(&format!("index {number}"), 32)).status, 200);
    }
    assert_eq!(post(&web1, "index", &noise("one more", 32)).status, 403);
}

#[test]
fn usage_that_cannot_be_read_lifts_no_quota_and_is_counted() {
    let mut server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "20000B"]);
    let web2 = created(&server, "web2", &["--total-quota", "20000B"]);
    let first = noise("first", 10_000);
    let send = |client: &Client, repository: &str, content: &[u8]| {
        client.post(&target(repository, "data", content), content).unwrap().status
    };
    assert_eq!((send(&web1, "web1", &first), send(&web2, "web2", &first)), (200, 200));
    assert!(server.stop().success());
    for counted in ["web1", ".pawl/usage/web2"] {
        store::set_fact(&server.data().join(counted), "usage", "junk");
    }
    server.start_again();
    for (client, repository) in [(&web1, "web1"), (&web2, "web2")] {
        let too_much = noise("too much", 10_001);
        let answer = until("the usage is counted", || {
            Some(send(client, repository, &too_much)).filter(|status| *status != 503) // restic tries again, too
        });
        assert_eq!(answer, 403);
        assert_eq!(client.ask("GET", &target(repository, "data", &first)).unwrap().body, first);
        assert_eq!(send(client, repository, &noise("second", 10_000)), 200);
    }
}

/// A process that holds the lock under which maintenance changes usage, as one does that was stopped.
fn hold_usage_lock(server: &Server) -> std::fs::File {
    let lock = std::fs::File::options().write(true).open(server.data().join(".pawl/usage.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    lock
}

/// A189: maintenance that was stopped in the middle of a change keeps all hosts from storing.
#[test]
fn no_lock_of_maintenance_keeps_an_upload_waiting() {
    let server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "1MiB", "--total-quota", "1MiB"]);
    let before = server.stored();
    let held = hold_usage_lock(&server);
    for number in 0..10 {
        assert_eq!(post(&web1, "data", &noise(&format!("pack {number}"), 1000)).status, 200);
    }
    drop(held);
    before.assert_kept(&server.stored());
}

#[test]
fn a_crash_lifts_no_quota_once_all_files_were_counted() {
    let mut server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "40000B", "--total-quota", "40000B"]);
    for number in 0..4 {
        assert_eq!(post(&web1, "data", &noise(&format!("pack {number}"), 10_000)).status, 200);
    }
    let counted = |server: &Server, times: usize| {
        until("all files were counted", || {
            (server.log().text().matches("all files were counted").count() == times).then_some(())
        });
    };
    counted(&server, 1);
    server.keeper().signal(Signal::KILL);
    server.wait();
    // As if the crash had come before anything was written.
    for counted in ["web1", ".pawl/usage/web1"] {
        store::set_fact(&server.data().join(counted), "usage", "1 0 0");
    }
    server.start_again();
    counted(&server, 2);
    assert_eq!(post(&web1, "data", &noise("one more", 10_000)).status, 403);
}

#[test]
fn after_a_clean_end_nothing_is_counted_again() {
    let mut server = Server::start();
    let web1 = created(&server, "web1", &["--quota", "20000B"]);
    assert_eq!(post(&web1, "data", &noise("first", 10_000)).status, 200);
    let _ = server.log().wait_for_line(&["all files were counted"]);
    assert!(server.stop().success());
    // A count would find that this is not so.
    store::set_fact(&server.data().join("web1"), "usage", "1 20000 1");
    server.start_again();
    let _ = server.log().wait_for_line(&["nothing has changed since the last end"]);
    assert_eq!(post(&web1, "data", &noise("second", 4096)).status, 403);
}
