//! A batch: a directory with a header, the files that were taken out of sight, and the days on which it was seen.
//!
//! Invariant: the header is durable before the first file is there, and goes after the last has gone.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use jiff::civil::Date;
use pawl_config::files;
use pawl_config::format::Version;
use pawl_keeper::{directory, layout};
use pawl_policy::{BatchId, FileType, Handle, PrincipalName, RepositoryName};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Disk;
use crate::local::open_file;
use crate::maintenance::{Batch, Hidden, Reason, UnreadableBatch, next_batch_id};
use crate::{Facts, StoreError, now_ms};

const HEADER: &str = "batch.json";
/// A header that is being written.
const HEADER_NEW: &str = "batch.json.new";
/// Files looked at before they are handed over.
const BATCH_ENTRIES: usize = 500;

/// The header as it is written.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(default)]
    version: Version<1>,
    repository: String,
    principal: String,
    reason: Reason,
    began_ms: u64,
}

/// Begins a batch.
pub(super) fn begin(
    disk: &Disk,
    repository: RepositoryName,
    principal: PrincipalName,
    reason: Reason,
) -> Result<Batch, StoreError> {
    let began_ms = now_ms();
    let id = next_batch_id(began_ms, ids(disk)?.last())?;
    let batch = Batch { id, repository, principal, reason, began_ms };
    let directory = directory::open_or_make(&disk.data, &layout::batch(&batch.id))?;
    write_header(&directory, &batch)?;
    Ok(batch)
}

fn write_header(directory: &OwnedFd, batch: &Batch) -> Result<(), StoreError> {
    let header = Header {
        version: Version,
        repository: batch.repository.to_string(),
        principal: batch.principal.to_string(),
        reason: batch.reason,
        began_ms: batch.began_ms,
    };
    let text = serde_json::to_string_pretty(&header)
        .map_err(|error| StoreError::Unavailable(format!("batch {}: {error}", batch.id)))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, HEADER_NEW, flags, Mode::from_raw_mode(0o640))?;
    let mut file = std::fs::File::from(file);
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_all()?;
    directory::move_file(directory, HEADER_NEW, directory, HEADER)?;
    Ok(rustix::fs::fsync(directory)?)
}

