//! What is asked of a server, as the command line says it.
//!
//! Invariant: a work that parses prints as what was parsed, without the number of requests.

use std::fmt;
use std::str::FromStr;

use bytesize::ByteSize;

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) kind: Kind,
    /// Bytes of a file; of [`Kind::List`], files.
    pub(crate) size: u64,
    pub(crate) connections: u64,
    pub(crate) requests: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Store files.
    Put,
    /// Read whole files.
    Get,
    /// Read 64 KiB to 1 MiB out of files.
    Range,
    /// Ask for a file's size.
    Head,
    /// List all data.
    List,
    /// Send the first half of each upload, wait, and send the rest.
    Hold,
    /// Ask nothing.
    Idle,
}

const KINDS: [(&str, Kind); 7] = [
    ("put", Kind::Put),
    ("get", Kind::Get),
    ("range", Kind::Range),
    ("head", Kind::Head),
    ("list", Kind::List),
    ("hold", Kind::Hold),
    ("idle", Kind::Idle),
];

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|number| *number > 0);
        let wrong = || format!("expected KIND[/SIZE][@CONNECTIONS][xREQUESTS], found {text:?}");
        let (rest, requests) = match text.split_once('x') {
            Some((rest, digits)) => (rest, Some(number(digits).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let (rest, connections) = match rest.split_once('@') {
            Some((rest, digits)) => (rest, number(digits).ok_or_else(wrong)?),
            None => (rest, 1),
        };
        let (word, size) = match rest.split_once('/') {
            Some((word, size)) => (word, size.parse::<ByteSize>().map_err(|_| wrong())?.as_u64()),
            None => (rest, 0),
        };
        let kind = KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind).ok_or_else(wrong)?;
        Ok(Self { kind, size, connections, requests: requests.unwrap_or(connections) })
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        f.write_str(word)?;
        match (self.kind, self.size) {
            (_, 0) => {}
            (Kind::List, files) => write!(f, " {files} files")?,
            (_, bytes) => {
                let size = ByteSize::b(bytes).display().iec().to_string();
                write!(f, " {}", size.replace(".0 ", " "))?;
            }
        }
        match self.connections {
            1 => Ok(()),
            connections => write!(f, ", {connections} at a time"),
        }
    }
}
