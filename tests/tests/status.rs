//! Metrics and health: what the status listener says of what happened.
//!
//! Invariant: every number is compared with what the test did, and every metric that a dashboard or an alert names is
//! one that the server has.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pawl_tests::clients;
use pawl_tests::command::{Finished, pawl};
use pawl_tests::content::{id_of, noise};
use pawl_tests::disk::Disk;
use pawl_tests::http::{Body, Client, Connection, Request};
use pawl_tests::program::program;
use pawl_tests::server::Server;
use pawl_tests::status::{ANNOUNCED, ON, Status};
use pawl_tests::store::{fact, path_of, plant, remove};
use pawl_tests::wait;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

/// A server with the status listener, and a host whose repository is initialised.
fn serve() -> (Server, Status, Client) {
    let server = Server::build().config(ON).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let status = Status::of(&server);
    (server, status, web1)
}

fn target(file_type: &str, content: &[u8]) -> String {
    format!("/web1/{file_type}/{}", id_of(content))
}

fn store(client: &Client, file_type: &str, content: &[u8]) {
    assert_eq!(client.post(&target(file_type, content), content).unwrap().status, 200);
}

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(name)
}

/// Runs promtool in `deploy/`, with this on its standard input.
fn promtool(args: &[&str], input: &str) -> Finished {
    let mut command = Command::new(program("promtool"));
    command.args(args).current_dir(deploy(""));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

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
    let reasons = ["role", "not_granted", "lock_of_another", "already_initialised"];
    for reason in reasons {
        status.wait_for(&[(&format!("pawl_refusals_total{{reason=\"{reason}\"}}"), 0)]);
    }
    status.wait_for(&[("pawl_refused_deletions_total", 0)]);
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
        ("pawl_refusals_total{reason=\"already_initialised\"}", 1),
    ]);
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
fn prometheus_accepts_the_metrics() {
    let (_server, status, web1) = serve();
    store(&web1, "snapshots", &noise("snapshot", 200));
    status.wait_for(&[("pawl_requests_total{action=\"create snapshots\",status=\"200\"}", 1)]);
    let page = status.page("/metrics");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let checked = promtool(&["check", "metrics"], &page.text()).expect_code(0);
    assert_eq!((checked.stdout.as_str(), checked.stderr.as_str()), ("", ""));
}

#[test]
fn the_alerts_are_raised_when_they_should_be() {
    let _ = promtool(&["check", "rules", "alerts.yml"], "").expect_code(0);
    let _ = promtool(&["test", "rules", "alerts_test.yml"], "").expect_code(0);
}

/// Every word that begins with `pawl_` in a file of `deploy/`.
fn metrics_named_in(name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(deploy(name)).unwrap();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pawl_")).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_name_only_metrics_that_there_are() {
    let (server, status, web1) = serve();
    let _ = server.add_host("limited", &["--repository", "web1", "--quota", "1MiB", "--quota-files", "9"]);
    store(&web1, "snapshots", &noise("snapshot", 200));
    let text = status.page("/metrics").text();
    let there: BTreeSet<_> = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    for name in ["grafana-dashboard.json", "alerts.yml"] {
        let named = metrics_named_in(name);
        assert!(named.len() > 5 && named.is_subset(&there), "{name}: {:?}", named.difference(&there));
    }
}

