//! The keeper's process: a child of the door, or a service under a user of its own.
//!
//! Invariant: it serves one door, at the other end of one socket, and ends when that hangs up. A service lets nobody
//! in but the user that its configuration names.

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pawl_config::Demand;
use pawl_config::print::Outcome;
use pawl_config::url::{url, write_down_url};
use pawl_config::{Config, KeeperService, Log, Tls};
use pawl_config::{files, log};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use tokio::signal::unix::SignalKind;

use super::{DIRECTORY_MODE, make_directories};
use crate::cli;
use crate::http::tls;
use crate::keeper::Side;
use crate::socket;

/// Doors that wait until the one that is served hangs up: the next of the same service while the last one ends.
const BACKLOG: i32 = 4;

/// Runs the keeper that the options describe.
pub fn keeper(options: &cli::Keeper) -> Outcome {
    match (&options.config, &options.data) {
        (Some(path), _) => service(&Config::read(path)?, options.landlock_abi_max),
        (None, Some(data)) => child(data, options),
        (None, None) => Err("expected --config".into()), // clap requires one
    }
}

/// Serves the door at the other end of standard input.
fn child(data: &Path, options: &cli::Keeper) -> Outcome {
    log::start(Log { format: options.log_format, level: options.log_level });
    rustix::thread::set_name(c"pawl-keeper")?;
    leave_stopping_to_the_door()?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let side = if options.maintenance { Side::Maintenance } else { Side::Hosts };
    let demand = Demand { least: options.confinement, landlock_abi_max: options.landlock_abi_max };
    run(&socket, data, side, demand)
}

/// Serves the first door that comes, once all is there that it needs and cannot make.
fn service(config: &Config, landlock_abi_max: Option<u8>) -> Outcome {
    log::start(config.log);
    let Some(service) = &config.keeper else {
        return Err(
            "keeper_socket is missing in the configuration: without it, `pawl serve` starts the keeper by \
                    itself"
                .into(),
        );
    };
    let listener = match socket::passed_to_keeper()? {
        Some(listener) => listener,
        None => listen(&service.socket)?,
    };
    prepare(config)?;
    let door = user(&service.door)?;
    tracing::info!(data = %config.data.display(), "keeper: waiting for the door");
    let socket = accept(&listener, service, door)?;
    drop(listener);
    leave_stopping_to_the_door()?;
    run(&socket, &config.data, Side::Hosts, Demand { landlock_abi_max, ..config.confinement })
}

/// A stop is for the door, which lets uploads finish; the keeper ends when the door does.
fn leave_stopping_to_the_door() -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        signal_hook::flag::register(kind.as_raw_value(), Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

fn run(socket: &OwnedFd, data: &Path, side: Side, demand: Demand) -> Outcome {
    super::raise_descriptor_limit(); // each file that waits for its name is one
    crate::keeper::run(socket, data, side, demand).map_err(|error| -> Box<dyn Error> {
        format!("the keeper cannot work in {}: {error}", data.display()).into()
    })
}

/// Makes what a door cannot that has no right to write.
fn prepare(config: &Config) -> Outcome {
    make_directories(config)?;
    if let Tls::PrivateCa { names } = &config.tls {
        let addresses: Vec<_> = config.listen.iter().filter_map(pawl_config::Listen::address).collect();
        tls::issue(&config.data, tls::DOOR, names, &addresses, tls::Reader::Group)?;
    }
    write_down_url(config, &url(config, &config.listen));
    Ok(())
}

fn listen(path: &Path) -> std::io::Result<OwnedFd> {
    if let Some(directory) = path.parent() {
        files::make_directory(directory, DIRECTORY_MODE).map_err(std::io::Error::other)?;
    }
    socket::make_way(path)?;
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let listener = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    // Who may come in is decided by who it is. The group is that of the door.
    socket::with_mask(|| rustix::net::bind(&listener, &SocketAddrUnix::new(path)?))?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

fn accept(listener: &OwnedFd, service: &KeeperService, door: u32) -> std::io::Result<OwnedFd> {
    loop {
        let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
        let peer = sockopt::socket_peercred(&socket)?;
        let uid = peer.uid.as_raw();
        if uid == door {
            return Ok(socket);
        }
        tracing::warn!(uid, "keeper: hung up on a process that is not of the user {:?}", service.door);
    }
}

/// The number of a user of this machine.
pub fn user(name: &str) -> Result<u32, Box<dyn Error>> {
    let path = Path::new("/etc/passwd");
    let text = files::read(path)?.unwrap_or_default();
    let number = text.lines().find_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
        [user, _, uid, ..] if user == name => uid.parse().ok(),
        _ => None,
    });
    let unknown = || {
        format!(
            "keeper_for: there is no user {name:?} in {}; make one for the door, or name the one it runs as",
            path.display()
        )
    };
    Ok(number.ok_or_else(unknown)?)
}
