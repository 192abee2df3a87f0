//! `pawl keeper`: a keeper that is a service under a user of its own.
//!
//! Invariant: what the frontend needs and cannot make is there before the keeper confines itself. Nobody is let in but the
//! user that the configuration names.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::Path;

use pawl_config::Demand;
use pawl_config::print::Outcome;
use pawl_config::url::{url, write_down_url};
use pawl_config::user::user;
use pawl_config::{Config, KeeperService, Tls};
use pawl_config::{files, log};
use pawl_frontend::http::tls;
use pawl_frontend::socket;
use pawl_keeper::become_keeper;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::{DIRECTORY_MODE, make_directories};
use crate::cli;

/// Frontends that wait until the one that is served hangs up: the next of the same service while the last one ends.
const BACKLOG: i32 = 4;

/// Prepares a keeper that is a service, and becomes it. Makes first what the frontend needs and cannot make.
pub fn keeper(options: &cli::Keeper) -> Outcome {
    let config = Config::read(&options.config)?;
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
    prepare(&config)?;
    tracing::info!(data = %config.data.display(), "keeper: waiting for the frontend");
    let demand = Demand { landlock_abi_max: options.landlock_abi_max, ..config.confinement };
    let socket = accept(&listener, service)?;
    let failed = become_keeper(socket, &config.data, config.log, demand);
    Err(format!("cannot become the keeper: {failed}").into())
}

/// Makes what a frontend cannot that has no right to write.
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
    // Who may come in is decided by who it is. The group is that of the frontend.
    socket::with_mask(|| rustix::net::bind(&listener, &SocketAddrUnix::new(path)?))?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Waits for a process of the frontend's user, and hangs up on others.
fn accept(listener: &OwnedFd, service: &KeeperService) -> Result<OwnedFd, Box<dyn Error>> {
    let frontend = user(&service.door)?;
    loop {
        let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
        let uid = sockopt::socket_peercred(&socket)?.uid.as_raw();
        if uid == frontend {
            return Ok(socket);
        }
        tracing::warn!(uid, "keeper: hung up on a process that is not of the user {:?}", service.door);
    }
}
