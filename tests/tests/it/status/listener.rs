//! Who reaches the status listener, and what it tells nobody.
//!
//! Invariant: every attack ends by comparing everything stored.

use std::time::Instant;

use pawl_tests::clients;
use pawl_tests::command::pawl_in_vain;
use pawl_tests::http::{Body, Client, Connection, Request};
use pawl_tests::server::Server;
use pawl_tests::status::{ANNOUNCED, ON, Status};
use pawl_tests::store::plant;

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
    let refused = pawl_in_vain(["serve", "--config", config.to_str().unwrap()]).expect_code(1);
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

/// How often the threads of a process have gone to sleep: once at least for each message that one of them waited for.
fn sleeps(process: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let statuses =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap());
    let sleeps = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    statuses.map(sleeps).sum()
}

/// A173: somebody asks the status listener without end, so that the keeper does nothing but say how it does.
#[test]
fn a_flood_of_questions_to_the_status_listener_does_not_reach_the_keeper() {
    const QUESTIONS: u64 = 1000;
    /// The keeper's own threads look every tenth of a second whether there is something to do.
    const OF_ITSELF_PER_SECOND: u64 = 30;
    let server = Server::build().config(ON).start();
    let status = Status::of(&server);
    assert_eq!(status.page("/readyz").status, 200);
    let (before, started) = (sleeps(server.keeper_pid()), Instant::now());
    for _ in 0..QUESTIONS / 2 {
        assert!(status.json("/healthz").1["audit"]["number"].is_u64());
        assert_eq!(status.json("/readyz").0, 200);
    }
    let seconds = started.elapsed().as_secs() + 1;
    let asked = sleeps(server.keeper_pid()) - before;
    assert!(asked < QUESTIONS / 4 + seconds * OF_ITSELF_PER_SECOND, "{asked} in {seconds} seconds");
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
