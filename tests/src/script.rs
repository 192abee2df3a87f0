//! Runs scripts: requests and what must come of them, as text.
//!
//! Invariant: every request is followed by a check of its code, and an error names file and line.
//!
//! A script has a server of its own with an empty directory. Each line is one statement; `#` starts a comment
//! line. Before a line is read, these are replaced in it:
//!
//! | text | by |
//! |---|---|
//! | `{n}` | the round, within `repeat` |
//! | `{address}` | as in `127.0.0.1:43211` |
//! | `{password of web1}` | that host's password |
//! | `{credential of web1}` | what its `Authorization` header says |
//! | `{base64 of CONTENT}` | standard base64 |
//! | `{id of CONTENT}` | the SHA-256 as 64 hex digits |
//!
//! CONTENT is one of these, or several joined by `+`:
//!
//! | CONTENT | is |
//! |---|---|
//! | `"text"` | with `\n \r \t \" \\ \x00` |
//! | `"text" * 1000` | a thousand times |
//! | `noise "seed" 1000` | a thousand bytes that look random, the same each time |
//! | `key "seed"` | a key file as restic writes it |
//! | `empty` | nothing |
//!
//! A FILE is named as in the protocol, without the first slash: `web1/data/{id of "x"}`.
//!
//! | statement | meaning |
//! |---|---|
//! | `config KEY = VALUE` | a line of the config file; only before all else |
//! | `host web1 [OPTION]…` | `pawl host add web1 [OPTION]…` |
//! | `init web1 as web1` | makes that repository: `"the config"` and `key "the first key"` are in it |
//! | `plant FILE CONTENT` | writes a file behind the server's back, or other bytes into one |
//! | `remove FILE` | removes a file or an empty directory behind the server's back |
//! | `age FILE 61` | the file was received this many minutes ago |
//! | `set FILE creator = web1` | another recorded fact |
//! | `restart` | stops the server and starts it again |
//! | `repeat 64` … `end` | the lines between, so many times |
//! | `as web1 GET /web1/config` | a request; `nobody` has no credential |
//! | `send Range: bytes=0-` | adds a header to it |
//! | `body CONTENT` | its body, with a length |
//! | `chunked CONTENT` | its body, as chunks |
//! | `cut 10 CONTENT` | its body, which ends after ten bytes |
//! | `raw CONTENT` | these bytes instead of a request |
//! | `code == 200` | sends the request; its answer has this code |
//! | `code in 400 404 none` | one of these; `none`: the connection was closed instead |
//! | `reason == text`, `reason contains text` | what follows the code |
//! | `header etag == text`, `header etag absent`, `… present` | a header of the answer |
//! | `allows GET HEAD` | the answer's `Allow`, in any order |
//! | `body == CONTENT`, `body contains CONTENT` | the answer's body |
//! | `json == […]` | the answer's body, arrays in any order |
//! | `stored FILE == CONTENT`, `absent FILE` | what lies on disk or in the bucket |
//! | `aside FILE` | a key that was set aside: kept, and shown to nobody |
//! | `fact FILE creator == web1`, `fact FILE creator absent` | a recorded fact |
//! | `mode FILE == 0440` | its permissions, where there are any |
//! | `mark` | remembers everything stored |
//! | `unchanged` | everything stored is byte-identical to the last `mark` |
//! | `kept` | everything stored at the last `mark` is still there, byte-identical; there may be more |
//! | `log lacks CONTENT` | stops the server; it never logged that |
//! | `log contains CONTENT` | stops the server; it logged that |

mod checks;
mod expression;
mod run;

use std::fs;
use std::path::{Path, PathBuf};

use crate::server::{Builder, Server};

/// Runs the script at this path against a server with a directory.
///
/// # Panics
///
/// At the first line that is wrong or does not hold.
pub fn run(path: &Path) {
    run_with(path, Server::build());
}

/// Runs the script at this path against a server that is started like this.
///
/// # Panics
///
/// At the first line that is wrong or does not hold.
pub fn run_with(path: &Path, server: Builder) {
    let outcome = fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| unroll(&text).and_then(|lines| run::run(&lines, server)).map_err(Fault::describe));
    if let Err(why) = outcome {
        fail(&format!("{}:{why}", path.display()));
    }
}

#[expect(clippy::panic, reason = "how a test fails")]
fn fail(why: &str) -> ! {
    panic!("{why}")
}

/// What is wrong with which line.
#[derive(Debug)]
struct Fault {
    line: usize,
    why: String,
}

impl Fault {
    fn describe(self) -> String {
        format!("{}: {}", self.line, self.why)
    }
}

/// A statement and where it stands.
#[derive(Debug, Clone)]
struct Line {
    number: usize,
    text: String,
}

/// The statements in the order in which they run: without comments, `repeat` written out.
fn unroll(text: &str) -> Result<Vec<Line>, Fault> {
    let mut lines = Vec::new();
    let mut block: Option<(usize, usize, Vec<Line>)> = None;
    for (index, text) in text.lines().enumerate() {
        let (number, text) = (index + 1, text.trim());
        let fault = |why: &str| Fault { line: number, why: why.to_owned() };
        if text.is_empty() || text.starts_with('#') {
        } else if let Some(rounds) = text.strip_prefix("repeat ") {
            if block.is_some() {
                return Err(fault("repeat within repeat"));
            }
            let rounds = rounds.parse().map_err(|_| fault("repeat needs a number"))?;
            block = Some((number, rounds, Vec::new()));
        } else if text == "end" {
            let (_, rounds, body) = block.take().ok_or_else(|| fault("end without repeat"))?;
            for round in 1..=rounds {
                lines.extend(body.iter().map(|line| Line {
                    number: line.number,
                    text: line.text.replace("{n}", &round.to_string()),
                }));
            }
        } else {
            let line = Line { number, text: text.to_owned() };
            match &mut block {
                Some((_, _, body)) => body.push(line),
                None => lines.push(line),
            }
        }
    }
    match block {
        Some((line, _, _)) => Err(Fault { line, why: "repeat without end".to_owned() }),
        None => Ok(lines),
    }
}

/// A test for each script of a folder, and one that none is missing.
#[macro_export]
macro_rules! scripts {
    ($folder:literal: $($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                $crate::script::run(&$crate::script::path($folder, stringify!($name)));
            }
        )*

        #[test]
        fn every_script_is_a_test() {
            assert_eq!($crate::script::names($folder), [$(stringify!($name)),*]);
        }
    };
}

/// Where the script lies.
#[must_use]
pub fn path(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name).with_extension("http")
}

/// The names of all scripts in the folder, sorted.
///
/// # Panics
///
/// When there is no such folder.
#[must_use]
pub fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| fail(&format!("{}: {error}", folder.display())));
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".http").map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::unroll;

    #[test]
    fn comments_are_skipped_and_repeats_written_out() {
        let lines = unroll("# about\n\nmark\nrepeat 2\nremove {n}\nend\n  unchanged\n").unwrap();
        let lines: Vec<_> = lines.iter().map(|line| (line.number, line.text.as_str())).collect();
        assert_eq!(lines, [(3, "mark"), (5, "remove 1"), (5, "remove 2"), (7, "unchanged")]);
    }

    #[test]
    fn an_error_names_the_line() {
        assert_eq!(unroll("mark\nrepeat 2\nmark").unwrap_err().line, 2);
        assert_eq!(unroll("mark\nend").unwrap_err().line, 2);
        assert_eq!(unroll("repeat 2\nrepeat 2\nend\nend").unwrap_err().line, 2);
    }
}
