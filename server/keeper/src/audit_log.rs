//! Writing the audit log.
//!
//! Invariant: files are opened for appending only; a line is written whole with the hash of the one before. What
//! cannot be written is counted, and the count is written as soon as anything can be.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pawl_policy::{RESERVE_BYTES_MAX, RESERVE_PARTS};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{directory, facts};
use crate::audit::{Event, GAP, Head, LINE_BYTES_MAX, Line, NOTHING_BEFORE, file_name, hash};

/// A file is followed by the next one at this size: some 200,000 lines.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// As much of it is read at a time.
const READ_BYTES: usize = 1 << 20;
/// After writing was in vain.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The log is for its owner and the group, as is what it tells of.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// The end of the audit log.
#[derive(Debug)]
pub(super) struct AuditLog {
    /// Nothing if the log cannot be used at all; then every line is lost, and counted.
    directory: Option<OwnedFd>,
    /// Shared with whoever brings it to disk, which takes its time.
    file: Option<Arc<File>>,
    /// Bytes in the current file.
    bytes: u64,
    /// Number and hash of the last line.
    number: u64,
    head: String,
    /// Lines that could not be written.
    lost: u64,
    /// When writing was last in vain: a full disk is not tried for every line.
    failed: Option<Instant>,
    /// The last line that is on disk for certain, of those that were written since the start.
    synced: u64,
    /// When room was last looked at, and whether there was some.
    looked: Option<Instant>,
    room: bool,
}

impl AuditLog {
    /// Opens the log at `path` beneath `data` and finds its last line. A line that a crash cut, and all that follows a gap, is
    /// left where it is; the next line begins a file. Whatever is wrong with the log, hosts can go on: what cannot be
    /// written is counted as lost.
    pub(super) fn open(data: impl AsFd, path: &str) -> Self {
        let mut log = Self {
            directory: None,
            file: None,
            bytes: 0,
            number: 0,
            head: NOTHING_BEFORE.to_owned(),
            lost: 0,
            failed: None,
            synced: 0,
            looked: None,
            room: true,
        };
        if let Err(error) = log.find_end(data.as_fd(), path) {
            tracing::error!(%error, "the audit log cannot be used as it is; look at {path}");
        }
        log
    }

    fn find_end(&mut self, data: BorrowedFd<'_>, path: &str) -> std::io::Result<()> {
        let directory = directory::open_or_make(data, path)?;
        let names = file_names(&directory)?;
        self.directory = Some(directory);
        for (older, name) in names.iter().rev().enumerate() {
            let mut file = match self.open_file(name, OFlags::RDWR) {
                Ok(file) => file,
                Err(_) => self.open_file(name, OFlags::RDONLY)?, // a read-only disk
            };
            let (last, whole, end) = last_line(&mut file)?;
            if !whole {
                tracing::warn!(
                    file = name,
                    bytes = end,
                    "the end of the audit log was lost in a crash; it goes on in another file"
                );
            }
            if let Some(last) = last {
                self.head = hash(&last);
                // What does not parse is still what the next line has to hold in place.
                let line = serde_json::from_slice::<Numbered>(&last);
                self.number = match &line {
                    Ok(line) => line.number,
                    Err(_) => number_by_counting(name, &mut file, end)?,
                };
                if older == 0 && whole && line.is_ok() {
                    self.bytes = file.metadata()?.len();
                    self.file = Some(Arc::new(file));
                }
                break;
            }
        }
        self.synced = self.number;
        Ok(())
    }

    /// Appends one line. If that is impossible, it is counted as lost.
    pub(super) fn append(&mut self, event: Event) {
        self.append_all(vec![event]);
    }

    /// Appends a line for each of these, or none, all of one kind.
    pub(super) fn append_all(&mut self, events: Vec<Event>) {
        let lines = events.len() as u64;
        if self.failed.is_some_and(|failed| failed.elapsed() < TRY_AGAIN_AFTER) {
            self.lost = self.lost.saturating_add(lines);
            return;
        }
        self.failed = None;
        if matches!(events.first(), Some(Event::Decision(_))) && !self.has_room() {
            self.lost = self.lost.saturating_add(lines);
            return;
        }
        if self.lost > 0 {
            let lines = self.lost;
            if self.try_append(vec![Event::Lost { lines }]).is_ok() {
                self.lost = 0;
            }
        }
        if let Err(error) = self.try_append(events) {
            if self.lost == 0 {
                tracing::error!(%error, "the audit log cannot be written; what is missing will be counted");
            }
            self.lost = self.lost.saturating_add(lines);
            self.failed = Some(Instant::now());
        }
    }

    /// Whether there is room for more than deeds: decisions are as many as requests, and must not take what is kept for
    /// locks and maintenance. Looked at once a second.
    fn has_room(&mut self) -> bool {
        if self.looked.is_none_or(|looked| looked.elapsed() >= TRY_AGAIN_AFTER) {
            self.looked = Some(Instant::now());
            let stat = self.directory.as_ref().and_then(|directory| rustix::fs::fstatvfs(directory).ok());
            self.room = stat.is_some_and(|stat| {
                let floor = (stat.f_blocks / RESERVE_PARTS).min(RESERVE_BYTES_MAX / stat.f_frsize.max(1)) / 2;
                stat.f_bavail > floor
            });
        }
        self.room
    }

