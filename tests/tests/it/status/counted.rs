//! Events that are counted, and what is under way.
//!
//! Invariant: every number is compared with what the test did.

use std::time::Duration;

use pawl_tests::content::noise;
use pawl_tests::http::{Client, Connection, Request};
use pawl_tests::server::Server;
use pawl_tests::status::{ON, Status};
use pawl_tests::store::{back_date, path_of, plant, remove};

use super::{serve, store, target};

/// Longer than restic tries to store a file again.
const A_WHILE: Duration = Duration::from_hours(1);

#[test]
fn uploads_are_counted_by_action_principal_and_repository() {
    let (server, status, web1) = serve();
    let reader = server.add_client("reader", &["--role", "restore", "--repository", "web1"]);
    let pack = noise("pack", 300_000);
    store(&web1, "data", &pack);
    store(&web1, "data", &pack);
    store(&web1, "index", &noise("index", 1000));
    assert_eq!(reader.ask("GET", &target("data", &pack)).unwrap().body.len(), 300_000);
    status.wait_for(&[
        ("pawl_requests_total{action=\"create data\",status=\"200\"}", 2),
        ("pawl_requests_total{action=\"create index\",status=\"200\"}", 1),
        ("pawl_requests_total{action=\"read data\",status=\"200\"}", 1),
        ("pawl_files_created_total{repository=\"web1\",type=\"data\"}", 1),
        ("pawl_files_created_total{repository=\"web1\",type=\"keys\"}", 2),
        ("pawl_files_created_total{repository=\"web1\",type=\"config\"}", 1),
        ("pawl_sent_bytes_total{principal=\"reader\"}", 300_000),
        ("pawl_received_bytes_total{principal=\"reader\"}", 0),
    ]);
    assert!(status.metrics()["pawl_received_bytes_total{principal=\"web1\"}"] > 600_000);
}

#[test]
fn a_content_that_does_not_hash_to_its_name_is_counted() {
    let (_server, status, web1) = serve();
    status.wait_for(&[("pawl_hash_mismatches_total", 0)]);
    assert_eq!(web1.post(&target("data", b"a pack"), b"not it").unwrap().status, 400);
    status.wait_for(&[
        ("pawl_hash_mismatches_total", 1),
        ("pawl_requests_total{action=\"create data\",status=\"400\"}", 1),
    ]);
}

#[test]
fn refusals_are_counted_by_reason_and_attempts_to_delete_apart() {
    let (server, status, web1) = serve();
    let web2 = server.add_client("web2", &[]);
    let reasons = ["role", "not_granted", "lock_of_another", "keys_not_granted"];
    for reason in reasons {
        status.wait_for(&[(&format!("pawl_refusals_total{{reason=\"{reason}\"}}"), 0)]);
    }
    status.wait_for(&[("pawl_refused_deletions_total", 0)]);
    store(&web1, "data", b"a pack");
    for path in ["/web1/config", &target("data", b"a pack")] {
        back_date(&path_of(server.data(), &path[1..]), A_WHILE);
    }
    for path in ["/web1/config".to_owned(), target("data", b"a pack"), "/web1/".to_owned()] {
        assert_eq!(web1.ask("DELETE", &path).unwrap().status, 403);
    }
    assert_eq!(web2.ask("GET", "/web1/config").unwrap().status, 403);
    let key = pawl_tests::content::key_file("another");
    assert_eq!(web1.post(&target("keys", &key), &key).unwrap().status, 403);
    status.wait_for(&[
        ("pawl_refusals_total{reason=\"role\"}", 3),
        ("pawl_refused_deletions_total", 3),
        ("pawl_refusals_total{reason=\"not_granted\"}", 1),
        ("pawl_refusals_total{reason=\"keys_not_granted\"}", 1),
    ]);
}

