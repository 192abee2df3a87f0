//! What systemd is told (`sd_notify`).

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use pawl_tests::process::Process;
use pawl_tests::server::Server;
use pawl_tests::wait::{DEADLINE, until};
use rustix::process::Signal;
use tempfile::TempDir;

/// The socket at which systemd hears how its services are.
struct Manager {
    _dir: TempDir,
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn listen() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { _dir: dir, path, socket }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The next message, one line for each fact.
    fn hear(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let len = self.socket.recv(&mut buffer).expect("the server says something");
        String::from_utf8_lossy(&buffer[..len]).lines().map(str::to_owned).collect()
    }

    /// All messages that have come and were not heard yet.
    fn pending(&self) -> Vec<Vec<String>> {
        self.socket.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            all.push(String::from_utf8_lossy(&buffer[..len]).lines().map(str::to_owned).collect());
        }
        self.socket.set_nonblocking(false).unwrap();
        all
    }
}

fn has_stopped(process: &Process) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T')
}

/// Returns when the server's clock has run for a second: so long it lets a connection be silent here.
fn until_a_silent_connection_is_closed(server: &Server) {
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn every_state_is_told_in_its_order() {
    let manager = Manager::listen();
    let mut server = Server::build().env("NOTIFY_SOCKET", manager.path()).start();
    let ready = ["READY=1".to_owned(), format!("STATUS=listening on {}", server.url())];
    assert_eq!(manager.hear(), ready);

    server.signal(Signal::HUP);
    let reloading = manager.hear();
    assert_eq!(reloading[0], "RELOADING=1");
    let began = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(began.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.hear(), ready);

    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(manager.hear()[0], "STOPPING=1");
    assert_eq!(manager.pending(), Vec::<Vec<String>>::new());
}

#[test]
fn a_server_whose_keeper_is_gone_says_that_it_stops() {
    let manager = Manager::listen();
    let mut server = Server::build().env("NOTIFY_SOCKET", manager.path()).start();
    assert_eq!(manager.hear()[0], "READY=1");
    server.keeper().signal(Signal::KILL);
    assert_eq!(server.wait().code(), Some(1));
    assert_eq!(manager.hear(), ["STOPPING=1", "STATUS=the keeper process has ended"]);
}

#[test]
fn the_watchdog_is_fed_only_while_the_keeper_answers() {
    let manager = Manager::listen();
    let mut server = Server::build()
        .env("NOTIFY_SOCKET", manager.path())
        .env("WATCHDOG_USEC", "20000") // every 10 ms
        .config("limits.header_seconds = 1")
        .start();
    assert_eq!(manager.hear()[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.hear(), ["WATCHDOG=1"]);
    }

    let keeper = server.keeper();
    keeper.signal(Signal::STOP);
    until("the keeper stands still", || has_stopped(keeper).then_some(()));
    until_a_silent_connection_is_closed(&server); // by now the last answer of the keeper is long told
    drop(manager.pending());
    until_a_silent_connection_is_closed(&server);
    assert_eq!(manager.pending(), Vec::<Vec<String>>::new(), "told that all is well, while it is not");

    keeper.signal(Signal::CONT);
    assert_eq!(manager.hear(), ["WATCHDOG=1"]);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_watchdog_of_another_process_is_left_alone() {
    let manager = Manager::listen();
    let mut server = Server::build()
        .env("NOTIFY_SOCKET", manager.path())
        .env("WATCHDOG_USEC", "20000")
        .env("WATCHDOG_PID", "1")
        .start();
    assert_eq!(manager.hear()[0], "READY=1");
    server.signal(Signal::HUP);
    assert_eq!(manager.hear()[0], "RELOADING=1");
    assert_eq!(manager.hear()[0], "READY=1");
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(manager.hear()[0], "STOPPING=1");
}

#[test]
fn a_service_manager_that_cannot_be_reached_changes_nothing() {
    let mut server = Server::build().env("NOTIFY_SOCKET", "/nonexistent/notify").start();
    let _ = server.log().wait_for_line(&["WARN", "cannot reach the service manager"]);
    server.add_client("web1", &[]).ask("GET", "/web1/config").unwrap();
    assert_eq!(server.stop().code(), Some(0));
}
