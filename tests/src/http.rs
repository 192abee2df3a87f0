//! A blocking HTTP/1.1 client that can also misbehave.
//!
//! Invariant: what is sent is exactly what the test says; nothing is repaired, retried or followed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::content;
use crate::wait::DEADLINE;

/// What follows a request's head.
#[derive(Debug, Clone)]
pub enum Body {
    /// Nothing, and no header that announces anything.
    None,
    /// All of it, with its `Content-Length`.
    Sized(Vec<u8>),
    /// All of it as chunks, without a length.
    Chunked(Vec<u8>),
    /// The length of all of it is announced, but the body ends after `sent` bytes.
    Cut {
        /// What is announced.
        content: Vec<u8>,
        /// How much of it is sent.
        sent: usize,
    },
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// As in `GET`.
    pub method: String,
    /// As it stands in the request line.
    pub target: String,
    /// Sent as given, before those of the body. `Host` is added where missing.
    pub headers: Vec<(String, String)>,
    /// What follows.
    pub body: Body,
}

impl Request {
    /// A request without headers or body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Body::None }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name))
    }

    fn head(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let mut add = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        };
        if !self.has("host") {
            add("Host", &host.to_string());
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        if !self.has("content-length") {
            match &self.body {
                Body::Sized(content) | Body::Cut { content, .. } => {
                    add("Content-Length", &content.len().to_string());
                }
                Body::Chunked(_) => add("Transfer-Encoding", "chunked"),
                Body::None => {}
            }
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// As in 200.
    pub status: u16,
    /// What follows the status.
    pub reason: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Decoded from chunks where it came in chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The header's value, if it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection to the server.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    server: SocketAddr,
}

impl Connection {
    /// Connects.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(server)?, server)
    }

    /// Connects from another address of the loopback network, as if from another machine.
    pub fn open_from(from: Ipv4Addr, server: SocketAddr) -> io::Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddrV4::new(from, 0))?;
        connect(&socket, &server)?;
        Self::over(TcpStream::from(socket), server)
    }

    fn over(stream: TcpStream, server: SocketAddr) -> io::Result<Self> {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), server })
    }

    /// Sends these bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends nothing more; answers can still be read.
    pub fn close_sending(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        self.send_bytes(&request.head(self.server))?;
        match &request.body {
            Body::None => Ok(()),
            Body::Sized(content) => self.send_bytes(content),
            Body::Chunked(content) => {
                for chunk in content.chunks(60_000) {
                    self.send_bytes(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                    self.send_bytes(chunk)?;
                    self.send_bytes(b"\r\n")?;
                }
                self.send_bytes(b"0\r\n\r\n")
            }
            Body::Cut { content, sent } => {
                self.send_bytes(content.get(..*sent).unwrap_or(content))?;
                self.close_sending()
            }
        }
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        self.send(request)?;
        self.receive(&request.method)
    }

    /// Reads the answer to a request that was sent with this method.
    pub fn receive(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let mut response = self.receive_head()?;
            if (100..200).contains(&response.status) {
                continue;
            }
            if method != "HEAD" && response.status != 204 && response.status != 304 {
                response.body = self.receive_body(&response)?;
            }
            return Ok(response);
        }
    }

    /// Waits until the server asks for the body of a request that expects to be asked.
    pub fn wait_for_continue(&mut self) -> io::Result<()> {
        match self.receive_head()?.status {
            100 => Ok(()),
            other => Err(malformed(&format!("{other} instead of 100"))),
        }
    }

    /// Reads the head of the next answer, which may be one that asks for the body.
    pub fn receive_any(&mut self) -> io::Result<Response> {
        self.receive_head()
    }

    /// Waits until the server closes the connection; what it still sends is returned.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            Ok(_) | Err(_) => Ok(rest),
        }
    }

    fn receive_head(&mut self) -> io::Result<Response> {
        let line = self.line()?;
        let mut parts = line.splitn(3, ' ');
        let version = parts.next().unwrap_or_default();
        let status = parts.next().and_then(|status| status.parse().ok());
        let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
            return Err(malformed(&format!("status line {line:?}")));
        };
        let reason = parts.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, reason, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&format!("header {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn receive_body(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            loop {
                let line = self.line()?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(digits, 16).map_err(|_| malformed("chunk size"))?;
                if size == 0 {
                    while !self.line()?.is_empty() {}
                    return Ok(body);
                }
                self.exactly(size, &mut body)?;
                if !self.line()?.is_empty() {
                    return Err(malformed("chunk end"));
                }
            }
        }
        match head.header("content-length") {
            Some(length) => {
                self.exactly(length.parse().map_err(|_| malformed("Content-Length"))?, &mut body)?;
            }
            None => {
                self.stream.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    fn exactly(&mut self, bytes: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let got = (&mut self.stream).take(bytes).read_to_end(into)?;
        if u64::try_from(got).is_ok_and(|got| got == bytes) { Ok(()) } else { Err(closed()) }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(closed());
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what}"))
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server closed the connection before the answer was whole",
    )
}

/// Somebody who sends requests, each over a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    server: SocketAddr,
    authorization: Option<String>,
}

impl Client {
    /// Without a credential.
    #[must_use]
    pub const fn nobody(server: SocketAddr) -> Self {
        Self { server, authorization: None }
    }

    /// With a user and a password.
    #[must_use]
    pub fn new(server: SocketAddr, user: &str, password: &str) -> Self {
        Self { server, authorization: Some(content::basic(user, password)) }
    }

    /// The request with this client's credential, unless it brings one.
    #[must_use]
    pub fn signed(&self, request: Request) -> Request {
        match &self.authorization {
            Some(authorization) if !request.has("authorization") => {
                request.header("Authorization", authorization)
            }
            Some(_) | None => request,
        }
    }

    /// Sends the request and reads its answer.
    pub fn send(&self, request: Request) -> io::Result<Response> {
        Connection::open(self.server)?.exchange(&self.signed(request))
    }

    /// Sends a request without a body.
    pub fn ask(&self, method: &str, target: &str) -> io::Result<Response> {
        self.send(Request::new(method, target))
    }

    /// Uploads.
    pub fn post(&self, target: &str, content: &[u8]) -> io::Result<Response> {
        self.send(Request::new("POST", target).body(Body::Sized(content.to_vec())))
    }
}
