//! How door and keeper are confined, as it is written.
//!
//! Invariant: what is demanded can be reached by what is configured.

use std::path::PathBuf;

use super::KeeperService;
use super::written::Refused;
use crate::confine::{Demand, Level};

/// The user as which the door runs in a deployment.
const DOOR_DEFAULT: &str = "pawl";

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
        let reason = "names the user as which the door comes to a keeper of its own user, but keeper_socket is missing";
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
