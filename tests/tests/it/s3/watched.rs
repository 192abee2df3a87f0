//! Quotas, the audit log, metrics, TLS and what is never printed, with repositories in a bucket.

use pawl_tests::bucket::Kind;
use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::pawl;
use pawl_tests::content::{base64, basic, id_of, noise};
use pawl_tests::faults::{Fault, Faults, Which};
use pawl_tests::http::{Client, Response};
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use pawl_tests::server::Server;
use pawl_tests::status::{ON, Status};
use pawl_tests::store::{Stored, plant, set_fact};
use serde_json::Value;

on_each_s3!(
    a_quota_is_reached_exactly_and_survives_a_restart,
    a_quota_in_all_counts_what_a_host_stored_wherever_it_was,
    what_a_host_stored_that_cannot_be_read_is_named_with_its_remedy,
    what_was_decided_is_in_the_audit_log,
    what_happens_and_what_is_held_is_counted,
    no_secret_of_hosts_or_of_the_store_is_printed,
    restic_speaks_https_to_the_door,
);

fn created(server: &Server, name: &str, options: &[&str]) -> Client {
    let client = server.add_client(name, options);
    assert_eq!(client.ask("POST", &format!("/{name}/?create=true")).unwrap().status, 200);
    client
}

fn target(repository: &str, kind: &str, content: &[u8]) -> String {
    format!("/{repository}/{kind}/{}", id_of(content))
}

fn post(client: &Client, repository: &str, kind: &str, content: &[u8]) -> Response {
    client.post(&target(repository, kind, content), content).unwrap()
}

fn told(response: &Response) -> (u16, &str) {
    (response.status, &response.reason)
}

fn a_quota_is_reached_exactly_and_survives_a_restart(s3: &S3) {
    let mut server = Server::on(s3);
    let web1 = created(&server, "web1", &["--quota", "30000B"]);
    assert_eq!(post(&web1, "web1", "data", &noise("first", 10_000)).status, 200);
    let used_up = (403, "quota of this repository is used up");
    assert_eq!(told(&post(&web1, "web1", "data", &noise("too large", 20_001))), used_up);
    assert_eq!(post(&web1, "web1", "data", &noise("just right", 20_000)).status, 200);
    for _ in 0..2 {
        assert_eq!(post(&web1, "web1", "data", &noise("first", 10_000)).status, 200, "is there already");
        assert_eq!(post(&web1, "web1", "locks", &noise("a lock", 200)).status, 200);
        assert_eq!(told(&post(&web1, "web1", "data", &noise("one byte", 1))), used_up);
        assert!(server.stop().success());
        server.start_again();
    }
}

fn what_a_host_stored_that_cannot_be_read_is_named_with_its_remedy(s3: &S3) {
    let server = Server::on(s3);
    let web1 = created(&server, "web1", &["--total-quota", "1MiB"]);
    assert_eq!(post(&web1, "web1", "data", &noise("one", 10_000)).status, 200);
    let counted = server.data().join(".pawl/usage/web1");
    set_fact(&counted, "tallied", "of a newer Pawl");
    assert_eq!(post(&web1, "web1", "data", &noise("two", 10_000)).status, 503);
    let _ =
        server.log().wait_for_line(&["setfattr -n user.pawl.tallied -v '1 BYTES FILES' .pawl/usage/web1"]);
    set_fact(&counted, "tallied", "1 12288 1");
    assert_eq!(post(&web1, "web1", "data", &noise("two", 10_000)).status, 200);
}

fn a_quota_in_all_counts_what_a_host_stored_wherever_it_was(s3: &S3) {
    let mut server = Server::on(s3);
    let options = ["--repository", "web1", "--repository", "web2", "--total-quota", "20000B"];
    let host = server.add_client("host", &options);
    for repository in ["web1", "web2"] {
        assert_eq!(host.ask("POST", &format!("/{repository}/?create=true")).unwrap().status, 200);
    }
    assert_eq!(post(&host, "web1", "data", &noise("one", 10_000)).status, 200);
    assert_eq!(post(&host, "web2", "data", &noise("two", 10_000)).status, 200);
    for _ in 0..2 {
        let refused = post(&host, "web1", "data", &noise("three", 10_000));
        assert_eq!(told(&refused), (403, "quota of this host is used up"));
        assert_eq!(post(&host, "web2", "data", &noise("two", 10_000)).status, 200, "is there already");
        assert!(server.stop().success());
        server.start_again();
    }
}

fn what_was_decided_is_in_the_audit_log(s3: &S3) {
    let mut server = Server::on(s3);
    let web1 = created(&server, "web1", &[]);
    let snapshot = noise("a snapshot", 1000);
    assert_eq!(post(&web1, "web1", "snapshots", &snapshot).status, 200);
    let before = server.stored();
    assert_eq!(web1.ask("DELETE", &target("web1", "snapshots", &snapshot)).unwrap().status, 403);
    assert_eq!(web1.ask("GET", "/web2/data/").unwrap().status, 403);
    before.assert_unchanged(&server.stored());
    assert!(server.stop().success());

    let data = server.data().to_str().unwrap().to_owned();
    let _ = pawl(["audit", "verify", "--data", &data]).expect_code(0);
    let shown = pawl(["audit", "show", "--json", "--principal", "web1", "--data", &data]).expect_code(0);
    let records: Vec<Value> = shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decisions: Vec<_> = records
        .iter()
        .map(|record| format!("{} {}", record["action"].as_str().unwrap(), record["status"]))
        .collect();
    let expected = ["create repository 200", "create snapshots 200", "delete snapshots 403", "list data 403"];
    assert_eq!(decisions, expected);
    assert_eq!((&records[1]["outcome"], &records[1]["bytes_in"]), (&"stored".into(), &1000.into()));
    let id = id_of(&snapshot);
    assert_eq!(records[1]["file"], format!("snapshots/{id}"));

    let readable = pawl(["audit", "show", "--principal", "web1", "--data", &data]).expect_code(0);
    for words in ["added to web1: 1 of snapshots, 1000 B", "refused: 2", &format!("{} in web1", &id[..8])] {
        assert!(readable.stdout.contains(words), "expected {words:?} in {}", readable.stdout);
    }
}