#[test]
fn what_restic_cleans_up_after_an_upload_that_failed_is_no_attempt_to_delete() {
    let (server, status, web1) = serve();
    let web1b = server.add_client("web1b", &["--repository", "web1"]);
    let pack = noise("pack", 1000);
    assert_eq!(web1.post(&target("data", &pack), b"not it").unwrap().status, 400);
    for file_type in ["data", "index", "snapshots", "keys"] {
        let answer = web1.ask("DELETE", &target(file_type, &pack)).unwrap();
        assert_eq!(answer.status, 403);
        assert_eq!(
            answer.reason,
            "append-only: not allowed with this credential (nothing is there, or it was just stored)"
        );
    }
    // As if the answer to this upload was lost.
    store(&web1, "data", &pack);
    assert_eq!(web1.ask("DELETE", &target("data", &pack)).unwrap().status, 403);
    status.wait_for(&[
        ("pawl_refusals_total{reason=\"clean_up\"}", 5),
        ("pawl_refusals_total{reason=\"role\"}", 0),
        ("pawl_refused_deletions_total", 0),
    ]);
    assert_eq!(web1b.ask("DELETE", &target("data", &pack)).unwrap().status, 403);
    status.wait_for(&[("pawl_refused_deletions_total", 1)]);
    back_date(&path_of(server.data(), &target("data", &pack)[1..]), A_WHILE);
    assert_eq!(web1.ask("DELETE", &target("data", &pack)).unwrap().status, 403);
    status.wait_for(&[("pawl_refused_deletions_total", 2)]);
}

#[test]
fn the_refused_removal_of_a_lock_is_no_attempt_to_delete() {
    let (server, status, web1) = serve();
    let reader = server.add_client("reader", &["--role", "restore", "--repository", "web1"]);
    let lock = noise("lock", 150);
    store(&web1, "locks", &lock);
    assert_eq!(reader.ask("DELETE", &target("locks", &lock)).unwrap().status, 403);
    status.wait_for(&[
        ("pawl_refusals_total{reason=\"lock_of_another\"}", 1),
        ("pawl_refused_deletions_total", 0),
    ]);
}

#[test]
fn failed_logins_are_counted_and_throttled_ones_again() {
    let server = Server::build().config("credentials.failed_logins_per_minute = 1").config(ON).start();
    let status = Status::of(&server);
    let _ = server.add_host("web1", &[]);
    let nobody = server.nobody();
    assert_eq!(nobody.ask("GET", "/web1/config").unwrap().status, 401);
    let guess = || Client::new(server.address(), "web1", "guess").ask("GET", "/web1/config").unwrap();
    assert_eq!([guess().status, guess().status, guess().status], [401, 429, 429]);
    status.wait_for(&[
        ("pawl_login_failures_total", 3),
        ("pawl_logins_throttled_total", 2),
        ("pawl_requests_total{action=\"\",status=\"401\"}", 2),
    ]);
    let claimed = "pawl_received_bytes_total{principal=\"web1\"}";
    assert!(!status.metrics().contains_key(claimed), "nobody proved to be web1");
}

#[test]
fn a_damaged_copy_is_counted_when_it_is_noticed() {
    let (server, status, web1) = serve();
    let pack = noise("pack", 1000);
    store(&web1, "data", &pack);
    let path = path_of(server.data(), &target("data", &pack)[1..]);
    remove(&path);
    plant(&path, &noise("rot", 1000));
    status.wait_for(&[("pawl_damaged_copies_total", 0)]);
    assert_eq!(web1.post(&target("data", &pack), &pack).unwrap().status, 503);
    status.wait_for(&[("pawl_damaged_copies_total", 1)]);
}

#[test]
fn what_is_under_way_is_counted_until_it_ends() {
    let (server, status, web1) = serve();
    status.wait_for(&[("pawl_uploads_in_flight", 0), ("pawl_connections_open", 0)]);
    let pack = noise("pack", 1000);
    let mut connection = Connection::open(server.address()).unwrap();
    let head = web1.signed(Request::new("POST", &target("data", &pack)).header("Content-Length", "1000"));
    connection.send(&head).unwrap();
    connection.send_bytes(&pack[..500]).unwrap();
    status.wait_for(&[("pawl_uploads_in_flight", 1), ("pawl_connections_open", 1)]);
    assert_eq!(status.json("/healthz").1["connections"], 1);
    connection.send_bytes(&pack[500..]).unwrap();
    assert_eq!(connection.receive("POST").unwrap().status, 200);
    status.wait_for(&[("pawl_uploads_in_flight", 0), ("pawl_connections_open", 1)]);
    drop(connection);
    status.wait_for(&[("pawl_connections_open", 0)]);
}
