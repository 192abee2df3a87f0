//! A line between a client and an S3 server that does, to chosen requests, what no server does on demand.
//!
//! Invariant: all else passes unchanged, byte for byte. A rule that changes what a client signed (that strips a
//! header of a request) is for servers that do not check signatures: moto, before it requires credentials.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::port::Port;
use crate::wait;

mod carry;
mod head;

/// Looks, one after the other, at which a line has nothing to carry that is called quiet.
const QUIET_LOOKS: usize = 40;

/// Which requests a rule is for.
#[derive(Debug, Clone)]
pub struct Which {
    /// As in `PUT`; empty for any.
    pub method: String,
    /// What the target contains, such as `/data/` or `?versions`; `*` between two parts that come in this order.
    pub target: String,
    /// What a header of it begins with, such as `if-none-match:`; empty for any.
    pub header: String,
    /// Of these, which: 0 is the first. Without, all of them.
    pub nth: Option<usize>,
}

impl Which {
    /// All requests with this method whose target contains this.
    #[must_use]
    pub fn all(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), header: String::new(), nth: None }
    }

    /// The first of them.
    #[must_use]
    pub fn first(method: &str, target: &str) -> Self {
        Self::nth(method, target, 0)
    }

    /// One of them, counted from 0.
    #[must_use]
    pub fn nth(method: &str, target: &str, nth: usize) -> Self {
        Self { nth: Some(nth), ..Self::all(method, target) }
    }

    /// Only those with a header that begins like this.
    #[must_use]
    pub fn header(self, start: &str) -> Self {
        Self { header: start.to_ascii_lowercase(), ..self }
    }

    fn matches(&self, request: &head::Head) -> bool {
        let (method, target) = request.method_and_target();
        let mut rest = Some(target);
        for part in self.target.split('*') {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
        }
        (self.method.is_empty() || self.method == method)
            && rest.is_some()
            && (self.header.is_empty() || request.has_header(&self.header))
    }
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered with this error, as in 409 and `ConditionalRequestConflict`, once its body has been received.
    /// The server never sees it.
    Answer(u16, &'static str),
    /// The connection is cut before the server sees anything of it.
    Cut,
    /// It reaches the server whole and is carried out; then the connection is cut instead of an answer.
    LoseAnswer,
    /// Of the answer's body, so many bytes arrive; then the connection is cut.
    CutAnswer(usize),
    /// It waits so long before the server sees it.
    Delay(Duration),
    /// It is answered with bytes that are no answer; the server never sees it.
    Gibberish,
    /// Nothing of it is read any more, nor is it answered, until [`Faults::let_through`].
    Stall,
    /// The server sees it without this header, in lower case, such as `if-none-match`.
    StripHeader(&'static str),
    /// The answer arrives without the headers that begin like this, in lower case, such as `x-amz-checksum-`.
    StripAnswer(&'static str),
}

/// The line.
#[derive(Debug)]
pub struct Faults {
    /// Held, so that nobody else gets the port while the server is away.
    port: Port,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    /// Request lines, in the order in which they came.
    seen: Vec<String>,
    faults: usize,
    /// Connections that are carried at this moment.
    carried: usize,
    /// Bytes of answers that the client has taken.
    answered: usize,
    /// Of each connection that is carried, by its number, both ends.
    open: BTreeMap<usize, [TcpStream; 2]>,
    /// Those of them on which a request is carried that can still arrive whole.
    at_work: BTreeSet<usize>,
    opened: usize,
    is_away: bool,
    is_let_through: bool,
    is_over: bool,
}

#[derive(Debug)]
struct Rule {
    which: Which,
    fault: Fault,
    matched: usize,
}

impl Faults {
    /// A line to the server, without any fault yet.
    #[must_use]
    pub fn in_front_of(server: SocketAddr) -> Self {
        let port = Port::hold(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = port.address();
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared { server, state: Mutex::default(), changed: Condvar::new() });
        let line = Arc::clone(&shared);
        thread::spawn(move || line.listen(Some(listener), address));
        Self { port, shared }
    }

    /// Where the client connects to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Adds a rule. Of several that match a request, the one that was added first decides.
    pub fn add(&self, which: Which, fault: Fault) {
        self.shared.state().rules.push(Rule { which, fault, matched: 0 });
    }

    /// Forgets all rules.
    pub fn heal(&self) {
        self.shared.state().rules.clear();
    }

    /// Lets through what stands still, and whatever would from now on.
    pub fn let_through(&self) {
        self.shared.state().is_let_through = true;
        self.shared.changed.notify_all();
    }

    /// The server is gone: connections are cut, and new ones refused.
    pub fn go_away(&self) {
        let mut state = self.shared.state();
        state.is_away = true;
        for connection in std::mem::take(&mut state.open).into_values().flatten() {
            let _ = connection.shutdown(Shutdown::Both); // it may be closed already
        }
        drop(state);
        wait::until("connections are refused", || TcpStream::connect(self.address()).is_err().then_some(()));
    }

    /// The server is there again.
    pub fn come_back(&self) {
        self.shared.state().is_away = false;
        wait::until("connections are taken", || TcpStream::connect(self.address()).ok());
    }

    /// The requests so far, as in `PUT /bucket/key?x-id=PutObject`.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.shared.state().seen.clone()
    }

    /// How many connections there are at this moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().carried
    }

    /// How many bytes of the answers' bodies have gone to the client so far.
    #[must_use]
    pub fn answered_bytes(&self) -> usize {
        self.shared.state().answered
    }

    /// How often a rule did something.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.shared.state().faults
    }

    /// Waits until nothing is under way any more: what a client had sent when it was killed has been carried out.
    pub fn wait_until_quiet(&self) {
        let mut looks = 0;
        wait::until("the line is quiet", || {
            looks = if self.shared.state().is_quiet() { looks + 1 } else { 0 };
            (looks == QUIET_LOOKS).then_some(())
        });
    }

    /// Waits until rules did something so often.
    pub fn wait_for_faults(&self, times: usize) {
        wait::until("the line fails", || (self.faults() >= times).then_some(()));
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl State {
    /// Whether no request is carried, and nothing that clients have sent waits to be read.
    fn is_quiet(&self) -> bool {
        let waits = |[client, _]: &[TcpStream; 2]| is_readable(client, Timespec::default());
        self.at_work.is_empty() && !self.open.values().any(waits)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Takes connections as long as the server is not away.
    fn listen(self: &Arc<Self>, mut listener: Option<TcpListener>, address: SocketAddr) {
        while !self.state().is_over {
            let is_away = self.state().is_away;
            listener = match listener {
                Some(_) if is_away => None, // closed: the kernel refuses from here on
                None if !is_away => TcpListener::bind(address).ok(), // tried again if the port is not free yet
                unchanged => unchanged,
            };
            match &listener {
                Some(listener) if is_readable(listener, A_WHILE) => {
                    if let Ok((client, _)) = listener.accept() {
                        let line = Arc::clone(self);
                        thread::spawn(move || carry::connection(&line, &client));
                    }
                }
                Some(_) => {}
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// A connection to the server, for one from a client, and its number.
    fn connect(&self, client: &TcpStream) -> io::Result<(usize, TcpStream)> {
        let server = TcpStream::connect(self.server)?;
        let mut state = self.state();
        if state.is_away {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        state.opened += 1;
        let number = state.opened;
        state.open.insert(number, [client.try_clone()?, server.try_clone()?]);
        Ok((number, server))
    }

    /// What is to happen to this request.
    fn judge(&self, request: &head::Head) -> Option<Fault> {
        let mut state = self.state();
        let (method, target) = request.method_and_target();
        state.seen.push(format!("{method} {target}"));
        let mut decided = None;
        for rule in state.rules.iter_mut().filter(|rule| rule.which.matches(request)) {
            let is_meant = rule.which.nth.is_none_or(|nth| nth == rule.matched);
            rule.matched += 1;
            if is_meant && decided.is_none() {
                decided = Some(rule.fault.clone());
            }
        }
        state.faults += usize::from(decided.is_some());
        decided
    }

    /// Stands still until let through; whether it was.
    fn stand_still(&self) -> bool {
        let stands = |state: &mut State| !state.is_let_through && !state.is_over;
        !self.changed.wait_while(self.state(), stands).unwrap().is_over
    }
}

const A_WHILE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Whether somebody or something is waiting there, looked at for so long.
fn is_readable(socket: &impl AsFd, time: Timespec) -> bool {
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
}
