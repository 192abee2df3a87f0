//! The keeper as the frontend finds it: a child process of its own, or a service of another user.
//!
//! Invariant: a keeper is a program of its own. It has no descriptor of the frontend's but its end of the socket, and no
//! memory and no environment of it.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use pawl_config::Demand;
use pawl_config::{KeeperService, Log};
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::client::KeeperClient;
use super::message::{self, Refusal, Reply, Request, StagingCapabilities};
use super::tenant::Tenant;

/// The keeper's program.
const PROGRAM: &str = "pawl-keeper";
/// Where a package installs programs that users do not call.
const INSTALLED_IN: &str = "/usr/libexec/pawl";

/// How long a keeper that is a service may take to be ready: it may have to wait for the one before it to end.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long one that is just being started may take to listen.
const LISTEN_WAIT_MAX: Duration = Duration::from_secs(5);
const LISTEN_POLL: Duration = Duration::from_millis(20);

/// A keeper that is ready.
#[derive(Debug)]
pub struct KeeperProcess {
    /// None if it is a service.
    child: Option<Child>,
    socket: OwnedFd,
    footing: StagingCapabilities,
}

impl KeeperProcess {
    /// Starts a keeper of this side for `data` and waits until it is ready.
    pub fn start(data: &Path, log: Log, side: Tenant, demand: Demand) -> std::io::Result<Self> {
        let (socket, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = command(data, log, demand)?
            .args((side == Tenant::Maintenance).then_some("--maintenance"))
            .stdin(Stdio::from(theirs))
            .process_group(0) // Ctrl-C is for the frontend, which then lets uploads finish
            .spawn()?;
        match message::receive_ready(&socket)? {
            Some(footing) => Ok(Self { child: Some(child), socket, footing }),
            None => Err(std::io::Error::other("the keeper did not start; its own message stands above")),
        }
    }

    /// Connects to a keeper that is a service, and waits until it is ready.
    pub fn reach(service: &KeeperService) -> std::io::Result<Self> {
        try_reach(service).map_err(|error| {
            let cause = match Errno::from_io_error(&error) {
                Some(Errno::AGAIN) => "it does not answer; is another server connected to it?".to_owned(),
                Some(Errno::ACCESS) => format!("{error}; it is there for the user {:?}", service.door),
                _ => error.to_string(),
            };
            let place = service.socket.display();
            std::io::Error::new(error.kind(), format!("cannot reach the keeper at {place}: {cause}"))
        })
    }

    /// What it works on.
    #[must_use]
    pub const fn footing(&self) -> StagingCapabilities {
        self.footing
    }

    /// Stores a file of Pawl's own, to see whether that can be done. On a full disk it cannot, and need not.
    pub fn try_storing(&self) -> std::io::Result<()> {
        let (slot, file) = match self.ask(Request::Open { count: 1 })? {
            (Reply::Opened { slots }, files) => match (slots.first(), files.into_iter().next()) {
                (Some(slot), Some(file)) => (*slot, file),
                _ => return Err(std::io::Error::other("the keeper opened no file")),
            },
            (Reply::Refused(Refusal::Full), _) => return Ok(()),
            (reply, _) => return Err(unexpected(&reply)),
        };
        let mut file = std::fs::File::from(file);
        match file.write_all(b"stored\n").and_then(|()| file.sync_all()) {
            Err(error) if is_full(&error) => return Ok(()),
            written => written?,
        }
        drop(file);
        match self.ask(Request::Canary { slot })? {
            (Reply::Done | Reply::Refused(Refusal::Full), _) => Ok(()),
            (reply, _) => Err(unexpected(&reply)),
        }
    }

    /// Before there is a runtime there is one question at a time.
    fn ask(&self, request: Request) -> std::io::Result<(Reply, Vec<OwnedFd>)> {
        message::send(&self.socket, 0, request, &[])?;
        let (envelope, descriptors) = message::receive::<Reply>(&self.socket)?
            .ok_or_else(|| std::io::Error::other("the keeper is gone; its own message stands above"))?;
        Ok((envelope.message, descriptors))
    }

    /// Connects the asynchronous side. Needs a runtime.
    pub fn connect(self) -> std::io::Result<(KeeperClient, Option<Child>)> {
        Ok((KeeperClient::new(self.socket)?, self.child))
    }
}

/// Becomes a keeper that serves the frontend at the other end of `socket`. Returns only if it cannot.
#[must_use]
pub fn become_keeper(socket: OwnedFd, data: &Path, log: Log, demand: Demand) -> std::io::Error {
    match command(data, log, demand) {
        Ok(mut command) => command.stdin(Stdio::from(socket)).exec(),
        Err(error) => error,
    }
}

/// The keeper's program with what it has to know, and no environment.
fn command(data: &Path, log: Log, demand: Demand) -> std::io::Result<Command> {
    let mut command = Command::new(program()?);
    command
        .args(["--started-by", env!("CARGO_PKG_VERSION"), "--data"])
        .arg(data)
        .args(["--log-format", &word(&log.format), "--log-level", &word(&log.level)])
        .args(["--confinement", &word(&demand.least)])
        .args(demand.landlock_abi_max.map(|abi| format!("--landlock-abi-max={abi}")))
        .env_clear();
    Ok(command)
}

/// The keeper's program: beside this one, or where a package puts it.
fn program() -> std::io::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name(PROGRAM);
    let installed = Path::new(INSTALLED_IN).join(PROGRAM);
    [&beside, &installed].into_iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        std::io::Error::new(
            std::io::ErrorKind::NotFound,
            format!(
                "there is no {PROGRAM}, which names files for pawl: expected {} or {}; install both from one release",
                beside.display(),
                installed.display()
            ),
        )
    })
}