    fn try_append(&mut self, events: Vec<Event>) -> std::io::Result<()> {
        let time = Timestamp::from_millisecond(i64::try_from(facts::now_ms()).unwrap_or(i64::MAX))
            .unwrap_or(Timestamp::MAX)
            .to_string();
        let (mut number, mut head, mut bytes) = (self.number, self.head.clone(), Vec::new());
        for event in events {
            number = number.saturating_add(1);
            let line = Line { number, time: time.clone(), previous: head, event };
            let begin = bytes.len();
            serde_json::to_writer(&mut bytes, &line).map_err(std::io::Error::other)?;
            head = hash(bytes.get(begin..).unwrap_or_default());
            bytes.push(b'\n');
        }
        if self.bytes >= FILE_BYTES_MAX || self.file.is_none() {
            self.begin_file(self.number.saturating_add(1))?;
        }
        let Some(mut file) = self.file.as_deref() else {
            return Err(std::io::Error::other("no file is open"));
        };
        if let Err(error) = file.write_all(&bytes) {
            // Of these lines a part may stand there. Lines before them are never touched.
            if file.set_len(self.bytes).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.number = number;
        self.head = head;
        Ok(())
    }

    fn begin_file(&mut self, number: u64) -> std::io::Result<()> {
        self.sync()?;
        self.file = None;
        let mut again = 0;
        let file = loop {
            match self.create_file(&file_name(number, again)) {
                Err(Errno::EXIST) => again += 1, // it holds what a crash cut, or left with a gap
                created_or_failed => break created_or_failed?,
            }
        };
        self.file = Some(Arc::new(file));
        self.bytes = 0;
        if let Some(directory) = &self.directory {
            rustix::fs::fsync(directory)?;
        }
        Ok(())
    }

    /// Brings what was written to disk.
    pub(super) fn sync(&mut self) -> std::io::Result<()> {
        if let Some((file, number)) = self.unsynced() {
            file.sync_data()?;
            self.note_synced(number);
        }
        Ok(())
    }

    /// The file that is not on disk as a whole yet, and the number of its last line.
    fn unsynced(&self) -> Option<(Arc<File>, u64)> {
        let file = self.file.as_ref().filter(|_| self.synced < self.number)?;
        Some((Arc::clone(file), self.number))
    }

    /// Lines up to this one are on disk, for the file before was synced when this one was begun.
    fn note_synced(&mut self, number: u64) {
        self.synced = self.synced.max(number);
    }

    /// The last line.
    pub(super) fn head(&self) -> Head {
        Head { number: self.number, hash: self.head.clone() }
    }

    fn create_file(&self, name: &str) -> rustix::io::Result<File> {
        self.open_at(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> rustix::io::Result<File> {
        self.open_at(name, flags)
    }

    fn open_at(&self, name: &str, flags: OFlags) -> rustix::io::Result<File> {
        let directory = self.directory.as_ref().ok_or(Errno::NOENT)?;
        let flags = flags | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(directory, name, flags, FILE_MODE)?))
    }
}

/// Brings what was written to disk, while others go on writing.
pub(super) fn sync(log: &Mutex<AuditLog>) -> std::io::Result<()> {
    sync_by(log, File::sync_data)
}

fn sync_by(
    log: &Mutex<AuditLog>,
    bring_to_disk: impl FnOnce(&File) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let lock = || log.lock().unwrap_or_else(PoisonError::into_inner);
    let unsynced = lock().unsynced(); // a statement of its own: the lock ends with it
    if let Some((file, number)) = unsynced {
        bring_to_disk(&file)?;
        lock().note_synced(number);
    }
    Ok(())
}

/// All that must be understood of the last line.
#[derive(serde::Deserialize)]
struct Numbered {
    number: u64,
}

/// The number of the last line before `end` of a file whose last line does not say it.
fn number_by_counting(name: &str, file: &mut File, end: u64) -> std::io::Result<u64> {
    let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
    let first: u64 = digits.parse().unwrap_or(1);
    file.seek(SeekFrom::Start(0))?;
    let lines = BufReader::new(file.take(end)).split(b'\n').count() as u64;
    Ok(first.saturating_add(lines).saturating_sub(1))
}

fn file_names(directory: &OwnedFd) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
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

/// How many bytes stand before a gap that a crash left, and whether there is one.
fn before_gap(file: &mut File) -> std::io::Result<(u64, bool)> {
    file.seek(SeekFrom::Start(0))?;
    let read = BufReader::with_capacity(READ_BYTES, &mut *file).skip_until(GAP)? as u64;
    file.seek(SeekFrom::Start(read.saturating_sub(1)))?;
    let mut last = [0];
    let has_gap = file.read(&mut last)? == 1 && last == [GAP];
    Ok((read - u64::from(has_gap), has_gap))
}

/// The last complete line before a gap without its line feed, whether nothing follows it, and where it ends.
fn last_line(file: &mut File) -> std::io::Result<(Option<Vec<u8>>, bool, u64)> {
    // Of a file that cannot be read as a whole the end counts, and the next line begins another.
    let (len, has_gap) = before_gap(file).unwrap_or((file.metadata()?.len(), true));
    let tail_len = len.min(2 * LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(len - tail_len))?;
    let mut tail = Vec::new();
    file.take(tail_len).read_to_end(&mut tail)?;
    let whole = !has_gap && tail.last().is_none_or(|last| *last == b'\n');
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok((None, whole, 0)) };
    let complete = tail.get(..end).unwrap_or_default();
    let last = complete.rsplit(|byte| *byte == b'\n').next().map(<[u8]>::to_vec);
    Ok((last, whole, len - tail_len + end as u64 + 1))
}

#[cfg(test)]
mod tests;
