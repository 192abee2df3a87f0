//! One connection through the line: request after request, each judged, carried to the server and answered.
//!
//! Invariant: an error of either side, and a fault that cuts, ends both connections.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

use super::head::{Head, Length};
use super::{Fault, Shared};

/// Carries all that comes from a client, then cuts both connections.
pub(super) fn connection(line: &Shared, client: &TcpStream) {
    if let Ok((number, server)) = line.connect(client) {
        line.state().carried += 1;
        // An end is an end, whatever its cause: what a client makes of it is what the test looks at.
        let _ = requests(line, number, client, &server);
        let _ = server.shutdown(Shutdown::Both);
        let mut state = line.state();
        state.carried -= 1;
        state.open.remove(&number);
        state.at_work.remove(&number);
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn requests(line: &Shared, number: usize, client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let mut from_client = BufReader::new(client);
    let mut from_server = BufReader::new(server);
    while let Some(mut request) = next(line, number, &mut from_client)? {
        let method = request.method_and_target().0.to_owned();
        let length = request.request_length();
        let fault = line.judge(&request);
        match &fault {
            Some(Fault::Answer(status, code)) => {
                body(length, &mut from_client, &mut io::sink(), u64::MAX)?;
                (&*client).write_all(&answer(&method, *status, code))?;
                continue;
            }
            Some(Fault::Cut) => return Ok(()),
            Some(Fault::Gibberish) => return (&*client).write_all(b"-gibberish\r\n\r\n"),
            Some(Fault::Delay(time)) => thread::sleep(*time),
            Some(Fault::Stall) => {
                if !line.stand_still() {
                    return Ok(());
                }
            }
            Some(Fault::StripHeader(name)) => request.strip(&format!("{name}:")),
            Some(Fault::LoseAnswer | Fault::CutAnswer(_) | Fault::StripAnswer(_)) | None => {}
        }
        // A server may answer before it has read all: so both ways at once.
        let goes_on = thread::scope(|scope| {
            let up = scope.spawn(|| {
                let sent = (&*server).write_all(&request.bytes());
                let sent = sent.and_then(|()| body(length, &mut from_client, &mut &*server, u64::MAX));
                if sent.is_err() {
                    // The server waits for the rest of it in vain, unless it learns that nothing more comes.
                    line.state().at_work.remove(&number);
                    let _ = server.shutdown(Shutdown::Write);
                }
                sent
            });
            let goes_on = take_answer(line, fault.as_ref(), &method, &mut from_server, client);
            if !matches!(goes_on, Ok(true)) {
                // Ends an upload that nobody waits for any more.
                let _ = client.shutdown(Shutdown::Both);
            }
            let up = up.join().map_err(|_| io::Error::other("the upload's thread panicked"))?;
            goes_on.and_then(|goes_on| up.map(|()| goes_on))
        })?;
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

/// The next request. The connection is at work from when the first of it is there, before that is taken.
fn next(line: &Shared, number: usize, from: &mut BufReader<&TcpStream>) -> io::Result<Option<Head>> {
    line.state().at_work.remove(&number);
    if from.buffer().is_empty() {
        poll(&mut [PollFd::new(from.get_ref(), PollFlags::IN)], None)?;
    }
    line.state().at_work.insert(number);
    Head::read(from)
}

/// Carries an answer; whether the connection goes on.
fn take_answer(
    line: &Shared,
    fault: Option<&Fault>,
    method: &str,
    server: &mut BufReader<&TcpStream>,
    client: &TcpStream,
) -> io::Result<bool> {
    let mut to_client = Counted { client, line };
    loop {
        let Some(mut answer) = Head::read(server)? else { return Ok(false) };
        let length = answer.answer_length(method);
        let is_last = answer.status() >= 200;
        if matches!(fault, Some(Fault::LoseAnswer)) && is_last {
            return Ok(false);
        }
        if let Some(Fault::StripAnswer(start)) = fault {
            answer.strip(start);
        }
        (&*client).write_all(&answer.bytes())?;
        if let Some(Fault::CutAnswer(bytes)) = fault {
            body(length, server, &mut to_client, *bytes as u64)?;
            return Ok(false);
        }
        body(length, server, &mut to_client, u64::MAX)?;
        if is_last {
            return Ok(length != Length::End && !answer.has_header("connection: close"));
        }
    }
}

/// A client, to which every byte that goes is counted.
struct Counted<'a> {
    client: &'a TcpStream,
    line: &'a Shared,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.client.write(bytes)?;
        self.line.state().answered += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.client.flush()
    }
}

/// Carries a body, or only its first `bytes_max` bytes; those of chunks' own lines count as well.
fn body(length: Length, from: &mut impl BufRead, to: &mut impl Write, bytes_max: u64) -> io::Result<()> {
    match length {
        Length::Bytes(bytes) => exactly(bytes.min(bytes_max), from, to),
        Length::End => io::copy(&mut from.take(bytes_max), to).map(|_| ()),
        Length::Chunks => {
            let mut left = bytes_max;
            loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                let digits = line.split([';', '\r']).next().unwrap_or_default();
                let size = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
                to.write_all(line.as_bytes())?;
                left = left.saturating_sub(line.len() as u64);
                exactly((size + 2).min(left), from, to)?; // with the line's end after it
                left = left.saturating_sub(size + 2);
                if size == 0 || left == 0 {
                    return Ok(());
                }
            }
        }
    }
}

fn exactly(bytes: u64, from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    if io::copy(&mut from.take(bytes), to)? < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// An error as S3 answers it.
fn answer(method: &str, status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>"
    );
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    if method == "HEAD" { head.into_bytes() } else { (head + &body).into_bytes() }
}