#[test]
fn prometheus_accepts_what_the_dashboard_asks() {
    let text = std::fs::read_to_string(deploy("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .map(|asked| asked.replace("$instance", ".*").replace("$__rate_interval", "5m"))
        .enumerate()
        .map(|(number, asked)| serde_json::json!({"record": format!("panel:{number}"), "expr": asked}))
        .collect();
    assert!(rules.len() > 10);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rules.yml");
    let rules = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    plant(&path, rules.to_string().as_bytes()); // JSON is YAML
    let _ = promtool(&["check", "rules", path.to_str().unwrap()], "").expect_code(0);
}

#[test]
fn health_tells_what_is_running() {
    let (_server, status, _) = serve();
    let (code, health) = status.json("/healthz");
    assert_eq!(code, 200);
    let version = pawl(["--version"]).expect_code(0).stdout;
    assert_eq!(Some(&*format!("pawl {}\n", health["version"].as_str().unwrap())), Some(&*version));
    assert_eq!(health["status"], "ok");
    assert!(health["uptime_seconds"].is_u64());
    assert_eq!(health["staging"], "unnamed");
    assert_eq!(health["leases"], true);
    assert!(health["connections"].is_u64());
    assert!(health["audit"]["number"].as_u64().unwrap() > 0);
    assert_eq!(health["audit"]["hash"].as_str().unwrap().len(), 64);
    assert_eq!(health.as_object().unwrap().len(), 7);
}

#[test]
fn what_repositories_hold_and_may_hold_is_told() {
    let (server, status, web1) = serve();
    let _ = server.add_host("web2", &["--repository", "web1", "--quota", "1MiB", "--quota-files", "100"]);
    let before = status.metrics();
    let (bytes, files) =
        ("pawl_repository_bytes{repository=\"web1\"}", "pawl_repository_files{repository=\"web1\"}");
    store(&web1, "data", &noise("pack", 1000));
    store(&web1, "locks", &noise("lock", 1000));
    status.wait_for(&[
        (bytes, before[bytes] + 1000),
        (files, before[files] + 1),
        ("pawl_quota_bytes{repository=\"web1\",principal=\"web2\"}", 1 << 20),
        ("pawl_quota_files{repository=\"web1\",principal=\"web2\"}", 100),
    ]);
    let _ = server.host(&["revoke", "web2"]).expect_code(0);
    assert!(!status.metrics().contains_key("pawl_quota_bytes{repository=\"web1\",principal=\"web2\"}"));
}

fn wait_until_ready(status: &Status) {
    wait::until("backups can be taken", || {
        (status.json("/readyz") == (200, serde_json::json!({"status": "ready"}))).then_some(())
    });
    status.wait_for(&[("pawl_ready", 1)]);
}

fn wait_until_unready(status: &Status, cause: &str) {
    let expected = (503, serde_json::json!({"status": "not ready", "cause": cause}));
    wait::until(&format!("backups cannot be taken: {cause}"), || {
        (status.json("/readyz") == expected).then_some(())
    });
    status.wait_for(&[("pawl_ready", 0)]);
}

#[test]
fn a_server_is_ready_until_the_disk_is_full() {
    let Some(disk) = Disk::new("size=64m") else { return };
    let server = Server::build().data(&disk.data()).config(ON).start();
    let status = Status::of(&server);
    wait_until_ready(&status);
    let there = status.metrics();
    assert_eq!(there["pawl_disk_size_bytes"], 64 << 20);
    assert!(there["pawl_disk_free_bytes"] > 60 << 20);
    disk.fill();
    wait_until_unready(&status, "no space left");
    assert_eq!(status.metrics()["pawl_disk_free_bytes"], 0);
    assert_eq!(status.json("/healthz").0, 200);
    disk.free();
    wait_until_ready(&status);
}

/// What is kept for locks and maintenance is no room for backups.
#[test]
fn a_server_is_not_ready_when_only_the_reserve_is_left() {
    let Some(disk) = Disk::new("size=64m") else { return };
    let server = Server::build().data(&disk.data()).config(ON).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let status = Status::of(&server);
    wait_until_ready(&status);
    plant(&disk.data().with_file_name("ballast"), &vec![0; 63 << 20]);
    wait_until_unready(&status, "no space left");
    let pack = noise("pack", 1000);
    assert_eq!(web1.post(&target("data", &pack), &pack).unwrap().status, 507);
    status.wait_for(&[("pawl_refusals_total{reason=\"room\"}", 1)]);
    assert!(status.metrics()["pawl_disk_free_bytes"] > 0);
    disk.free();
    wait_until_ready(&status);
}

#[test]
fn a_server_is_not_ready_without_inodes() {
    let Some(disk) = Disk::new("size=64m,nr_inodes=4000") else { return };
    let server = Server::build().data(&disk.data()).config(ON).start();
    let status = Status::of(&server);
    wait_until_ready(&status);
    disk.fill_with_names();
    wait_until_unready(&status, "no space left");
    disk.free();
    wait_until_ready(&status);
}

/// As on a file system that has become read-only, which cannot be had while the server has files open there.
#[test]
fn a_server_is_not_ready_while_its_keeper_can_open_no_file() {
    let (server, status, _) = serve();
    wait_until_ready(&status);
    let keeper = Pid::from_raw(server.keeper_pid().try_into().unwrap());
    let limit = |limit: Rlimit| prlimit(keeper, Resource::Nofile, limit).unwrap();
    let before = limit(Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) });
    wait_until_unready(&status, "nothing can be stored, see the server's log");
    let _ = server.log().wait_for_line(&["ERROR", "backups cannot be taken", "open files"]);
    limit(before);
    wait_until_ready(&status);
}

#[test]
fn a_server_is_not_ready_while_its_keeper_does_not_answer() {
    let (server, status, web1) = serve();
    wait_until_ready(&status);
    server.keeper().signal(Signal::STOP);
    wait_until_unready(&status, "the keeper does not answer");
    assert_eq!(status.json("/healthz").0, 200);
    assert_eq!(web1.ask("GET", "/web1/config").unwrap().status, 200);
    server.keeper().signal(Signal::CONT);
    wait_until_ready(&status);
    let _ = server.log().wait_for_line(&["INFO", "backups can be taken again"]);
}

