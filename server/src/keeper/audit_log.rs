//! Writing the audit log.
//!
//! Invariant: files are opened for appending only; a line is written whole with the hash of the one before. What
//! cannot be written is counted, and the count is written as soon as anything can be.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{directory, facts, layout};
use crate::audit::{Event, Head, LINE_BYTES_MAX, Line, NOTHING_BEFORE, file_name, hash};

/// A file is followed by the next one at this size: some 200,000 lines.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The log is for its owner and the group, as is what it tells of.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// The end of the audit log.
#[derive(Debug)]
pub(super) struct AuditLog {
    directory: OwnedFd,
    file: Option<File>,
    /// Bytes in the current file.
    bytes: u64,
    /// Number and hash of the last line.
    number: u64,
    head: String,
    /// Lines that could not be written.
    lost: u64,
    unsynced: bool,
}

impl AuditLog {
    /// Opens the log beneath `data` and finds its last line. A line that a crash cut is left where it is; the next one
    /// begins a file.
    pub(super) fn open(data: impl AsFd) -> std::io::Result<Self> {
        let directory = directory::open_or_make(data, layout::AUDIT)?;
        let mut log = Self {
            directory,
            file: None,
            bytes: 0,
            number: 0,
            head: NOTHING_BEFORE.to_owned(),
            lost: 0,
            unsynced: false,
        };
        for (older, name) in log.file_names()?.iter().rev().enumerate() {
            let mut file = log.open_file(name)?;
            let (last, whole) = last_line(&mut file)?;
            if let Some(last) = last {
                let line: Line = serde_json::from_slice(&last).map_err(std::io::Error::other)?;
                log.number = line.number;
                log.head = hash(&last);
                if older == 0 && whole {
                    log.bytes = file.metadata()?.len();
                    log.file = Some(file);
                }
                break;
            }
        }
        Ok(log)
    }

    /// Appends one line. If that is impossible, it is counted as lost.
    pub(super) fn append(&mut self, event: Event) {
        if self.lost > 0 {
            let lines = self.lost;
            if self.try_append(Event::Lost { lines }).is_ok() {
                self.lost = 0;
            }
        }
        if let Err(error) = self.try_append(event) {
            if self.lost == 0 {
                tracing::error!(%error, "the audit log cannot be written; what is missing will be counted");
            }
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn try_append(&mut self, event: Event) -> std::io::Result<()> {
        let number = self.number.saturating_add(1);
        let time = Timestamp::from_millisecond(i64::try_from(facts::now_ms()).unwrap_or(i64::MAX))
            .unwrap_or(Timestamp::MAX)
            .to_string();
        let line = Line { number, time, previous: self.head.clone(), event };
        let mut bytes = serde_json::to_vec(&line).map_err(std::io::Error::other)?;
        let head = hash(&bytes);
        bytes.push(b'\n');
        if self.bytes >= FILE_BYTES_MAX || self.file.is_none() {
            self.begin_file(number)?;
        }
        let Some(file) = &mut self.file else { return Err(std::io::Error::other("no file is open")) };
        if let Err(error) = file.write_all(&bytes) {
            self.file = None; // a part of the line may stand there: leave it, and begin a file
            self.bytes = FILE_BYTES_MAX;
            return Err(error);
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.number = number;
        self.head = head;
        self.unsynced = true;
        Ok(())
    }

    fn begin_file(&mut self, number: u64) -> std::io::Result<()> {
        self.sync()?;
        self.file = None;
        let mut again = 0;
        let file = loop {
            match self.create_file(&file_name(number, again)) {
                Err(Errno::EXIST) => again += 1, // it holds a line that a crash cut
                created_or_failed => break created_or_failed?,
            }
        };
        self.file = Some(file);
        self.bytes = 0;
        rustix::fs::fsync(&self.directory)?;
        Ok(())
    }

    /// Brings what was written to disk.
    pub(super) fn sync(&mut self) -> std::io::Result<()> {
        if let (true, Some(file)) = (self.unsynced, &self.file) {
            file.sync_data()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// The last line.
    pub(super) fn head(&self) -> Head {
        Head { number: self.number, hash: self.head.clone() }
    }

    fn create_file(&self, name: &str) -> rustix::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.directory, name, flags, FILE_MODE)?))
    }

    fn open_file(&self, name: &str) -> std::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.directory, name, flags, Mode::empty())?))
    }

    fn file_names(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            let entry = entry?;
            if let Some(name) =
                entry.file_name().to_str().ok().filter(|name| name.strip_suffix(".jsonl").is_some())
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The last complete line without its line feed, and whether nothing follows it.
fn last_line(file: &mut File) -> std::io::Result<(Option<Vec<u8>>, bool)> {
    let len = file.metadata()?.len();
    let tail_len = len.min(2 * LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(len - tail_len))?;
    let mut tail = Vec::new();
    file.take(tail_len).read_to_end(&mut tail)?;
    let whole = tail.last().is_none_or(|last| *last == b'\n');
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok((None, whole)) };
    let complete = tail.get(..end).unwrap_or_default();
    Ok((complete.rsplit(|byte| *byte == b'\n').next().map(<[u8]>::to_vec), whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Broken, files, verify};

    struct Fixture {
        data: tempfile::TempDir,
        log: AuditLog,
    }

    fn open(data: &tempfile::TempDir) -> AuditLog {
        AuditLog::open(File::open(data.path()).unwrap()).unwrap()
    }

    fn fixture(lines: u64) -> Fixture {
        let data = tempfile::tempdir().unwrap();
        let mut log = open(&data);
        for lines in 0..lines {
            log.append(Event::Lost { lines });
        }
        Fixture { data, log }
    }

    fn lines(data: &tempfile::TempDir) -> Result<u64, Broken> {
        verify(&files(data.path()).unwrap(), None, |_| ()).map(|verified| verified.lines)
    }

    #[test]
    fn what_was_written_verifies_across_restarts_and_files() {
        let Fixture { data, mut log } = fixture(3);
        log.bytes = FILE_BYTES_MAX;
        log.append(Event::Started);
        drop(log);
        let mut log = open(&data);
        log.append(Event::Stopped);
        let head = log.head();
        assert_eq!(head.number, 5);
        let files = files(data.path()).unwrap();
        assert_eq!(files.len(), 2);
        let verified = verify(&files, Some(&head.hash), |_| ()).unwrap();
        assert_eq!((verified.lines, verified.head), (5, Some(head.hash)));
    }

    #[test]
    fn a_line_that_a_crash_cut_is_left_behind_and_told() {
        let Fixture { data, mut log } = fixture(3);
        log.file.as_mut().unwrap().write_all(b"{\"number\":4,\"ti").unwrap();
        drop(log);
        let mut log = open(&data);
        log.append(Event::Started);
        assert_eq!(log.head().number, 4);
        let verified = verify(&files(data.path()).unwrap(), None, |_| ()).unwrap();
        assert_eq!((verified.lines, verified.torn.len()), (4, 1));
    }

    #[test]
    fn a_file_that_holds_nothing_but_a_cut_line_does_not_hide_the_one_before() {
        let Fixture { data, mut log } = fixture(3);
        log.begin_file(4).unwrap();
        log.file.as_mut().unwrap().write_all(b"{\"num").unwrap();
        drop(log);
        let mut log = open(&data);
        log.append(Event::Started);
        drop(log);
        assert_eq!(lines(&data).unwrap(), 4);
    }
}
