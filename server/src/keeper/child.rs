//! The keeper as a child process of the door.
//!
//! Invariant: it is the same program, started anew: it has no descriptor of the door's but its end of the socket, and
//! no memory and no environment of it.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use clap::ValueEnum;

use super::client::KeeperClient;
use super::message::{self, Envelope, Footing, Reply};
use super::side::Side;
use crate::config::Log;

/// The keeper as a child process.
#[derive(Debug)]
pub struct KeeperProcess {
    child: Child,
    socket: OwnedFd,
    footing: Footing,
}

impl KeeperProcess {
    /// Starts a keeper of this side for `data` and waits until it is ready.
    pub fn start(data: &Path, log: Log, side: Side) -> std::io::Result<Self> {
        let (socket, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = Command::new("/proc/self/exe")
            .arg0("pawl")
            .arg("keeper")
            .args((side == Side::Maintenance).then_some("--maintenance"))
            .arg("--data")
            .arg(data)
            .args(["--log-format", &word(&log.format), "--log-level", &word(&log.level)])
            .env_clear()
            .stdin(Stdio::from(theirs))
            .process_group(0) // Ctrl-C is for the door, which then lets uploads finish
            .spawn()?;
        match message::receive::<Reply>(&socket)? {
            Some((Envelope { message: Reply::Ready(footing), .. }, _)) => Ok(Self { child, socket, footing }),
            _ => Err(std::io::Error::other("the keeper did not start; its own message stands above")),
        }
    }

    /// What the file system offers.
    #[must_use]
    pub const fn footing(&self) -> Footing {
        self.footing
    }

    /// Connects the asynchronous side. Needs a runtime.
    pub fn connect(self) -> std::io::Result<(KeeperClient, Child)> {
        Ok((KeeperClient::new(self.socket)?, self.child))
    }
}

/// The word by which the command line knows this value.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|word| word.get_name().to_owned()).unwrap_or_default()
}