fn try_reach(service: &KeeperService) -> std::io::Result<KeeperProcess> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(READY_WAIT_MAX))?;
    let (address, started) = (SocketAddrUnix::new(&service.socket)?, Instant::now());
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => break,
            Err(Errno::NOENT | Errno::CONNREFUSED) if started.elapsed() < LISTEN_WAIT_MAX => {
                std::thread::sleep(LISTEN_POLL);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match message::receive_ready(&socket)? {
        Some(footing) => {
            sockopt::set_socket_timeout(&socket, Timeout::Recv, None)?;
            Ok(KeeperProcess { child: None, socket, footing })
        }
        None => Err(std::io::Error::other("it hung up; its log says why")),
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

fn unexpected(reply: &Reply) -> std::io::Error {
    let cause = match reply {
        Reply::Refused(refusal) => refusal.to_string(),
        _ => "unexpected reply".to_owned(),
    };
    std::io::Error::other(format!("the keeper could not store a file: {cause}"))
}

/// The word by which the command line knows this value.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|word| word.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::confine::Confined;

    #[test]
    fn a_keeper_whose_messages_have_another_version_is_refused() {
        let footing = StagingCapabilities {
            unnamed_files: true,
            exclusive_renames: true,
            leases: true,
            confined: Confined::not(),
            canary: false,
        };
        let said = |number: u64, cut: usize| {
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            message::send(&theirs, number, Reply::Ready(footing), &[]).unwrap();
            if cut > 0 {
                let mut bytes = [0; 64];
                let length = ours.recv(&mut bytes).unwrap();
                theirs.send(bytes.get(..length - cut).unwrap()).unwrap();
            }
            message::receive_ready(&ours).map_err(|error| error.to_string())
        };
        assert_eq!(said(message::MESSAGES_VERSION, 0).unwrap(), Some(footing));
        for (number, cut, found) in [(0, 0, "version 0"), (2, 0, "version 2"), (1, 1, "an unknown version")] {
            let refused = said(number, cut).unwrap_err();
            assert!(refused.contains(found) && refused.contains("restart both"), "{refused}");
        }
    }
}
