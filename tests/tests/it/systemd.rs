//! Pawl as a service of this machine: Unix sockets, sockets that are passed, what systemd is told, the units.
//!
//! Invariant: systemd itself is not needed; the tests stand in for it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod activation;
mod notify;
mod units;
mod unix_socket;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use pawl_tests::content::basic;
use pawl_tests::server::Credential;
use pawl_tests::wait::DEADLINE;

/// Asks through a Unix socket; returns the status, or nothing if the connection was closed instead.
fn ask(socket: &Path, user: &str, password: &str, target: &str) -> Option<u16> {
    let mut stream = UnixStream::connect(socket).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let authorization = basic(user, password);
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: pawl\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Asks with a credential for a repository's config, which is not there.
fn is_known(socket: &Path, credential: &Credential) -> bool {
    let target = format!("/{}/config", credential.user);
    ask(socket, &credential.user, &credential.password, &target) == Some(404)
}
