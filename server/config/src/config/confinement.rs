//! How frontend and keeper are confined.
//!
//! Invariant: what is demanded can be reached by what is configured.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::KeeperService;
use super::refused::Refused;

/// The user as which the frontend runs in a deployment.
const DOOR_DEFAULT: &str = "pawl";

/// How much stands between code that runs in the frontend and what is stored. In a configuration: the least that is
/// accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing but the program itself.
    Off,
    /// seccomp: the system calls that could destroy, change or name a file fail.
    #[default]
    Seccomp,
    /// Landlock as well: each of the two would do alone.
    SameUser,
    /// And everything stored belongs to another user, whose process the keeper is.
    Strong,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Seccomp => "seccomp",
            Self::SameUser => "same-user",
            Self::Strong => "strong",
        })
    }
}

impl Level {
    /// What code that runs in the frontend's process could do to what is stored.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Off => {
                "code that gets to run in the frontend's process can do whatever its user can, deleting included"
            }
            Self::Seccomp => {
                "code that gets to run in the frontend's process cannot delete or change what is stored: seccomp refuses \
                 the system calls. Landlock is missing"
            }
            Self::SameUser => {
                "code that gets to run in the frontend's process cannot delete or change what is stored: Landlock and \
                 seccomp each refuse it. Files belong to the frontend's own user"
            }
            Self::Strong => {
                "code that gets to run in the frontend's process cannot delete or change what is stored: it belongs to \
                 another user, and Landlock and seccomp each refuse it"
            }
        }
    }
}

/// What is demanded of confinement, and what is to be made of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// The least that is accepted; `Off` confines nothing.
    pub least: Level,
    /// Landlock of at most this ABI is used, as if the kernel were older. For tests; it can only weaken.
    pub landlock_abi_max: Option<u8>,
}

/// Checks what belongs together.
pub(super) fn check(
    least: Option<Level>,
    socket: Option<PathBuf>,
    door: Option<String>,
) -> Result<(Demand, Option<KeeperService>), Refused> {
    let least = least.unwrap_or_default();
    if let Some(socket) = &socket
        && !socket.is_absolute()
    {
        return Err(("keeper_socket", "expected an absolute path".to_owned()));
    }
    if socket.is_none() && door.is_some() {
        let reason = "names the user as which the frontend comes to a keeper of its own user, but keeper_socket is missing";
        return Err(("keeper_for", reason.to_owned()));
    }
    if socket.is_none() && least == Level::Strong {
        let reason = "\"strong\" needs the keeper to be a service under a user of its own: set keeper_socket, or \
                      \"same-user\", \"seccomp\" or \"off\"";
        return Err(("confinement", reason.to_owned()));
    }
    let door = door.unwrap_or_else(|| DOOR_DEFAULT.to_owned());
    let demand = Demand { least, landlock_abi_max: None };
    Ok((demand, socket.map(|socket| KeeperService { socket, door })))
}
