//! What is told of each repository: its last snapshot, what it holds and may hold.
//!
//! Invariant: what is told is what is stored, also after a restart.

use pawl_tests::content::noise;
use pawl_tests::server::Server;
use pawl_tests::status::Status;
use pawl_tests::store::{fact, path_of};
use pawl_tests::wait;

use super::{serve, store, target};

/// The time of the snapshot by the fact that is stored with it, in whole seconds.
fn received(server: &Server, snapshot: &[u8]) -> i64 {
    let path = path_of(server.data(), &target("snapshots", snapshot)[1..]);
    let received: i64 = fact(&path, "received").unwrap().parse().unwrap();
    received / 1000
}

#[test]
fn the_time_of_the_last_snapshot_survives_a_restart() {
    const LAST: &str = "pawl_last_snapshot_timestamp_seconds{repository=\"web1\"}";
    const CREATED: &str = "pawl_files_created_total{repository=\"web1\",type=\"snapshots\"}";
    let (mut server, status, web1) = serve();
    status.wait_for(&[(LAST, 0)]);
    let (first, second) = (noise("first", 200), noise("second", 200));
    store(&web1, "snapshots", &first);
    store(&web1, "snapshots", &second);
    status.wait_for(&[(CREATED, 2)]);
    let last = received(&server, &first).max(received(&server, &second));
    assert!(status.metrics()[LAST] >= last);
    assert_eq!(server.stop().code(), Some(0));
    server.start_again();
    let status = Status::of(&server);
    status.wait_for(&[(LAST, last)]);
    assert!(!status.metrics().contains_key(CREATED), "counted since the start");
}

#[test]
fn a_snapshot_that_says_it_is_of_the_future_is_not_the_last() {
    let (mut server, status, web1) = serve();
    let (first, second) = (noise("first", 200), noise("second", 200));
    store(&web1, "snapshots", &first);
    store(&web1, "snapshots", &second);
    let last = received(&server, &first);
    status.wait_for(&[("pawl_files_created_total{repository=\"web1\",type=\"snapshots\"}", 2)]);
    assert_eq!(server.stop().code(), Some(0));
    let ahead = (last + 400 * 24 * 3600) * 1000;
    server.set_fact(&target("snapshots", &second)[1..], "received", &ahead.to_string());
    server.start_again();
    Status::of(&server).wait_for(&[("pawl_last_snapshot_timestamp_seconds{repository=\"web1\"}", last)]);
}

#[test]
fn snapshots_are_waited_for_where_somebody_may_store_them() {
    let (server, status, web1) = serve();
    let series = |name: &str| format!("pawl_last_snapshot_timestamp_seconds{{repository=\"{name}\"}}");
    let _ = server.add_client("web2", &["--repository", "hosts/web2"]);
    status.wait_for(&[(&series("hosts/web2"), 0)]);
    let snapshot = noise("snapshot", 200);
    store(&web1, "snapshots", &snapshot);
    let _ = server.host(&["revoke", "web1"]).expect_code(0);
    wait::until("the repository that nobody has a grant for is forgotten", || {
        (!status.metrics().contains_key(&series("web1"))).then_some(())
    });
    let _ = server.add_host("web3", &["--role", "restore", "--repository", "web1"]);
    status.wait_for(&[(&series("web1"), received(&server, &snapshot))]);
}

#[test]
fn what_repositories_hold_and_may_hold_is_told() {
    let (server, status, web1) = serve();
    let _ = server.add_host("web2", &["--repository", "web1", "--quota", "1MiB", "--quota-files", "100"]);
    let (bytes, files) =
        ("pawl_repository_bytes{repository=\"web1\"}", "pawl_repository_files{repository=\"web1\"}");
    status.wait_for(&[(files, 3)]); // config and two keys
    let before = status.metrics();
    store(&web1, "data", &noise("pack", 10_000));
    store(&web1, "locks", &noise("lock", 1000));
    status.wait_for(&[
        (bytes, before[bytes] + 10_000),
        (files, before[files] + 1),
        ("pawl_quota_bytes{repository=\"web1\",principal=\"web2\"}", 1 << 20),
        ("pawl_quota_files{repository=\"web1\",principal=\"web2\"}", 100),
    ]);
    let _ = server.host(&["revoke", "web2"]).expect_code(0);
    wait::until("the quota of who has no grant any more is forgotten", || {
        let quota = "pawl_quota_bytes{repository=\"web1\",principal=\"web2\"}";
        (!status.metrics().contains_key(quota)).then_some(())
    });
}