fn what_happens_and_what_is_held_is_counted(s3: &S3) {
    let bucket = s3.bucket("counted", Kind::Versioned);
    let server = Server::build().bucket(&bucket).config(ON).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let _ = server.add_host("web2", &["--repository", "web1", "--quota", "1MiB"]);
    let status = Status::of(&server);
    let before = status.metrics();
    let (bytes, files) =
        ("pawl_repository_bytes{repository=\"web1\"}", "pawl_repository_files{repository=\"web1\"}");
    let pack = noise("pack", 300_000);
    for _ in 0..2 {
        assert_eq!(post(&web1, "web1", "data", &pack).status, 200);
    }
    assert_eq!(post(&web1, "web1", "locks", &noise("a lock", 200)).status, 200);
    assert_eq!(web1.ask("GET", &target("web1", "data", &pack)).unwrap().body.len(), 300_000);
    status.wait_for(&[
        ("pawl_requests_total{action=\"create data\",status=\"200\"}", 2),
        ("pawl_requests_total{action=\"read data\",status=\"200\"}", 1),
        ("pawl_files_created_total{repository=\"web1\",type=\"data\"}", 1),
        ("pawl_sent_bytes_total{principal=\"web1\"}", 300_000),
        (bytes, before[bytes] + 300_000),
        (files, before[files] + 1),
        ("pawl_quota_bytes{repository=\"web1\",principal=\"web2\"}", 1 << 20),
    ]);
}

/// Everything that can be said is said, of what works and of what fails at the store.
fn no_secret_of_hosts_or_of_the_store_is_printed(s3: &S3) {
    let bucket = s3.bucket("silent", Kind::Versioned);
    let line = Faults::in_front_of(s3.address());
    let config = format!("{ON}\nlog.level = \"trace\"");
    let mut server = Server::build().bucket(&bucket.through(line.address())).config(&config).start();
    let credential = clients::ready(&server, "web1");
    let web1 = server.client(&credential);
    assert_eq!(post(&web1, "web1", "data", &noise("pack", 300_000)).status, 200);
    line.add(Which::all("PUT", "/index/"), Fault::Answer(403, "SignatureDoesNotMatch"));
    line.add(Which::first("PUT", "/snapshots/"), Fault::LoseAnswer);
    line.add(
        Which::all("GET", "prefix=backup%2Frestic%2Fweb1%2Fsnapshots"),
        Fault::Answer(403, "AccessDenied"),
    );
    assert_eq!(post(&web1, "web1", "index", &noise("index", 1000)).status, 503);
    assert_eq!(post(&web1, "web1", "snapshots", &noise("snapshot", 1000)).status, 200);
    assert_eq!(web1.ask("GET", "/web1/snapshots/").unwrap().status, 503);
    assert_eq!(line.faults(), 3);
    let wrong = Client::new(server.address(), "web1", "hunter2-guess");
    assert_eq!(wrong.ask("GET", "/web1/config").unwrap().status, 401);
    let pages =
        ["/metrics", "/healthz", "/readyz"].map(|page| Status::of(&server).page(page).text()).concat();
    let title = std::fs::read_to_string(format!("/proc/{}/cmdline", server.door_pid())).unwrap();
    server.stop();

    let printed = server.log().text() + &server.output().text() + &title + &pages;
    assert!(printed.contains("SignatureDoesNotMatch"), "the log says all:\n{printed}");
    let password = credential.password.strip_prefix("pawl_").unwrap();
    let encoded = basic(&credential.user, &credential.password);
    let secrets = [
        &bucket.access().secret,
        &base64(bucket.access().secret.as_bytes()),
        password,
        encoded.strip_prefix("Basic ").unwrap(),
        "hunter2-guess",
    ];
    for secret in secrets {
        let around = printed.find(secret).map(|at| {
            let begin = printed[..at].rfind('\n').unwrap_or_default();
            printed[begin..].lines().take(2).collect::<Vec<_>>().join("\n")
        });
        assert_eq!(around, None, "{secret} is printed");
    }
}

fn restic_speaks_https_to_the_door(s3: &S3) {
    let bucket = s3.bucket("https", Kind::Versioned);
    let server = Server::build().bucket(&bucket).tls().start();
    let restic = Restic::new(Version::V0_19, &server.add_host("web1", &[]));
    let files = restic.home().join("files");
    plant(&files.join("noise"), &noise("https", 40 << 20));
    restic.succeed(["init"]);
    let before = server.stored();
    restic.backup(&files);
    restic.check();
    Stored::read(&files).assert_unchanged(&Stored::read(&restic.restore(&files, &[])));
    before.assert_kept(&server.stored());
}