#[test]
fn status_is_off_by_default() {
    let server = Server::start();
    assert!(!server.log().text().contains(ANNOUNCED));
    assert_eq!(server.nobody().ask("GET", "/metrics").unwrap().status, 401);
}

#[test]
fn others_are_told_only_if_the_configuration_says_public() {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("pawl.toml");
    let data = place.path().join("data");
    let text = format!(
        "data = \"{}\"\nlisten = \"127.0.0.1:0\"\n[status]\nlisten = \"0.0.0.0:0\"\n",
        data.to_str().unwrap()
    );
    plant(&config, text.as_bytes());
    let refused = pawl(["serve", "--config", config.to_str().unwrap()]).expect_code(1);
    assert!(refused.stderr.contains("pawl.toml: status.listen: "), "{}", refused.stderr);
    assert!(refused.stderr.contains("status.public = true"), "{}", refused.stderr);
    assert!(!data.exists());

    let public = "status.listen = \"0.0.0.0:0\"\nstatus.public = true";
    let server = Server::build().config(public).start();
    assert!(server.log().text().contains(&format!("{ANNOUNCED}0.0.0.0:")));
}

/// A66: somebody takes all connections of the status listener and says nothing, or half of something.
#[test]
fn the_status_listener_answers_in_spite_of_silent_connections() {
    let server = Server::build().config("limits.header_seconds = 1").config(ON).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let status = Status::of(&server);
    let before = server.stored();
    let mut open = Vec::new();
    for said in ["", "GET /metrics HT", "GET /metrics HTTP/1.1\r\nHost: a\r\n"] {
        for _ in 0..20 {
            let mut connection = Connection::open(status.address()).unwrap();
            connection.send_bytes(said.as_bytes()).unwrap();
            open.push(connection);
        }
    }
    assert_eq!(status.page("/healthz").status, 200);
    assert_eq!(web1.ask("GET", "/web1/config").unwrap().status, 200);
    before.assert_unchanged(&server.stored());
}

/// A67: somebody looks for secrets at the status listener, reaches for repositories through it, or tries to leave
/// names of their own in the metrics.
#[test]
fn the_status_listener_tells_no_secret_and_does_nothing() {
    let server = Server::build().config(ON).start();
    let credential = server.add_host("web1", &[]);
    let web2 = server.client(&clients::ready(&server, "web2"));
    let status = Status::of(&server);
    let before = server.stored();

    let guess = Client::new(server.address(), "intruder", "correct-horse");
    assert_eq!(guess.ask("GET", "/intruder-path/config").unwrap().status, 401);
    assert_eq!(web2.ask("GET", "/intruder-repository/config").unwrap().status, 403);
    assert_eq!(web2.ask("INTRUDER", "/web2/config").unwrap().status, 405);
    status.wait_for(&[
        ("pawl_requests_total{action=\"\",status=\"401\"}", 1),
        ("pawl_requests_total{action=\"\",status=\"405\"}", 1),
        ("pawl_refusals_total{reason=\"not_granted\"}", 1),
    ]);

    let host = Client::new(status.address(), &credential.user, &credential.password);
    for (method, target, code) in [
        ("GET", "/", 404),
        ("GET", "/web1/config", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/metrics/../web1/config", 404),
        ("POST", "/web1/?create=true", 404),
        ("DELETE", "/web1/config", 404),
        ("POST", "/metrics", 405),
        ("PUT", "/readyz", 405),
        ("DELETE", "/healthz", 405),
    ] {
        let request = Request::new(method, target).body(Body::Sized(b"a body".to_vec()));
        assert_eq!(host.send(request).unwrap().status, code, "{method} {target}");
    }

    let hosts = std::fs::read_to_string(server.data().join(".pawl/hosts.toml")).unwrap();
    let hashes: Vec<_> = hosts.lines().filter_map(|line| line.strip_prefix("secret_sha256 = ")).collect();
    assert_eq!(hashes.len(), 2, "{hosts}");
    for page in ["/metrics", "/healthz", "/readyz"] {
        let told = status.page(page).text().to_lowercase();
        for word in ["intruder", "correct-horse", &credential.password, server.data().to_str().unwrap()] {
            assert!(!told.contains(word), "{page} tells {word}: {told}");
        }
        for hash in &hashes {
            assert!(!told.contains(hash.trim_matches('"')), "{page} tells a hash");
        }
    }
    before.assert_unchanged(&server.stored());
}
