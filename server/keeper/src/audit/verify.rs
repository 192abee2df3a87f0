//! Finding out whether an audit log is what was written.
//!
//! Invariant: one line is in memory at a time, and what is reported names the file and the line.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use pawl_config::files::FileError;
use serde::{Deserialize, Serialize};

use super::{GAP, Head, LINE_BYTES_MAX, Line, Log, NOTHING_BEFORE, hash};

/// Breaks of a log that are told apart. A log with more is not one that was changed here and there.
const BREAKS_MAX: usize = 1000;

/// The log is synced every second. What a crash left behind a gap was written in less than this, however slow the disk.
const UNSYNCED_MAX: SignedDuration = SignedDuration::from_mins(1);

/// A log without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many lines there are.
    pub lines: u64,
    /// The number of the first line.
    pub first: u64,
    /// The number of the last line.
    pub number: u64,
    /// The hash of the last line: what to keep elsewhere.
    pub head: Option<String>,
    /// Files whose end a crash cut or left with gaps; from there on they hold no record.
    pub torn: Vec<PathBuf>,
}

/// Where and how a log is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file in which that is.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A line is no record.
    #[error("{}, line {line}: this is no record: {cause}", path.display())]
    NoRecord {
        /// The file in which that is.
        path: PathBuf,
        /// Counted from 1 in this file.
        line: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// A gap that no crash has left.
    #[error(
        "{}, line {line}: expected what a crash leaves, found a gap with records of more than a minute behind it: somebody \
         hid them",
        path.display()
    )]
    Hidden {
        /// The file in which that is.
        path: PathBuf,
        /// Counted from 1 in this file: the line with the gap.
        line: u64,
    },
    /// Lines are missing or stand elsewhere.
    #[error("{}, line {line}: expected record {expected}, found {found}: records were removed or moved", path.display())]
    Gap {
        /// The file in which that is.
        path: PathBuf,
        /// Counted from 1 in this file.
        line: u64,
        /// The number that should stand here.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// The line before was changed.
    #[error("{}, line {line}: record {} is not what it was when record {number} was written", path.display(), number.saturating_sub(1))]
    Changed {
        /// The file in which that is.
        path: PathBuf,
        /// Counted from 1 in this file: the line after the changed one.
        line: u64,
        /// Its number.
        number: u64,
    },
    /// The log does not begin with its first record.
    #[error("{}, line 1: expected record 1, found {found}: the beginning was cut off", path.display())]
    Beginning {
        /// The first file.
        path: PathBuf,
        /// The number that stands there.
        found: u64,
    },
    /// A record is not the one that the checkpoint names.
    #[error("{}, line {line}: record {number} is not the one that was archived: the checkpoint names another hash", path.display())]
    NotArchived {
        /// The file in which that is.
        path: PathBuf,
        /// Counted from 1 in this file.
        line: u64,
        /// The record's number.
        number: u64,
    },
    /// The log ends before the record that follows the checkpoint.
    #[error("expected record {expected}, which follows what was archived, found none: records were removed")]
    Missing {
        /// The number that should be there.
        expected: u64,
    },
    /// The checkpoint cannot be used.
    #[error("it is not known what of the log was archived: {0}")]
    Checkpoint(#[from] FileError),
    /// The given head is the hash of no line.
    #[error(
        "no record has the hash {0}: the end was cut off or the last record changed after that head was noted, or it was \
         archived (then name that directory with --archive)"
    )]
    Cut(String),
}

/// Reads the files, which must be in order, and checks every line against the one before. With a `head` that was noted
/// elsewhere, that line must still be there.
pub fn verify(files: &[PathBuf], head: Option<&str>, mut each: impl FnMut(Line)) -> Result<Verified, Broken> {
    verify_chain(files, None, head, |_, record, _| each(record))
}

