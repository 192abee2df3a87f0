//! Listing a directory of files.
//!
//! Invariant: two batches in memory at a time, whatever the size of the repository; a name that is no whole file is
//! never shown, and a file that vanishes meanwhile is passed over.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures_util::{Stream, stream};
use pawl_keeper::layout;
use pawl_policy::{FileId, FileType, List, Permitted};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::{facts, join};
use crate::{Entry, StoreError, now_ms};

/// Names looked at before what was found is handed over: some 64 KiB of JSON.
const BATCH_ENTRIES: usize = 700;

/// The files of one type in batches. Data is read in two halves, so that two processors look.
pub(super) fn entries(
    data: Arc<OwnedFd>,
    permit: Permitted<List>,
) -> impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static {
    let List { repository, file_type } = permit.action();
    let directory = layout::type_directory(repository, *file_type);
    let mut ahead = match file_type {
        FileType::Data => (0..=u8::MAX).map(|first| format!("{directory}/{first:02x}")).collect(),
        _ => VecDeque::from([directory]),
    };
    let second_half = ahead.split_off(ahead.len().div_ceil(2));
    let first = batches(Lister::new(Arc::clone(&data), permit.clone(), ahead));
    stream::select(first, batches(Lister::new(data, permit, second_half)))
}

fn batches(lister: Lister) -> impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static {
    let batches = stream::try_unfold(lister, |lister| async move {
        join(tokio::task::spawn_blocking(move || lister.next_batch()).await)
    });
    Box::pin(batches)
}

struct Lister {
    data: Arc<OwnedFd>,
    permit: Permitted<List>,
    /// Directories still to be read, relative to DATA.
    ahead: VecDeque<String>,
    current: Option<(OwnedFd, Dir)>,
    now_ms: u64,
}

impl Lister {
    fn new(data: Arc<OwnedFd>, permit: Permitted<List>, ahead: VecDeque<String>) -> Self {
        Self { data, permit, ahead, current: None, now_ms: now_ms() }
    }

    /// The next batch, which may be empty if all that was looked at is hidden; `None` at the end.
    fn next_batch(mut self) -> Result<Option<(Vec<Entry>, Self)>, StoreError> {
        let mut batch = Vec::new();
        for _ in 0..BATCH_ENTRIES {
            let Some((directory, entries)) = &mut self.current else {
                if self.open_next()? {
                    continue;
                }
                return Ok(if batch.is_empty() { None } else { Some((batch, self)) });
            };
            match entries.next() {
                None => self.current = None,
                Some(entry) => {
                    let entry = entry?;
                    if let Ok(name) = entry.file_name().to_str()
                        && let Ok(id) = name.parse::<FileId>()
                        && let Some(entry) = examine(&self.permit, directory, name, id, self.now_ms)?
                    {
                        batch.push(entry);
                    }
                }
            }
        }
        Ok(Some((batch, self)))
    }

    /// Opens the next directory that exists; false if there is none left.
    fn open_next(&mut self) -> Result<bool, StoreError> {
        while let Some(path) = self.ahead.pop_front() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match rustix::fs::openat(&self.data, &path, flags, Mode::empty()) {
                Ok(directory) => {
                    let entries = Dir::read_from(&directory)?;
                    self.current = Some((directory, entries));
                    return Ok(true);
                }
                // Directories are made when the first file needs them.
                Err(Errno::NOENT) => {}
                // Anything else is an error here, for restic takes "not found" to mean "empty".
                Err(error) => return Err(StoreError::Unavailable(format!("{path}: {error}"))),
            }
        }
        Ok(false)
    }
}

/// A file as the listing shows it, or `None` if it does not.
fn examine(
    permit: &Permitted<List>,
    directory: &OwnedFd,
    name: &str,
    id: FileId,
    now_ms: u64,
) -> Result<Option<Entry>, StoreError> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None), // vanished meanwhile
        Err(error) => return Err(error.into()),
    };
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(None);
    }
    if permit.needs_facts() {
        let Some(facts) = facts(directory, name)? else { return Ok(None) };
        if !permit.shows(facts.audience, facts.age_ms(now_ms)) {
            return Ok(None);
        }
    }
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    Ok(Some(Entry { id, size }))
}
