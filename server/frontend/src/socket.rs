//! Sockets to listen on: bound here, or passed by systemd.
//!
//! Invariant: a Unix socket that somebody listens on is never taken away. One that was made here is removed when its
//! value is dropped, if the process still may; else by whoever listens there next.

mod passed;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

pub use passed::{Passed, PassedError, passed, passed_to_keeper};
use pawl_config::Listen;
use pawl_config::files;

/// What is taken from the mode 0777 of a socket that is made here: its owner and group may connect.
const SOCKET_UMASK: Mode = Mode::XUSR.union(Mode::XGRP).union(Mode::RWXO);

/// A place cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {cause}")]
pub struct SocketError {
    /// The place.
    pub place: Listen,
    /// Why not.
    pub cause: std::io::Error,
}

/// A socket that is bound, but not yet accepted from.
#[derive(Debug)]
pub struct Bound {
    /// Removed before the socket is closed: nobody finds the name of a socket that does not answer.
    pub(crate) file: Option<SocketFile>,
    pub(crate) socket: Socket,
    place: Listen,
}

/// A socket of either kind.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds all of the places, in their order; a port of 0 becomes a free one.
pub fn bind(places: &[Listen]) -> Result<Vec<Bound>, SocketError> {
    places
        .iter()
        .map(|place| {
            match place {
                Listen::Tcp(address) => bind_tcp(*address),
                Listen::Unix(path) => bind_unix(path),
            }
            .map_err(|cause| SocketError { place: place.clone(), cause })
        })
        .collect()
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<Bound> {
    let listener = TcpListener::bind(address)?;
    Bound::of(Socket::Tcp(listener), None)
}

fn bind_unix(path: &Path) -> std::io::Result<Bound> {
    make_way(path)?;
    // The mask is the whole process's, which has only this thread yet. Changing the mode afterwards would leave a
    // moment in which everybody can connect.
    let listener = with_mask(|| UnixListener::bind(path))?;
    let file = SocketFile::at(path)?;
    Bound::of(Socket::Unix(listener), Some(file))
}

/// Makes a socket that only its owner and group may connect to.
pub fn with_mask<T>(make: impl FnOnce() -> T) -> T {
    let mask = rustix::process::umask(SOCKET_UMASK);
    let socket = make();
    rustix::process::umask(mask);
    socket
}

/// Removes a socket that a killed server left behind; refuses if somebody listens there.
pub fn make_way(path: &Path) -> std::io::Result<()> {
    // Without waiting: a server that is stuck is alive nevertheless.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::CONNREFUSED) => files::remove_socket(path),
        Ok(()) | Err(Errno::AGAIN) => {
            Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "somebody listens there already"))
        }
        Err(error) => Err(error.into()),
    }
}

impl Bound {
    fn of(socket: Socket, file: Option<SocketFile>) -> std::io::Result<Self> {
        let place = match &socket {
            Socket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Listen::Tcp(listener.local_addr()?)
            }
            Socket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or_else(|| {
                    std::io::Error::other("the socket has no path, by which clients could be told of it")
                })?;
                Listen::Unix(path.to_owned())
            }
        };
        Ok(Self { file, socket, place })
    }

    /// Where it listens, with the port that is really used.
    #[must_use]
    pub const fn place(&self) -> &Listen {
        &self.place
    }
}

/// The name of a Unix socket that was made here. Dropping it removes that, unless another socket has the name by now.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> std::io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = files::remove_socket(&self.path)
        {
            // A confined server has no right to, and a socket that nobody listens on lets nobody in.
            tracing::debug!(%error, "the name of the socket stays until the next start");
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_makes_way_and_anything_else_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let bound = bind_unix(&path).unwrap();
        assert_eq!(bind_unix(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());

        std::fs::File::create_new(&path).unwrap();
        assert!(bind_unix(&path).is_err());
        assert!(path.exists());
    }

    #[test]
    fn a_socket_of_another_under_the_same_name_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let bound = bind_unix(&path).unwrap();
        files::remove_socket(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
    }
}