/// Reads all files of a log, which must be there from its first record on, or from where it was archived.
pub fn verify_whole(
    log: &Log,
    head: Option<&str>,
    mut each: impl FnMut(&Path, Line, &str),
) -> Result<Verified, Broken> {
    let archived = log.archived()?;
    let mut begins = Ok(());
    let mut is_first = true;
    let verified = verify_chain(&log.files, archived.as_ref(), head, |path, record, hash| {
        if std::mem::take(&mut is_first) {
            begins = begin(archived.as_ref().filter(|_| !log.has_archive), &record, path);
        }
        each(path, record, hash);
    })?;
    begins?;
    ends(archived.as_ref(), verified.number)?;
    Ok(verified)
}

fn verify_chain(
    files: &[PathBuf],
    archived: Option<&Head>,
    head: Option<&str>,
    mut each: impl FnMut(&Path, Line, &str),
) -> Result<Verified, Broken> {
    let mut verified = Verified { lines: 0, first: 0, number: 0, head: None, torn: Vec::new() };
    let is_head = |hash: &str| head == Some(hash);
    let mut head_is_there = head.is_none() || archived.is_some_and(|archived| is_head(&archived.hash));
    for path in files {
        let mut reader = open(path)?;
        let mut line = 0;
        while let Some(bytes) = next_line(path, &mut reader, line + 1)? {
            line += 1;
            let Some(bytes) = whole(&bytes) else {
                rest_is_of_a_crash(path, &mut reader, line)?;
                verified.torn.push(path.clone());
                break;
            };
            let record: Line = serde_json::from_slice(bytes).map_err(|error| Broken::NoRecord {
                path: path.clone(),
                line,
                cause: error.to_string(),
            })?;
            check(verified.head.as_deref().map(|head| (verified.number, head)), &record, path, line)?;
            let this = hash(bytes);
            check_archived(archived, record.number, &this, path, line)?;
            head_is_there |= is_head(&this);
            if verified.lines == 0 {
                verified.first = record.number;
            }
            verified.lines += 1;
            verified.number = record.number;
            each(path, record, &this);
            verified.head = Some(this);
        }
    }
    match head {
        Some(head) if !head_is_there => Err(Broken::Cut(head.to_owned())),
        _ => Ok(verified),
    }
}

/// Whether a log may begin with this record: the first one, or one that was archived or follows what was.
fn begin(archived: Option<&Head>, record: &Line, path: &Path) -> Result<(), Broken> {
    match archived {
        None if record.number != 1 => Err(Broken::Beginning { path: path.to_owned(), found: record.number }),
        Some(head) if record.number > head.number => check(Some((head.number, &head.hash)), record, path, 1),
        _ => Ok(()),
    }
}

/// Whether a record is the one that the checkpoint names, if it has that number.
fn check_archived(
    archived: Option<&Head>,
    number: u64,
    hash: &str,
    path: &Path,
    line: u64,
) -> Result<(), Broken> {
    match archived {
        Some(head) if head.number == number && head.hash != hash => {
            Err(Broken::NotArchived { path: path.to_owned(), line, number })
        }
        _ => Ok(()),
    }
}

/// Whether a log may end with the record of this number.
const fn ends(archived: Option<&Head>, number: u64) -> Result<(), Broken> {
    match archived {
        // A file is archived only where another follows.
        Some(head) if number <= head.number => {
            Err(Broken::Missing { expected: head.number.saturating_add(1) })
        }
        _ => Ok(()),
    }
}

/// A place at which a log is not what was written, with what stands there: if that changes, it is another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Break {
    /// The name of the file.
    pub file: String,
    /// Counted from 1 in this file.
    pub line: u64,
    /// SHA-256 of the line before.
    pub after: String,
    /// SHA-256 of the line.
    pub hash: String,
}

