//! Sockets that are passed (socket activation).

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use pawl_tests::command::Finished;
use pawl_tests::http::Client;
use pawl_tests::server::{Passed, Server};
use pawl_tests::wait::DEADLINE;

use super::is_known;

/// A server that is passed this and must not start.
fn refuses(sockets: Vec<OwnedFd>, names: Option<&str>) -> String {
    let data = tempfile::tempdir().unwrap();
    let mut command = Passed::new(sockets, names).command();
    command.args(["serve", "--data"]).arg(data.path()).stderr(Stdio::piped());
    let mut server = command.spawn().expect("a shell starts");
    // One that does start would never end.
    let began = Instant::now();
    while server.try_wait().unwrap().is_none() && began.elapsed() < DEADLINE {
        thread::sleep(Duration::from_millis(5));
    }
    let _ = server.kill(); // it fails only if it has ended
    let output = server.wait_with_output().unwrap();
    let finished = Finished {
        code: output.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    finished.expect_code(1).stderr
}

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn passed_sockets_are_used_in_place_of_configured_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passed.sock");
    let (tcp, unix) = (tcp(), UnixListener::bind(&path).unwrap());
    let address = tcp.local_addr().unwrap();
    let passed = vec![OwnedFd::from(tcp), OwnedFd::from(unix)];
    let configured = dir.path().join("configured.sock");
    let mut server = Server::build()
        .listen_at(&[&format!("unix:{}", configured.display())])
        .passing(passed, Some("pawl:pawl"))
        .start();

    let web1 = server.add_host("web1", &[]);
    assert_eq!(web1.repository, format!("rest:http://{address}/web1/"));
    let client = Client::new(address, &web1.user, &web1.password);
    assert_eq!(client.ask("GET", "/web1/config").unwrap().status, 404);
    assert!(is_known(&path, &web1));
    assert!(!configured.exists(), "it was bound although sockets were passed");
    let _ = server.log().wait_for_line(&["`listen`", configured.to_str().unwrap(), "not used"]);

    assert_eq!(server.stop().code(), Some(0));
    assert!(path.exists(), "what systemd made is not removed");
}

#[test]
fn a_socket_without_a_name_is_for_hosts() {
    for names in [None, Some("pawl.socket")] {
        let tcp = tcp();
        let address = tcp.local_addr().unwrap();
        let server = Server::build().passing(vec![tcp.into()], names).start();
        assert_eq!(server.url(), format!("http://{address}"));
    }
}

#[test]
fn a_passed_socket_that_other_machines_reach_gets_tls() {
    let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
    let server = Server::build()
        .config("[tls]\nnames = [\"backup.example.org\"]")
        .passing(vec![tcp.into()], Some("pawl"))
        .start();
    assert!(server.url().starts_with("https://backup.example.org:"), "{}", server.url());
}

#[test]
fn an_unknown_name_is_an_error_that_says_which_are_known() {
    let error = refuses(vec![tcp().into(), tcp().into()], Some("pawl:metrix"));
    assert!(error.contains("'metrix'") && error.contains("'pawl'"), "{error}");
}

#[test]
fn what_cannot_be_listened_on_is_refused() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = refuses(vec![tcp().into(), udp.into()], Some("pawl:pawl"));
    assert!(error.contains("number 2") && error.contains("neither"), "{error}");

    let (connection, _other_end) = UnixStream::pair().unwrap();
    let error = refuses(vec![connection.into()], Some("pawl"));
    assert!(error.contains("Accept=no"), "{error}");

    let error = refuses(vec![tcp().into()], Some("pawl:pawl:pawl"));
    assert!(error.contains("LISTEN_FDNAMES"), "{error}");
}

#[test]
fn the_keeper_gets_neither_the_sockets_nor_the_environment() {
    let server = Server::build()
        .env("NOTIFY_SOCKET", "/nonexistent/notify")
        .passing(vec![tcp().into(), tcp().into()], Some("pawl:pawl"))
        .start();
    let keeper = format!("/proc/{}", server.keeper_pid());
    assert_eq!(std::fs::read(format!("{keeper}/environ")).unwrap(), b"");
    let sockets = std::fs::read_dir(format!("{keeper}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sockets.len(), 1, "it has its end of the pair and nothing else: {sockets:?}");
}
