//! Starting `pawl` with sockets that are open already, as systemd does.
//!
//! Invariant: they have the numbers from 3 on, and `LISTEN_PID` is the number of `pawl` itself.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use crate::command::pawl_binary;

/// Sockets to start with.
#[derive(Debug)]
pub struct Passed {
    sockets: Vec<OwnedFd>,
    names: Option<String>,
}

impl Passed {
    /// One socket or two. They come in as standard input and output, from where a shell moves them.
    #[must_use]
    pub fn new(sockets: Vec<OwnedFd>, names: Option<&str>) -> Self {
        assert!((1..=2).contains(&sockets.len()), "one socket or two");
        Self { sockets, names: names.map(str::to_owned) }
    }

    /// A `pawl` that finds them; the shell that starts it becomes it. What it prints is not kept.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut descriptors = self.sockets.iter().map(|socket| Stdio::from(socket.try_clone().unwrap()));
        let count = self.sockets.len();
        let become_pawl = format!(
            "exec 3<&0 {second} 0</dev/null 1>/dev/null; export LISTEN_PID=$$ LISTEN_FDS={count}; exec \"$0\" \"$@\"",
            second = if count == 2 { "4<&1" } else { "" },
        );
        let mut command = Command::new("sh");
        command.args(["-c", &become_pawl]).arg(pawl_binary()).env("NO_COLOR", "1");
        command.stdin(descriptors.next().unwrap());
        command.stdout(descriptors.next().unwrap_or_else(Stdio::null));
        command.envs(self.names.iter().map(|names| ("LISTEN_FDNAMES", names)));
        command
    }
}
