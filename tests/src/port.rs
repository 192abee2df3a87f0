//! A port that stays ours while nobody listens there.
//!
//! Invariant: as long as the value lives, the kernel gives the port to nobody who asks for any, and refuses whoever
//! connects while nobody listens.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

/// A port, held by a socket that never listens.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _socket: OwnedFd,
}

impl Port {
    /// Holds this port, or any that is free if it is 0. Nobody may listen there yet. From then on whoever names the port
    /// can listen there, with `SO_REUSEADDR`, as servers do; and again after an end.
    #[must_use]
    pub fn hold(address: SocketAddr) -> Self {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        set_socket_reuseaddr(&socket, true).unwrap();
        bind(&socket, &address).unwrap();
        let address = getsockname(&socket).unwrap().try_into().unwrap();
        Self { address, _socket: socket }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_port_that_is_held_refuses_until_somebody_listens_and_afterwards_again() {
        let port = Port::hold(SocketAddr::from(([127, 0, 0, 1], 0)));
        let refused = || TcpStream::connect(port.address()).unwrap_err().kind();
        for _ in 0..2 {
            assert_eq!(refused(), ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(port.address()).unwrap();
            let _client = TcpStream::connect(port.address()).unwrap();
            let _server = listener.accept().unwrap();
        }
        assert_eq!(refused(), ErrorKind::ConnectionRefused);
    }

    /// A socket without `SO_REUSEADDR` stands for whoever asks for any port: for them the kernel looks as strictly.
    #[test]
    fn a_port_that_is_held_is_taken() {
        let port = Port::hold(SocketAddr::from(([127, 0, 0, 1], 0)));
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        assert_eq!(bind(&socket, &port.address()), Err(rustix::io::Errno::ADDRINUSE));
    }
}