/// The names of all batches, in order; those that have no header yet, or none any more, are among them.
fn ids(disk: &Disk) -> Result<Vec<BatchId>, StoreError> {
    let mut ids: Vec<BatchId> =
        names(disk, layout::DELETED)?.into_iter().filter_map(|name| name.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

/// The names in a directory that may not be there.
pub(super) fn names(disk: &Disk, path: &str) -> Result<Vec<String>, StoreError> {
    let directory = match directory::open(&disk.data, path) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        if let Ok(name) = entry?.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Every batch, in order. A header that cannot be read costs its own batch only.
pub(super) fn all(disk: &Disk) -> Result<Vec<Result<Batch, UnreadableBatch>>, StoreError> {
    let mut all = Vec::new();
    for id in ids(disk)? {
        // Without a header a crash came before it was written, or after it was removed: nothing was ever in it, or is now.
        all.extend(understand(disk, &id).transpose());
    }
    Ok(all)
}

/// One batch.
pub(super) fn read(disk: &Disk, id: &BatchId) -> Result<Batch, StoreError> {
    understand(disk, id).map_err(|batch| StoreError::Unavailable(batch.why))?.ok_or(StoreError::NotFound)
}

fn understand(disk: &Disk, id: &BatchId) -> Result<Option<Batch>, UnreadableBatch> {
    let path = disk.path.join(layout::batch(id)).join(HEADER);
    let unreadable =
        |cause: &dyn std::fmt::Display| UnreadableBatch::new(id.clone(), &path.display().to_string(), cause);
    let Some(text) = files::read(&path).map_err(|error| unreadable(&error))? else { return Ok(None) };
    let header: Header = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    Ok(Some(Batch {
        id: id.clone(),
        repository: header.repository.parse().map_err(|error| unreadable(&error))?,
        principal: header.principal.parse().map_err(|error| unreadable(&error))?,
        reason: header.reason,
        began_ms: header.began_ms,
    }))
}

/// The batch, if it was begun for this repository and this reason.
pub(super) fn for_reason(
    disk: &Disk,
    id: &BatchId,
    repository: &RepositoryName,
    reason: Reason,
) -> Result<Batch, StoreError> {
    let batch = read(disk, id)?;
    if batch.repository != *repository || batch.reason != reason {
        let Batch { repository: of, reason: for_, .. } = &batch;
        return Err(StoreError::Unavailable(format!(
            "batch {id} is for {of} ({for_:?}), not for {repository} ({reason:?})"
        )));
    }
    Ok(batch)
}

/// What is pending in a batch, as it is read.
pub(super) struct Entries {
    data: OwnedFd,
    batch: BatchId,
    began_ms: u64,
    ahead: VecDeque<Option<FileType>>,
    current: Option<(FileType, Dir)>,
}

impl Entries {
    pub(super) fn new(disk: &Disk, id: &BatchId) -> Result<Self, StoreError> {
        let Batch { began_ms, .. } = read(disk, id)?;
        // What makes the others of use comes last when it goes and first when it comes back.
        let types = [FileType::Keys, FileType::Data, FileType::Index, FileType::Snapshots, FileType::Locks];
        let ahead = std::iter::once(None).chain(types.map(Some)).collect();
        Ok(Self { data: disk.data.try_clone()?, batch: id.clone(), began_ms, ahead, current: None })
    }

    /// The next files; `None` at the end.
    pub(super) fn next_batch(mut self) -> Result<Option<(Vec<Hidden>, Self)>, StoreError> {
        let mut found = Vec::new();
        while found.len() < BATCH_ENTRIES {
            let Some((file_type, entries)) = &mut self.current else {
                match self.ahead.pop_front() {
                    None if found.is_empty() => return Ok(None),
                    None => return Ok(Some((found, self))),
                    Some(None) => found.extend(self.examine(Handle::Config)?),
                    Some(Some(file_type)) => self.open(file_type)?,
                }
                continue;
            };
            let file_type = *file_type;
            match entries.next() {
                None => self.current = None,
                Some(entry) => {
                    let id = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok());
                    if let Some(id) = id {
                        found.extend(self.examine(Handle::File(file_type, id))?);
                    }
                }
            }
        }
        Ok(Some((found, self)))
    }

    fn open(&mut self, file_type: FileType) -> Result<(), StoreError> {
        match directory::open(&self.data, &format!("{}/{file_type}", layout::batch(&self.batch))) {
            Ok(directory) => self.current = Some((file_type, Dir::read_from(&directory)?)),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn examine(&self, handle: Handle) -> Result<Option<Hidden>, StoreError> {
        let file = match open_file(&self.data, &layout::hidden(&self.batch, &handle)) {
            Ok(file) => file,
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let flags = StatxFlags::SIZE | StatxFlags::CTIME;
        let stat = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, flags)?;
        // The rename changed it; nothing sets it back.
        let seconds = u64::try_from(stat.stx_ctime.tv_sec).unwrap_or(0);
        let changed_ms =
            seconds.saturating_mul(1000).saturating_add(u64::from(stat.stx_ctime.tv_nsec) / 1_000_000);
        Ok(Some(Hidden {
            handle,
            bytes: stat.stx_size,
            facts: Facts::read(&file)?,
            hidden_ms: changed_ms.max(self.began_ms),
        }))
    }
}

/// Notes that the batch was seen on this day.
pub(super) fn note_seen(disk: &Disk, id: &BatchId, day: Date) -> Result<(), StoreError> {
    read(disk, id)?;
    let seen = directory::open_or_make(&disk.data, &layout::days_seen(id))?;
    Ok(directory::mark(seen.as_fd(), &day.to_string())?)
}

/// The days that were noted.
pub(super) fn days_seen(disk: &Disk, id: &BatchId) -> Result<BTreeSet<Date>, StoreError> {
    Ok(names(disk, &layout::days_seen(id))?.into_iter().filter_map(|name| name.parse().ok()).collect())
}

/// Removes a batch in which nothing is pending.
#[expect(clippy::disallowed_methods, reason = "removes directories that are empty, and Pawl's own marks")]
pub(super) fn end(disk: &Disk, id: &BatchId) -> Result<(), StoreError> {
    let batch = match directory::open(&disk.data, &layout::batch(id)) {
        Ok(batch) => batch,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if exists(&batch, "config")? {
        return Err(StoreError::Unavailable(format!("batch {id} is not empty: it holds config")));
    }
    for file_type in FileType::ALL {
        match rustix::fs::unlinkat(&batch, file_type.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                return Err(StoreError::Unavailable(format!(
                    "batch {id} is not empty: it holds {file_type}"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let seen = layout::days_seen(id);
    for day in names(disk, &seen)? {
        rustix::fs::unlinkat(&disk.data, format!("{seen}/{day}"), AtFlags::empty())?;
    }
    for (name, flags) in
        [("seen", AtFlags::REMOVEDIR), (HEADER_NEW, AtFlags::empty()), (HEADER, AtFlags::empty())]
    {
        match rustix::fs::unlinkat(&batch, name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let above = directory::open(&disk.data, layout::DELETED)?;
    rustix::fs::unlinkat(&above, id.as_str(), AtFlags::REMOVEDIR)?;
    Ok(rustix::fs::fsync(above)?)
}

pub(super) fn exists(directory: impl AsFd, name: &str) -> Result<bool, StoreError> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
