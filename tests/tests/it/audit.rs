//! The audit log, as an admin uses it and as somebody would falsify it.
//!
//! Invariant: the log is read with `pawl audit` only, the way its users do.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod archive;

use std::path::{Path, PathBuf};
use std::time::Instant;

use pawl_tests::command::{Finished, pawl};
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Body, Client, Connection, Request};
use pawl_tests::server::Server;
use serde_json::Value;

fn data(server: &Server) -> String {
    server.data().to_str().unwrap().to_owned()
}

fn verify(server: &Server, head: Option<&str>) -> Finished {
    let mut args = vec!["audit".to_owned(), "verify".to_owned(), "--data".to_owned(), data(server)];
    args.extend(head.map(|head| format!("--head={head}")));
    pawl(args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The last record's number and hash, by a log that verifies.
fn head(server: &Server) -> (u64, String) {
    let report = pawl(["audit", "verify", "--json", "--data", &data(server)]).expect_code(0).json();
    assert_eq!(report["torn"], serde_json::json!([]));
    (report["number"].as_u64().unwrap(), report["head"].as_str().unwrap().to_owned())
}

fn shown(server: &Server, options: &[&str]) -> Vec<Value> {
    let data = data(server);
    let mut args = vec!["audit", "show", "--json", "--data", &data];
    args.extend(options);
    let shown = pawl(args).expect_code(0);
    shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn files(server: &Server) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(server.data().join(".pawl/audit")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn created(server: &Server, name: &str) -> Client {
    let client = server.add_client(name, &[]);
    assert_eq!(client.ask("POST", &format!("/{name}/?create=true")).unwrap().status, 200);
    client
}

fn stored(client: &Client, repository: &str, kind: &str, seed: &str) -> String {
    let content = noise(seed, 1000);
    let id = id_of(&content);
    assert_eq!(client.post(&format!("/{repository}/{kind}/{id}"), &content).unwrap().status, 200);
    id
}

/// A stopped server with a dozen records, ready to be falsified.
fn history() -> Server {
    let mut server = Server::start();
    let web1 = created(&server, "web1");
    for seed in ["a", "b", "c", "d"] {
        stored(&web1, "web1", "data", seed);
    }
    assert!(server.stop().success());
    server
}

#[expect(clippy::disallowed_methods, reason = "does what a falsifier does")]
fn falsify(path: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<_> = std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

fn assert_found(server: &Server, head: Option<&str>, words: &[&str]) {
    let found = verify(server, head).expect_code(1);
    for word in words {
        assert!(found.stderr.contains(word), "expected {word:?} in {}", found.stderr);
    }
}

#[test]
fn what_a_credential_did_is_told_with_files_and_snapshots() {
    let mut server = Server::start();
    let (web1, web2) = (created(&server, "web1"), created(&server, "web2"));
    let snapshot = stored(&web1, "web1", "snapshots", "a snapshot");
    stored(&web1, "web1", "data", "a pack");
    stored(&web2, "web2", "data", "another pack");
    assert_eq!(web1.ask("DELETE", &format!("/web1/snapshots/{snapshot}")).unwrap().status, 403);
    assert_eq!(web1.ask("GET", "/web2/data/").unwrap().status, 403);
    assert!(server.stop().success());

    let records = shown(&server, &["--principal", "web1", "--since", "2026-01-01"]);
    assert!(records.iter().all(|record| record["principal"] == "web1"));
    let told: Vec<_> = records
        .iter()
        .filter(|record| record["event"] == "decision")
        .map(|record| format!("{} {}", record["action"].as_str().unwrap(), record["status"]))
        .collect();
    let expected = [
        "create repository 200",
        "create snapshots 200",
        "create data 200",
        "delete snapshots 403",
        "list data 403",
    ];
    assert_eq!(told, expected);
    let kept: Vec<_> = records.iter().filter(|record| record["event"] == "stored").collect();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0]["file"], format!("snapshots/{snapshot}"));
    assert_eq!(kept[0]["bytes"], 1000);

    let readable = pawl(["audit", "show", "--principal", "web1", "--data", &data(&server)]).expect_code(0);
    for words in ["added to web1: 1 of data", "added to web1: 1 of snapshots", "refused: 2", &snapshot[..8]] {
        assert!(readable.stdout.contains(words), "expected {words:?} in {}", readable.stdout);
    }
    assert_eq!(shown(&server, &["--since", "2126-01-01"]), [] as [Value; 0]);
    let wrong = pawl(["audit", "show", "--since", "yesterday", "--data", &data(&server)]).expect_code(1);
    assert!(wrong.stderr.contains("2026-11-01"), "{}", wrong.stderr);
}

#[test]
fn every_answer_has_a_record_when_the_server_has_stopped() {
    let mut server = Server::start();
    let web1 = created(&server, "web1");
    for round in 0..200 {
        assert_eq!(web1.ask("HEAD", "/web1/config").unwrap().status, 404, "{round}");
    }
    assert_eq!(server.nobody().ask("GET", "/web1/data/").unwrap().status, 401);
    assert!(server.stop().success());
    let records = shown(&server, &[]);
    let count = |action: &str| records.iter().filter(|record| record["action"] == action).count();
    assert_eq!((count("stat config"), count("GET /web1/data/")), (200, 1));
    let events: Vec<_> = records.iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!((events[0], events[events.len() - 1]), ("started", "stopped"));
}

#[test]
fn the_chain_goes_on_after_a_stop_and_after_a_kill() {
    let mut server = history();
    let (number, first) = head(&server);
    server.start_again();
    server.kill();
    server.start_again();
    assert!(server.stop().success());
    let (later, _) = head(&server);
    assert!(later >= number + 3, "two starts and a stop"); // a kill may come before its keeper says that it stops
    let _ = verify(&server, Some(&first)).expect_code(0);
}

#[test]
fn the_head_is_logged_for_a_witness() {
    let mut server = history();
    server.start_again();
    let line = server.log().wait_for_line(&["audit log", "head="]);
    let head = line.split("head=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    assert!(server.stop().success());
    let _ = verify(&server, Some(&head)).expect_code(0);
}

#[test]
fn records_of_another_name_are_read_in_order_from_copies() {
    let mut server = history();
    server.start_again();
    assert!(server.stop().success());
    let files = files(&server);
    let names: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let _ = pawl([&["audit", "verify"], &names[..]].concat()).expect_code(0);
}

/// A58: somebody changes a record of the audit log.
#[test]
fn a_changed_byte_is_found() {
    let server = history();
    let _ = verify(&server, None).expect_code(0);
    falsify(&files(&server)[0], |lines| lines[3] = lines[3].replace("web1", "web2"));
    assert_found(&server, None, &["line 5", "record 4"]);
}

/// A59: somebody removes a record of the audit log.
#[test]
fn a_removed_line_is_found() {
    let server = history();
    falsify(&files(&server)[0], |lines| drop(lines.remove(3)));
    assert_found(&server, None, &["line 4", "expected record 4, found 5"]);
}

/// A60: somebody moves records of the audit log.
#[test]
fn swapped_lines_are_found() {
    let server = history();
    falsify(&files(&server)[0], |lines| lines.swap(3, 4));
    assert_found(&server, None, &["line 4", "expected record 4, found 5"]);
}

/// A61: somebody cuts the end of the audit log off, or makes up another.
#[test]
fn a_cut_end_is_found_with_a_head_that_was_kept_elsewhere() {
    let server = history();
    let (_, head) = head(&server);
    falsify(&files(&server)[0], |lines| lines.truncate(lines.len() - 2));
    let _ = verify(&server, None).expect_code(0); // nothing that is left tells
    assert_found(&server, Some(&head), &["the end was cut off"]);

    let server = history();
    let (_, head) = self::head(&server);
    falsify(&files(&server)[0], |lines| {
        let last = lines.last_mut().unwrap();
        *last = last.replace("stopped", "started");
    });
    assert_found(&server, Some(&head), &["the end was cut off or the last record changed"]);
}

/// A191: a host fills the audit log, and with it the disk past its quota, with requests that change nothing: it reads,
/// asks again for what is done, and asks for what it may not do.
#[test]
fn what_a_host_asks_without_effect_is_told_by_the_thousand_and_counted() {
    const TIMES: usize = 5000;
    let mut server = Server::start();
    let web1 = created(&server, "web1");
    let absent = id_of(b"no lock");
    let before = server.stored();
    for (method, target, status) in [
        ("HEAD", "/web1/config".to_owned(), 404),
        ("POST", "/web1/?create=true".to_owned(), 200),
        ("DELETE", format!("/web1/locks/{absent}"), 200),
        ("GET", "/web2/data/".to_owned(), 403),
    ] {
        let request = web1.signed(Request::new(method, &target));
        let mut connection = Connection::open(server.address()).unwrap();
        for _ in 0..TIMES / 100 {
            for _ in 0..100 {
                connection.send(&request).unwrap();
            }
            for _ in 0..100 {
                assert_eq!(connection.receive(method).unwrap().status, status);
            }
        }
    }
    before.assert_unchanged(&server.stored());
    // What is stored has its line in any case.
    let pack = b"a pack";
    assert_eq!(web1.post(&format!("/web1/data/{}", id_of(pack)), pack).unwrap().status, 200);
    assert!(server.stop().success());

    let records = shown(&server, &[]);
    let told = |action: &str| records.iter().filter(|record| record["action"] == action).count();
    let [repeats, locks] = ["create repository", "delete locks"].map(told);
    for lines in [told("stat config"), repeats, locks, told("list data")] {
        assert!((2000..TIMES).contains(&lines), "{lines}");
    }
    assert_eq!(told("create data"), 1);
    assert_eq!(records.iter().filter(|record| record["event"] == "repository_created").count(), 1);
    // And how many had none.
    for (kind, lines, times) in [
        ("reads", told("stat config"), TIMES),
        ("repeats", repeats, TIMES + 1),
        ("locks", locks, TIMES),
        ("refusals", told("list data"), TIMES),
    ] {
        let counted =
            records.iter().filter(|record| record["action"] == kind && record["principal"] == "web1");
        let more = counted.map(|record| {
            record["outcome"].as_str().unwrap().split(' ').next().unwrap().parse::<usize>().unwrap()
        });
        assert_eq!(lines + more.sum::<usize>(), times, "{kind}");
    }
    let _ = pawl(["audit", "verify", "--data", &data(&server)]).expect_code(0);
}

/// A196: a host fills the audit log, and with it the disk past its quota, with locks that it makes and removes; or it
/// drives its refused deletions out of the log with other refusals.
#[test]
fn locks_without_end_are_told_by_the_thousand_and_counted() {
    const TIMES: usize = 1300;
    let mut server = Server::start();
    let web1 = created(&server, "web1");
    let (lock, pack) = (noise("a lock", 100), noise("a pack", 100));
    let target = format!("/web1/locks/{}", id_of(&lock));
    let made = web1.signed(Request::new("POST", &target).body(Body::Sized(lock)));
    let removed = web1.signed(Request::new("DELETE", &target));
    let mut connection = Connection::open(server.address()).unwrap();
    let (mut times, began) = (0, Instant::now());
    // Lines are left for 2000 at once, and for 20 more each second that a slow machine takes.
    while times < TIMES || 2 * times < 2100 + 20 * usize::try_from(began.elapsed().as_secs()).unwrap() {
        times += 1;
        for (request, method) in [(&made, "POST"), (&removed, "DELETE")] {
            connection.send(request).unwrap();
            assert_eq!(connection.receive(method).unwrap().status, 200);
        }
    }
    let read = web1.signed(Request::new("GET", "/web2/data/"));
    for _ in 0..25 {
        for _ in 0..100 {
            connection.send(&read).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(connection.receive("GET").unwrap().status, 403);
        }
    }
    // What is stored has its lines in any case, and so has a deletion that is refused.
    let pack_id = id_of(&pack);
    assert_eq!(web1.post(&format!("/web1/data/{pack_id}"), &pack).unwrap().status, 200);
    let before = server.stored();
    assert_eq!(web1.ask("DELETE", &format!("/web1/data/{pack_id}")).unwrap().status, 403);
    before.assert_unchanged(&server.stored());
    assert!(server.stop().success());

    let records = shown(&server, &[]);
    let told = |what: &dyn Fn(&Value) -> bool| records.iter().filter(|record| what(record)).count();
    let is_lock = |record: &Value| record["file"].as_str().is_some_and(|file| file.starts_with("locks/"));
    let decided = told(&|record| is_lock(record) && record["event"] == "decision");
    let done = told(&|record| is_lock(record) && record["event"] != "decision");
    for lines in [decided, done] {
        assert!((2000..2 * times).contains(&lines), "{lines}");
    }
    let counted =
        records.iter().filter(|record| record["action"] == "locks" && record["principal"] == "web1");
    let more = counted.map(|record| {
        record["outcome"].as_str().unwrap().split(' ').next().unwrap().parse::<usize>().unwrap()
    });
    assert_eq!(decided + done + more.sum::<usize>(), 4 * times);
    assert_eq!(told(&|record| record["event"] == "stored" && record["file"] == format!("data/{pack_id}")), 1);
    assert_eq!(told(&|record| record["action"] == "delete data" && record["status"] == 403), 1);
    let _ = pawl(["audit", "verify", "--data", &data(&server)]).expect_code(0);
}

/// A75: somebody without a credential fills the audit log with refusals, to fill the disk or to drive out what others
/// did.
#[test]
fn strangers_are_told_by_the_dozen_and_counted() {
    let mut server = Server::start();
    let web1 = created(&server, "web1");
    let before = server.stored();
    for _ in 0..1000 {
        assert_eq!(server.nobody().ask("GET", "/web1/data/").unwrap().status, 401);
    }
    assert_eq!(web1.ask("GET", "/web1/data/").unwrap().status, 200);
    before.assert_unchanged(&server.stored());
    assert!(server.stop().success());
    let records = shown(&server, &[]);
    let strangers = records.iter().filter(|record| record["status"] == 401).count();
    assert!((100..500).contains(&strangers), "{strangers}");
    assert!(records.iter().any(|record| record["action"] == "list data" && record["status"] == 200));
}
