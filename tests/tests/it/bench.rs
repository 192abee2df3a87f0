//! The load generator of `scripts/bench`: what it prints was counted from real answers.
//!
//! Invariant: figures are compared with what the server says it did; none is a time, for machines differ.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use pawl_tests::command::{Finished, pawl_binary};
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::path_of;
use serde_json::{Value, json};

const KIB: u64 = 1024;

fn load(args: &[&str], input: &str) -> Finished {
    let mut child = Command::new(pawl_binary().with_file_name("pawl-load"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pawl-load is built beside pawl: run scripts/test, which does it");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Does these works on the server, with a client of this protocol.
fn measure(server: &Server, credential: &Credential, protocol: &str, works: &[&str]) -> Finished {
    let Credential { user, password, .. } = credential;
    let spec = format!(
        "name=pawl,pid={},url={}/web1,user={user},password={password},data={}",
        server.door_pid(),
        server.url(),
        server.data().join("web1").display()
    );
    let ca = credential.ca_file.as_ref().map(|file| file.to_str().unwrap().to_owned());
    let mut args = vec!["measure", "--place", "here", "--protocol", protocol, "--server", &spec];
    args.extend(ca.iter().flat_map(|file| ["--ca", file]));
    args.extend(works.iter().flat_map(|work| ["--work", work]));
    load(&args, "")
}

fn lines(finished: &Finished) -> Vec<Value> {
    finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Requests and bytes that a line claims.
fn claimed(line: &Value) -> (u64, u64) {
    (line["requests"].as_u64().unwrap(), line["bytes"].as_u64().unwrap())
}

/// How many requests the server answered with this outcome, and the bytes that it received and sent with them.
fn logged(server: &Server, outcome: &str) -> (u64, u64, u64) {
    let text = server.log().text();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| line["outcome"] == outcome).fold((0, 0, 0), |(requests, received, sent), line| {
        let bytes = |key: &str| line[key].as_u64().unwrap();
        (requests + 1, received + bytes("bytes_in"), sent + bytes("bytes_out"))
    })
}

#[test]
fn what_is_claimed_is_what_the_server_did() {
    const STOCK: u64 = 16;
    for (tls, protocol) in [(false, "http"), (true, "https"), (true, "h2")] {
        let builder = Server::build().config("log.format = \"json\"");
        let mut server = if tls { builder.tls() } else { builder }.start();
        let web1 = server.add_host("web1", &[]);
        let works = [
            "put/300KiB@3x7",
            "put/4KiB@16x40",
            "get/300KiB@2x20",
            "range/2MiB@2x30",
            "head/300KiB@4x50",
            "list/32@1x2",
            "hold/100KiB@5",
            "idle",
        ];
        let measured = measure(&server, &web1, protocol, &works).expect_code(0);
        let lines = lines(&measured);
        let claims: Vec<_> = lines.iter().map(claimed).collect();
        let [put, small, get, range, head, list, hold, idle] = claims[..] else {
            unreachable!("not a line for each work: {lines:?}")
        };
        assert_eq!(server.stop().code(), Some(0)); // so that its log is complete
        let (stored, received, _) = logged(&server, "stored");
        let (read, _, sent) = logged(&server, "read");
        let (found, ..) = logged(&server, "found");
        let (listed, _, listing) = logged(&server, "listed");

        assert_eq!((put, small, hold), ((7, 7 * 300 * KIB), (40, 40 * 4 * KIB), (5, 5 * 100 * KIB)));
        // What is read was stored first, and each file read once to see that it came back as it was sent.
        let stock = STOCK * 300 * KIB + STOCK * 2048 * KIB;
        assert_eq!((stored, received), (7 + 40 + 5 + 2 * STOCK, put.1 + small.1 + hold.1 + stock));
        assert_eq!((get, range.0, head), ((20, 20 * 300 * KIB), 30, (50, 0)));
        assert_eq!((read, sent), (get.0 + range.0 + 2 * STOCK, get.1 + range.1 + stock));
        assert_eq!((found, listed, listing), (head.0, list.0, list.1));
        assert_eq!((list.0, idle), (2, (0, 0)));
        let times = ["seconds", "p50_ms", "p99_ms"].map(|key| lines[0][key].as_f64().unwrap());
        assert!(times.iter().all(|time| *time > 0.0) && times[1] <= times[2], "{times:?}");
        for line in &lines {
            let [own, peak] = ["own_mib", "peak_mib"].map(|key| line[key].as_f64().unwrap());
            assert!(0.1 < own && own < peak, "{line}");
        }
        assert!(lines[5]["first_ms"].as_f64().is_some() && lines[0]["first_ms"].is_null());
        assert_eq!(lines[0]["work"], "put 300 KiB, 3 at a time");
    }
}

#[test]
fn what_was_stored_to_measure_is_removed_and_what_is_planted_is_listed() {
    let server = Server::start();
    let web1 = server.add_host("web1", &[]);
    let repository = server.data().join("web1");
    let _ = measure(&server, &web1, "http", &["put/4KiB@2x30"]).expect_code(0);
    let files = || {
        let folders = std::fs::read_dir(repository.join("data")).unwrap();
        folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    assert_eq!(files(), 0);
    let _ = load(&["plant", repository.to_str().unwrap(), "1000"], "").expect_code(0);
    assert_eq!(files(), 1000);
    let listed = measure(&server, &web1, "http", &["list/1000"]).expect_code(0);
    assert_eq!(claimed(&lines(&listed)[0]).0, 1);
    let missed = measure(&server, &web1, "http", &["list/1001"]).expect_code(1);
    assert!(missed.stderr.contains("expected at least 1001 files, found 1000"), "{}", missed.stderr);
}

#[test]
fn an_error_is_never_counted_as_an_answer() {
    let server = Server::start();
    let mut web1 = server.add_host("web1", &["--quota-files", "20"]);
    for (work, error) in [("put/4KiB@4x30", "403 Forbidden"), ("hold/4KiB@30", "403 Forbidden")] {
        let failed = measure(&server, &web1, "http", &[work]).expect_code(1);
        assert!(failed.stderr.contains(error), "{}", failed.stderr);
        assert_eq!(failed.stdout, "");
    }
    web1.password.push('x');
    let failed = measure(&server, &web1, "http", &["idle"]).expect_code(1);
    assert!(failed.stderr.contains("401 Unauthorized"), "{}", failed.stderr);
}

#[test]
fn what_a_program_costs_is_told_only_if_it_succeeds() {
    let server = Server::start();
    let pid = server.door_pid().to_string();
    let run = |program: &str| {
        let args = [
            "run", "--place", "here", "--work", "w", "--name", "pawl", "--pid", &pid, "--round", "1", "--",
            program,
        ];
        load(&args, "")
    };
    assert_eq!(claimed(&lines(&run("true").expect_code(0))[0]), (1, 0));
    assert_eq!(run("false").expect_code(1).stdout, "");
}

#[test]
fn a_report_has_medians_and_ratios_to_the_first_server() {
    let line = |server: &str, round: u32, seconds: f64, cpu_seconds: f64| {
        json!({
            "place": "disk", "protocol": "HTTP/1.1", "work": "put", "server": server, "round": round,
            "requests": 64, "bytes": 1 << 30, "seconds": seconds, "p50_ms": 2.0, "p99_ms": 4.0, "first_ms": null,
            "cpu_seconds": cpu_seconds, "peak_mib": 10.0, "own_mib": 3.0,
        })
        .to_string()
    };
    let input = [
        line("rest-server", 1, 2.0, 1.0),
        line("pawl", 1, 9.0, 9.0),
        line("rest-server", 2, 4.0, 2.0),
        line("pawl", 2, 1.0, 0.5),
        line("rest-server", 3, 2.0, 2.0),
        line("pawl", 3, 1.0, 1.0),
    ];
    let directory = tempfile::tempdir().unwrap();
    let json = path_of(directory.path(), "figures.json");
    let report = load(&["report", "--json", json.to_str().unwrap()], &input.join("\n")).expect_code(0);
    let row = "| put | pawl | 1024 (2.00x) | 64.0 (2.00x) | 2.00 (1.00x) | 4.00 (1.00x) | 1.00 (0.50x) s/GiB | 10.0 (1.00x) | 3.00 (1.00x) |";
    assert!(report.stdout.contains(row), "{}", report.stdout);
    assert!(
        report.stdout.contains("| put | rest-server | 512 | 32.0 | 2.00 | 4.00 | 2.00 s/GiB | 10.0 | 3.00 |")
    );
    let figures: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(figures["works"][0]["ratios"][1]["cpu"], 0.5);
    assert_eq!(figures["rounds"].as_array().unwrap().len(), 6);
}
