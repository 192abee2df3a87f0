//! Starting and stopping the server.

use std::collections::BTreeMap;
use std::net::TcpListener;

use pawl_tests::command::pawl_in_vain;
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Client, Connection, Request};
use pawl_tests::server::Server;
use pawl_tests::store::path_of;
use rustix::process::Signal;

use super::write;

/// `export NAME=VALUE` lines of what was printed.
fn exports(printed: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.trim().strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
    };
    printed.lines().filter_map(line).collect()
}

#[test]
fn the_first_start_prints_a_credential_that_works() {
    let server = Server::build().without_config().start();
    // It comes by another pipe than the log, in which the server said that it listens.
    let _ = server.output().wait_for_line(&["More hosts"]);
    let printed = server.output().text();
    let to_paste = |line: &&str| line.starts_with("export ") || line.starts_with("restic ");
    assert_eq!(printed.lines().filter(to_paste).count(), 3, "{printed}");
    let exports = exports(&printed);
    let url = exports.get("RESTIC_REPOSITORY").unwrap_or_else(|| panic!("{printed}"));
    let (_, rest) = url.split_once("://").unwrap();
    let path = rest.split_once('/').unwrap().1;
    assert!(rest.contains(&server.address().to_string()), "{printed}");
    let (user, password) = match rest.split_once('@') {
        Some((credential, _)) => credential.split_once(':').unwrap(),
        None => (
            exports.get("RESTIC_REST_USERNAME").unwrap().as_str(),
            exports.get("RESTIC_REST_PASSWORD").unwrap().as_str(),
        ),
    };
    let host = Client::new(server.address(), user, password);
    assert_eq!(host.ask("POST", &format!("/{path}?create=true")).unwrap().status, 200);
    assert!(!server.log().text().contains(password), "the password is in the log as well");
}

#[test]
fn the_second_start_adds_and_prints_nothing() {
    let mut server = Server::build().without_config().start();
    server.stop(); // so that all that it printed is there
    let printed = server.output().text();
    assert_ne!(printed, "");
    let hosts = server.host(&["list", "--json"]).expect_code(0).stdout;
    let before = server.stored();
    server.start_again();
    assert_eq!(server.host(&["list", "--json"]).expect_code(0).stdout, hosts);
    before.assert_kept(&server.stored());
    server.stop();
    assert_eq!(server.output().text(), printed);
}

#[test]
fn with_a_config_no_host_is_added_by_itself() {
    let mut server = Server::start();
    assert_eq!(server.host(&["list", "--json"]).expect_code(0).json(), serde_json::json!([]));
    server.stop();
    assert_eq!(server.output().text(), "");
}

#[test]
fn a_signal_to_stop_is_obeyed_with_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{signal:?}");
    }
}

#[test]
fn an_upload_that_has_begun_is_finished_before_the_end() {
    let mut server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let content = noise("pack", 1_000_000);
    let name = format!("web1/data/{}", id_of(&content));
    let mut connection = Connection::open(server.address()).unwrap();
    let head = Request::new("POST", &format!("/{name}"))
        .header("Content-Length", &content.len().to_string())
        .header("Expect", "100-continue");
    connection.send(&web1.signed(head)).unwrap();
    connection.wait_for_continue().unwrap();

    server.signal(Signal::TERM);
    // New connections are refused from when the server has begun to stop.
    pawl_tests::wait::until("the server takes no new connections", || web1.ask("GET", "/web1/config").err());
    connection.send_bytes(&content).unwrap();
    assert_eq!(connection.receive("POST").unwrap().status, 200);
    assert_eq!(server.wait().code(), Some(0));
    assert!(std::fs::read(path_of(server.data(), &name)).unwrap() == content);
}

#[test]
fn the_end_of_the_keeper_ends_the_server_with_a_word() {
    let mut server = Server::start();
    server.keeper().signal(Signal::KILL);
    assert_eq!(server.wait().code(), Some(1));
    let log = server.log().text();
    assert!(log.lines().any(|line| line.contains("keeper")), "{log}");
}

#[test]
fn the_keeper_does_not_outlive_the_server() {
    let mut server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    server.kill(); // waits for it
    server.start_again();
    assert_eq!(web1.ask("GET", "/web1/data/").unwrap().status, 200);
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let finished =
        pawl_in_vain(["serve", "--data", data.to_str().unwrap(), "--listen", &address]).expect_code(1);
    assert!(finished.stderr.contains(&address), "{finished:#?}");
}

#[test]
fn data_that_is_no_directory_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("occupied");
    write(&data, "a file");
    let finished =
        pawl_in_vain(["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"]).expect_code(1);
    assert!(finished.stderr.contains("occupied"), "{finished:#?}");
}

#[test]
fn every_request_is_one_line_of_the_log() {
    let mut server = Server::build().config("log.format = \"json\"").start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let id = id_of(b"a pack");
    assert_eq!(web1.post(&format!("/web1/data/{id}"), b"a pack").unwrap().status, 200);
    assert_eq!(web1.ask("DELETE", &format!("/web1/data/{id}")).unwrap().status, 403);
    server.stop();
    let text = server.log().text();
    let about = |verb: &str| -> Vec<&str> {
        text.lines().filter(|line| line.contains(&id) && line.contains(verb)).collect()
    };
    for (verb, status) in [("create data", "200"), ("delete data", "403")] {
        let [line] = about(verb)[..] else { panic!("{verb}: {text}") };
        let fields = [
            "request",
            "principal",
            "peer",
            "action",
            "repository",
            "file",
            "outcome",
            "status",
            "bytes",
            "ms",
        ];
        for word in fields.into_iter().chain(["web1", "127.0.0.1", status]) {
            assert!(line.contains(word), "{word} is missing: {line}");
        }
    }
}

#[test]
fn a_keeper_that_is_missing_or_of_another_release_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("pawl");
    // By a process of its own: another test that starts a program at this moment would hold the copy open.
    let copied =
        std::process::Command::new("cp").arg(pawl_tests::command::pawl_binary()).arg(&alone).status();
    assert!(copied.unwrap().success());
    let mut serve = std::process::Command::new(&alone);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.path().join("data"));
    let said = serve.output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && error.contains("there is no pawl-keeper"), "{error}");
    assert!(
        error.contains(dir.path().to_str().unwrap()) && error.contains("install both from one release"),
        "{error}"
    );

    let mut keeper = std::process::Command::new(pawl_tests::command::keeper_binary());
    keeper.args(["--started-by", "9.9.9", "--data"]).arg(dir.path());
    let said = keeper.output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && error.contains("was started by pawl 9.9.9"), "{error}");
}
