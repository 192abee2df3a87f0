//! A bad line between a client and the server: it cuts, loses or holds up one kind of request.
//!
//! Invariant: all else passes unchanged.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::wait;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is cut before the server sees anything of it, each time.
    Cut,
    /// The first time, it reaches the server whole, and the connection is cut when the answer comes back.
    LoseAnswer,
    /// It waits until it is let through.
    Hold,
}

/// The line.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    fault: Fault,
    /// How the requests begin that the fault is for.
    start: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    faults: usize,
    let_through: bool,
    is_down: bool,
    lost: Vec<u8>,
}

impl Proxy {
    /// A line to the server with a fault for requests that begin like this, as in `POST /web1/config`.
    #[must_use]
    pub fn start(server: SocketAddr, fault: Fault, start: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            server,
            fault,
            start: start.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let line = Arc::clone(&shared);
        // Ends with the test's process, like the lines it opens.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                line.state.lock().unwrap().connections += 1;
                if let Ok(server) = TcpStream::connect(line.server) {
                    connect(&line, &client, &server);
                }
            }
        });
        Self { address, shared }
    }

    /// Where the client connects to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections clients have opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// How often the fault has happened.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.shared.state.lock().unwrap().faults
    }

    /// The start of the answer that the client never got.
    #[must_use]
    pub fn lost(&self) -> String {
        String::from_utf8_lossy(&self.shared.state.lock().unwrap().lost).into_owned()
    }

    /// Waits until the fault has happened.
    pub fn wait_for_fault(&self) {
        wait::until("the line fails", || (self.faults() > 0).then_some(()));
    }

    /// Lets through what was held up, and all that comes.
    pub fn let_through(&self) {
        self.shared.state.lock().unwrap().let_through = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    /// Cuts what is still held up.
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().is_down = true;
        self.shared.changed.notify_all();
    }
}

fn connect(shared: &Arc<Shared>, client: &TcpStream, server: &TcpStream) {
    let answer_is_lost = Arc::new(Mutex::new(false));
    let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let down = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let (line, is_lost) = (Arc::clone(shared), Arc::clone(&answer_is_lost));
    thread::spawn(move || {
        carry(up, |piece| line.judge(piece, &is_lost));
    });
    let line = Arc::clone(shared);
    thread::spawn(move || {
        carry(down, |piece| {
            let passes = !*answer_is_lost.lock().unwrap();
            if !passes {
                line.state.lock().unwrap().lost = piece.to_vec();
            }
            passes
        });
    });
}

/// Carries bytes one way for as long as `passes` says so, then cuts both ways.
fn carry((mut from, mut to): (TcpStream, TcpStream), mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let piece = buffer.get(..read).unwrap_or_default();
        if !passes(piece) || to.write_all(piece).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both); // one may be closed already
    }
}

impl Shared {
    /// Whether this piece from the client is passed on. Clients write a request's head in one piece, and never a
    /// second request before the answer to the first.
    fn judge(&self, piece: &[u8], answer_is_lost: &Mutex<bool>) -> bool {
        if self.fault == Fault::None || !piece.starts_with(self.start.as_bytes()) {
            return true;
        }
        let mut state = self.state.lock().unwrap();
        match self.fault {
            Fault::None => true,
            Fault::Cut => {
                state.faults += 1;
                false
            }
            Fault::LoseAnswer => {
                if state.faults == 0 {
                    *answer_is_lost.lock().unwrap() = true;
                    state.faults += 1;
                }
                true
            }
            Fault::Hold => {
                state.faults += 1;
                let is_held = |state: &mut State| !state.let_through && !state.is_down;
                !self.changed.wait_while(state, is_held).unwrap().is_down
            }
        }
    }
}
