//! The head of an HTTP/1.1 request or answer, and how long the body is that follows.
//!
//! Invariant: written again, it is what was read, but for headers that were stripped.

use std::io::{self, BufRead};

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes.
    Bytes(u64),
    /// In chunks, the last of which is empty.
    Chunks,
    /// The connection ends.
    End,
}

/// First line and headers, each with its line ending.
#[derive(Debug)]
pub(super) struct Head {
    lines: Vec<String>,
}

impl Head {
    /// The next one; `None` if the connection ended instead.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            if line == "\r\n" {
                return Ok(Some(Self { lines }));
            }
            lines.push(line);
        }
    }

    /// All of it, with the empty line at its end.
    pub(super) fn bytes(&self) -> Vec<u8> {
        (self.lines.concat() + "\r\n").into_bytes()
    }

    /// Method and target of a request.
    pub(super) fn method_and_target(&self) -> (&str, &str) {
        let mut words = self.lines.first().map_or("", String::as_str).split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// Status of an answer.
    pub(super) fn status(&self) -> u16 {
        self.method_and_target().1.parse().unwrap_or_default()
    }

    /// Whether there is a header that begins like this, in lower case.
    pub(super) fn has_header(&self, start: &str) -> bool {
        self.headers().any(|line| line.to_ascii_lowercase().starts_with(start))
    }

    /// Takes away the headers that begin like this, in lower case.
    pub(super) fn strip(&mut self, start: &str) {
        let mut is_first = true;
        self.lines
            .retain(|line| std::mem::take(&mut is_first) || !line.to_ascii_lowercase().starts_with(start));
    }

    /// How long the body of this request is.
    pub(super) fn request_length(&self) -> Length {
        self.length().unwrap_or(Length::Bytes(0))
    }

    /// How long the body of this answer to a request with this method is.
    pub(super) fn answer_length(&self, method: &str) -> Length {
        if method == "HEAD" || matches!(self.status(), 100..=199 | 204 | 304) {
            return Length::Bytes(0);
        }
        self.length().unwrap_or(Length::End)
    }

    fn length(&self) -> Option<Length> {
        if self.has_header("transfer-encoding: chunked") {
            return Some(Length::Chunks);
        }
        let line = self.headers().find(|line| line.to_ascii_lowercase().starts_with("content-length:"))?;
        line.split_once(':')?.1.trim().parse().ok().map(Length::Bytes)
    }

    fn headers(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(1).map(String::as_str)
    }
}
