//! Sockets that systemd made and passed along (socket activation).
//!
//! Invariant: none reaches a child process, and each is a listening stream socket with a name that is known.

use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use super::{Bound, Socket};

/// What the sockets are for, by the name that systemd gives them (`FileDescriptorName=`).
const NAMES: &str = "'pawl' (the frontend) or 'status' (metrics and health)";

/// Sockets that were passed, by what they are for.
#[derive(Debug, Default)]
pub struct Passed {
    /// For hosts that back up.
    pub door: Vec<Bound>,
    /// For those who watch the server.
    pub status: Option<Bound>,
}

/// Sockets were passed that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// The variables that announce them contradict each other.
    #[error("cannot take the sockets that systemd announces (LISTEN_FDS, LISTEN_FDNAMES): {0}")]
    Announced(std::io::Error),
    /// A name that stands for nothing.
    #[error("systemd passes a socket with the name '{0}'; expected FileDescriptorName= to be {NAMES}")]
    Name(String),
    /// A socket that is not one of those that can be listened on.
    #[error("cannot listen on the socket '{name}', number {number}, that systemd passes: {cause}")]
    Socket {
        /// Its name.
        name: String,
        /// Which one, from 1.
        number: usize,
        /// Why not.
        cause: std::io::Error,
    },
}

/// Takes the sockets that were passed to this process, if any were. Call once, before there are threads.
pub fn passed() -> Result<Passed, PassedError> {
    let mut passed = Passed::default();
    // This crate knows the names and keeps the descriptors from children; the other one owns them.
    let announced = sd_notify::listen_fds_with_names().map_err(PassedError::Announced)?;
    if announced.len() == 0 {
        return Ok(passed);
    }
    let mut sockets = ListenFd::from_env();
    for (at, (_, name)) in announced.enumerate() {
        let bound = take(&mut sockets, at);
        let bound = |name| bound.map_err(|cause| PassedError::Socket { name, number: at + 1, cause });
        match name.as_str() {
            // Without FileDescriptorName= a socket has the name of its unit; without LISTEN_FDNAMES, "unknown".
            "pawl" | "pawl.socket" | "unknown" | "" => passed.door.push(bound(name)?),
            "status" => passed.status = Some(bound(name)?),
            _ => return Err(PassedError::Name(name)),
        }
    }
    Ok(passed)
}

/// Takes the socket that was passed to a keeper, if one was: of messages that keep their order (`SOCK_SEQPACKET`).
pub fn passed_to_keeper() -> Result<Option<OwnedFd>, PassedError> {
    let announced = sd_notify::listen_fds_with_names().map_err(PassedError::Announced)?;
    let names: Vec<String> = announced.map(|(_, name)| name).collect();
    let name = match &names[..] {
        [] => return Ok(None),
        [name] => name.clone(),
        [_, other, ..] => return Err(PassedError::Name(other.clone())),
    };
    let expected = "a Unix socket of messages; set ListenSequentialPacket= and Accept=no";
    let taken = ListenFd::from_env().take_custom(0, libc::AF_UNIX, libc::SOCK_SEQPACKET, expected);
    taken.map_err(|cause| PassedError::Socket { name, number: 1, cause })
}

fn take(sockets: &mut ListenFd, at: usize) -> std::io::Result<Bound> {
    let taken_twice = || std::io::Error::other("it was taken already");
    let socket = match sockets.take_tcp_listener(at) {
        Ok(listener) => Socket::Tcp(listener.ok_or_else(taken_twice)?),
        Err(_) => Socket::Unix(
            sockets
                .take_unix_listener(at)
                .map_err(|_| std::io::Error::other("it is neither a TCP nor a Unix stream socket"))?
                .ok_or_else(taken_twice)?,
        ),
    };
    let listens = match &socket {
        Socket::Tcp(listener) => rustix::net::sockopt::socket_acceptconn(listener)?,
        Socket::Unix(listener) => rustix::net::sockopt::socket_acceptconn(listener)?,
    };
    if !listens {
        return Err(std::io::Error::other("it is a connection; set Accept=no"));
    }
    Bound::of(socket, None)
}