impl Break {
    /// A line with this hash, behind the line `before`.
    fn at(path: &Path, line: u64, before: Option<&Head>, hash: String) -> Self {
        Self {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            line,
            after: before.map_or_else(|| NOTHING_BEFORE.to_owned(), |before| before.hash.clone()),
            hash,
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

/// The first files of a log, which were read to their ends without a break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFiles {
    files: Vec<ReadFile>,
    /// How many lines they have.
    lines: u64,
    /// The last of these.
    pub head: Head,
}

/// A file as it was when it was read. The kernel notes the time of each change, and nobody but root can set it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ReadFile {
    name: String,
    inode: u64,
    bytes: u64,
    /// In seconds and nanoseconds.
    changed: (i64, i64),
}

impl ReadFile {
    fn look(path: &Path) -> Result<Self, Broken> {
        let looked = std::fs::metadata(path);
        let found = looked.map_err(|cause| Broken::Unreadable { path: path.to_owned(), cause })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let changed = (found.ctime(), found.ctime_nsec());
        Ok(Self { name, inode: found.ino(), bytes: found.len(), changed })
    }
}

impl ReadFiles {
    /// Whether the log still begins with these files, and nobody has touched them.
    #[must_use]
    pub fn are_unchanged(&self, log: &Log) -> bool {
        let is_unchanged =
            |(read, path): (&ReadFile, &PathBuf)| ReadFile::look(path).is_ok_and(|now| now == *read);
        log.files.len() >= self.files.len() && self.files.iter().zip(&log.files).all(is_unchanged)
    }
}

/// A log as it stands, breaks and all.
#[derive(Debug, Default)]
pub struct Past {
    /// Lines before the first break that nobody has seen.
    pub lines: u64,
    /// The last line; nothing if there is none, or reading did not come so far.
    pub head: Option<Head>,
    /// All breaks, whether somebody has seen them or not.
    pub breaks: BTreeSet<Break>,
    /// The first that nobody has seen.
    pub broken: Option<Broken>,
    /// The last line that was archived.
    pub archived: Option<Head>,
    /// All files but the last, if the log has no break; nothing if it has no other file.
    pub read: Option<ReadFiles>,
}

impl Past {
    /// Notes a break, and that nobody has seen it if that is so. Whether there is room for it.
    fn note(&mut self, at: Break, wrong: Broken, seen: &BTreeSet<Break>) -> bool {
        let has_room = self.breaks.len() < BREAKS_MAX;
        if !has_room || !seen.contains(&at) {
            self.broken.get_or_insert(wrong);
        }
        if has_room {
            self.breaks.insert(at);
        }
        has_room
    }
}

/// Reads all files of a log past its breaks, but for those that were `read` before and are unchanged. Of lines behind a break
/// that is none of those seen, nothing is told; the others come with their hashes. What cannot be read, or is cut into
/// pieces all over, cannot be seen by anybody.
pub fn verify_past(
    log: &Log,
    seen: &BTreeSet<Break>,
    read: Option<ReadFiles>,
    each: impl FnMut(Line, &str),
) -> Past {
    let mut past = Past { read, ..Past::default() };
    if let Err(broken) = read_past(log, seen, &mut past, each) {
        past.head = None;
        past.broken.get_or_insert(broken);
    }
    past.read = past.read.filter(|_| past.breaks.is_empty() && past.broken.is_none());
    past
}

/// Tells every record of these files that can be read, whatever stands before it. What follows a gap is none, but a sign of
/// what was done, and is told as well.
pub fn each_record(files: &[PathBuf], mut each: impl FnMut(Line)) -> Result<(), Broken> {
    for path in files {
        let mut reader = open(path)?;
        let mut line = 0;
        while let Some(bytes) = next_line(path, &mut reader, line + 1)? {
            line += 1;
            if let Ok(record) = serde_json::from_slice(&bytes) {
                each(record);
            }
        }
    }
    Ok(())
}

fn read_past(
    log: &Log,
    seen: &BTreeSet<Break>,
    past: &mut Past,
    mut each: impl FnMut(Line, &str),
) -> Result<(), Broken> {
    past.archived = log.archived()?;
    let mut files = Vec::new();
    if let Some(read) = &past.read {
        (past.lines, past.head) = (read.lines, Some(read.head.clone()));
        files.clone_from(&read.files);
    }
    let skipped = files.len();
    for (at, path) in log.files.iter().enumerate().skip(skipped) {
        if at > skipped {
            let (files, lines) = (files.clone(), past.lines);
            past.read = past.head.clone().map(|head| ReadFiles { files, lines, head });
        }
        files.push(ReadFile::look(path)?);
        let mut reader = open(path)?;
        let mut line = 0;
        while let Some(bytes) = next_line(path, &mut reader, line + 1)? {
            line += 1;
            let Some(bytes) = whole(&bytes) else {
                if let Err(wrong) = rest_is_of_a_crash(path, &mut reader, line) {
                    let at = Break::at(path, line, past.head.as_ref(), hash(&bytes));
                    past.note(at, wrong, seen);
                }
                break;
            };
            let before = past.head.take();
            let (record, wrong) = record(bytes, before.as_ref(), past.archived.as_ref(), path, line);
            let next = before.as_ref().map_or(1, |before| before.number.saturating_add(1));
            let head =
                Head { number: record.as_ref().map_or(next, |record| record.number), hash: hash(bytes) };
            let archived = past.archived.as_ref();
            let agrees = check_archived(archived, head.number, &head.hash, path, line);
            if let Some(wrong) = wrong.or(agrees.err())
                && !past.note(Break::at(path, line, before.as_ref(), head.hash.clone()), wrong, seen)
            {
                return Ok(()); // without a head
            }
            if let (Some(record), None) = (record, &past.broken) {
                past.lines += 1;
                each(record, &head.hash);
            }
            past.head = Some(head);
        }
    }
    ends(past.archived.as_ref(), past.head.as_ref().map_or(0, |head| head.number))
}

/// What a line says, and what is wrong with it or with its place.
fn record(
    bytes: &[u8],
    before: Option<&Head>,
    archived: Option<&Head>,
    path: &Path,
    line: u64,
) -> (Option<Line>, Option<Broken>) {
    let record: Line = match serde_json::from_slice(bytes) {
        Ok(record) => record,
        Err(error) => {
            let (path, cause) = (path.to_owned(), error.to_string());
            return (None, Some(Broken::NoRecord { path, line, cause }));
        }
    };
    let right = match before {
        None => begin(archived, &record, path),
        Some(head) => check(Some((head.number, &head.hash)), &record, path, line),
    };
    (Some(record), right.err())
}

fn check(before: Option<(u64, &str)>, record: &Line, path: &Path, line: u64) -> Result<(), Broken> {
    // The first line of the first file given has nothing to be checked against: older files may be elsewhere.
    let Some((number, head)) = before else { return Ok(()) };
    let expected = number.saturating_add(1);
    if record.number != expected {
        return Err(Broken::Gap { path: path.to_owned(), line, expected, found: record.number });
    }
    if record.previous != head {
        return Err(Broken::Changed { path: path.to_owned(), line, number: record.number });
    }
    Ok(())
}

fn open(path: &Path) -> Result<BufReader<std::fs::File>, Broken> {
    let opened = std::fs::File::open(path);
    opened.map(BufReader::new).map_err(|cause| Broken::Unreadable { path: path.to_owned(), cause })
}

/// The next line with its line feed, if it has one.
fn next_line(path: &Path, reader: &mut impl BufRead, line: u64) -> Result<Option<Vec<u8>>, Broken> {
    let mut bytes = Vec::new();
    let read = reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
    read.map_err(|cause| Broken::Unreadable { path: path.to_owned(), cause })?;
    if bytes.len() as u64 == LINE_BYTES_MAX && !bytes.contains(&GAP) {
        let cause = format!("longer than {LINE_BYTES_MAX} bytes");
        return Err(Broken::NoRecord { path: path.to_owned(), line, cause });
    }
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

/// Whether what follows a gap was written between two syncs.
fn rest_is_of_a_crash(path: &Path, reader: &mut impl BufRead, line: u64) -> Result<(), Broken> {
    let mut first = None;
    while let Some(bytes) = next_line(path, reader, line)? {
        let record = serde_json::from_slice::<Line>(&bytes).ok();
        let Some(time) = record.and_then(|record| record.time.parse::<Timestamp>().ok()) else { continue };
        if time.duration_since(*first.get_or_insert(time)) > UNSYNCED_MAX {
            return Err(Broken::Hidden { path: path.to_owned(), line });
        }
    }
    Ok(())
}

/// The line without its line feed; nothing if a crash cut it, or left a gap in it. Then no record follows in this file: the
/// log went on in the next one.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_suffix(b"\n").filter(|line| !line.contains(&GAP))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes a log of its own")]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;
    use crate::audit::{Event, file_name};

    fn write(path: &Path, text: &str) {
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// A log of six records in three files.
    fn log() -> (tempfile::TempDir, Vec<PathBuf>) {
        let place = tempfile::tempdir().unwrap();
        let mut previous = NOTHING_BEFORE.to_owned();
        let mut files = Vec::new();
        for first in [1, 3, 5] {
            let mut text = String::new();
            for number in [first, first + 1] {
                let time = "2026-11-30T00:00:00Z".to_owned();
                let line = serde_json::to_string(&Line { number, time, previous, event: Event::Started });
                let line = line.unwrap();
                previous = hash(line.as_bytes());
                text.extend([line.as_str(), "\n"]);
            }
            files.push(place.path().join(file_name(first, 0)));
            write(&files[files.len() - 1], &text);
        }
        (place, files)
    }

    fn read(place: &Path, before: Option<ReadFiles>) -> (Past, Vec<u64>) {
        let mut told = Vec::new();
        let log = Log::open(place).unwrap();
        let before = before.filter(|before| before.are_unchanged(&log));
        let past = verify_past(&log, &BTreeSet::new(), before, |line, _| told.push(line.number));
        (past, told)
    }

    #[test]
    fn files_that_were_read_are_left_out_until_somebody_touches_one() {
        let (place, files) = log();
        let (first, told) = read(place.path(), None);
        assert_eq!(told, [1, 2, 3, 4, 5, 6]);
        let (second, told) = read(place.path(), first.read.clone());
        assert_eq!(told, [5, 6]);
        assert_eq!((second.lines, &second.head, &second.read), (6, &first.head, &first.read));

        // A file that was written anew is told again, and a change in it is found.
        let whole = std::fs::read_to_string(&files[0]).unwrap();
        write(&files[0], &whole);
        let (third, told) = read(place.path(), second.read);
        assert_eq!((told.len(), third.broken.is_none()), (6, true));
        write(&files[0], &whole.replace("started", "stopped"));
        let (fourth, told) = read(place.path(), third.read);
        assert!(matches!(fourth.broken, Some(Broken::Changed { number: 2, .. })), "{:?}", fourth.broken);
        assert_eq!((told, fourth.read), (vec![1], None));
    }

    #[test]
    fn files_that_were_archived_have_all_others_read_again() {
        let (place, files) = log();
        let (first, _) = read(place.path(), None);
        std::fs::rename(&files[0], place.path().join("archived")).unwrap();
        let (second, told) = read(place.path(), first.read);
        assert!(matches!(second.broken, Some(Broken::Beginning { found: 3, .. })), "{:?}", second.broken);
        assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn records_of_minutes_behind_a_gap_are_hidden_ones() {
        for (seconds, is_broken) in [(59, false), (61, true)] {
            let (place, files) = log();
            let mut text = std::fs::read_to_string(&files[2]).unwrap();
            let head = read(place.path(), None).0.head.unwrap();
            text.push('\0');
            let (number, previous) = (7, head.hash.clone());
            for second in [0, seconds] {
                let time = (Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)).to_string();
                let line = Line { number, time, previous: previous.clone(), event: Event::Started };
                text.extend([serde_json::to_string(&line).unwrap().as_str(), "\n", "\n"]);
            }
            // The first of the two stands in the line with the gap.
            let text = text.replacen('\0', "\0\n", 1);
            write(&files[2], &text);
            let whole = verify(&files, None, |_| ());
            assert_eq!(matches!(whole, Err(Broken::Hidden { line: 3, .. })), is_broken, "{whole:?}");
            let (past, told) = read(place.path(), None);
            assert_eq!((past.broken.is_some(), past.breaks.len()), (is_broken, usize::from(is_broken)));
            assert_eq!((told.len(), past.head), (6, Some(head)));

            // Somebody has looked at it.
            let directory = Log::open(place.path()).unwrap();
            let past = verify_past(&directory, &past.breaks, None, |_, _| ());
            assert!(past.broken.is_none(), "{:?}", past.broken);
        }
    }
}
