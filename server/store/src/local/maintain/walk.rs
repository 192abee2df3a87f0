//! All repositories, and everything that lies in one.
//!
//! Invariant: one batch in memory at a time, and nothing is passed over: what is no file of restic's is foreign.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use pawl_keeper::lease::{self, Writers};
use pawl_keeper::named::{self, Named};
use pawl_keeper::{commit::STORED_MODE, directory, facts, layout, repository_state};
use pawl_policy::{FileId, FileType, Handle, RepositoryName, RepositoryState};
use rustix::fs::{AtFlags, Dir, FileType as Kind};
use rustix::io::Errno;

use super::Disk;
use crate::local::open_file;
use crate::maintenance::Found;
use crate::{Facts, StoreError};

/// Names looked at before what was found is handed over.
const BATCH_ENTRIES: usize = 500;

/// Every repository beneath DATA. A directory that cannot be looked at may hold one, and is listed: whoever looks at it is
/// told why that fails.
pub(super) fn repositories(disk: &Disk) -> Result<Vec<RepositoryName>, StoreError> {
    let data = disk.data.as_fd();
    let directories = named::named_directories(data).map_err(|fault| failed(&disk.path, fault))?;
    let may_be_one = |named: &Named| {
        named.fault.is_some() || !matches!(repository_state(data, &named.name), Ok(RepositoryState::Absent))
    };
    let mut found: Vec<_> = directories.into_iter().filter(may_be_one).map(|named| named.name).collect();
    found.sort();
    Ok(found)
}

fn failed(path: &Path, fault: Errno) -> StoreError {
    StoreError::Unavailable(format!("{}: {}", path.display(), named::reason(fault)))
}

/// Reads one directory of a repository after the other.
pub(super) struct Walker {
    data: OwnedFd,
    /// The data directory's path, for errors.
    place: PathBuf,
    repository: RepositoryName,
    ahead: VecDeque<Level>,
    current: Option<(Level, OwnedFd, Dir)>,
}

/// Where in a repository.
#[derive(Clone)]
enum Level {
    Root,
    Type(FileType),
    /// Below `data`, in the directory of this name.
    FanOut(String),
}

impl Walker {
    pub(super) fn new(disk: &Disk, repository: &RepositoryName) -> Result<Self, StoreError> {
        let data = disk.data.as_fd();
        match named::check(data, repository).and_then(|()| repository_state(data, repository)) {
            Ok(RepositoryState::Absent) | Err(Errno::NOENT) => return Err(StoreError::NotFound),
            Ok(_) => {}
            Err(fault) => return Err(failed(&disk.path.join(repository.as_str()), fault)),
        }
        let (data, place, repository) = (disk.data.try_clone()?, disk.path.clone(), repository.clone());
        Ok(Self { data, place, repository, ahead: VecDeque::from([Level::Root]), current: None })
    }

    /// The next findings; `None` at the end.
    pub(super) fn next_batch(mut self) -> Result<Option<(Vec<Found>, Self)>, StoreError> {
        let mut found = Vec::new();
        while found.len() < BATCH_ENTRIES {
            let Some((level, directory, entries)) = &mut self.current else {
                match self.ahead.pop_front() {
                    None if found.is_empty() => return Ok(None),
                    None => return Ok(Some((found, self))),
                    Some(level) => self.open(level)?,
                }
                continue;
            };
            match entries.next() {
                None => self.current = None,
                Some(entry) => {
                    let entry = entry.map_err(|fault| {
                        let path = path_of(&self.repository, level);
                        failed(&self.place.join(path), fault)
                    })?;
                    if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                        continue;
                    }
                    let looked =
                        rustix::fs::statat(&*directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
                    let stat = match looked {
                        Ok(stat) => stat,
                        Err(Errno::NOENT) => continue, // removed meanwhile, as locks are
                        // Its inode is damaged. As a file of no size it is looked at again, and told.
                        Err(_) => {
                            let (level, name) =
                                (level.clone(), entry.file_name().to_string_lossy().into_owned());
                            found.extend(self.examine(&level, &name, Kind::RegularFile, 0));
                            continue;
                        }
                    };
                    let (kind, bytes) =
                        (Kind::from_raw_mode(stat.st_mode), u64::try_from(stat.st_size).unwrap_or(0));
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let level = level.clone();
                    found.extend(self.examine(&level, &name, kind, bytes));
                }
            }
        }
        Ok(Some((found, self)))
    }

    fn open(&mut self, level: Level) -> Result<(), StoreError> {
        let path = path_of(&self.repository, &level);
        let opened = directory::open(&self.data, &path)
            .and_then(|directory| Dir::read_from(&directory).map(|entries| (directory, entries)));
        match opened {
            Ok((directory, entries)) => self.current = Some((level, directory, entries)),
            Err(Errno::NOENT) => {}
            Err(fault) => return Err(failed(&self.place.join(path), fault)),
        }
        Ok(())
    }

    /// What a name is, where it stands; a directory of restic's is read later.
    fn examine(&mut self, level: &Level, name: &str, kind: Kind, bytes: u64) -> Option<Found> {
        let id = name.parse::<FileId>().ok();
        let handle = match (level, id) {
            (Level::Root, _) if name == "config" => Some(Handle::Config),
            (Level::Type(FileType::Data) | Level::Root, _) => None,
            (Level::Type(file_type), Some(id)) => Some(Handle::File(*file_type, id)),
            (Level::FanOut(fan_out), Some(id)) if layout::fan_out(&id) == *fan_out => {
                Some(Handle::File(FileType::Data, id))
            }
            (Level::Type(_) | Level::FanOut(_), _) => None,
        };
        if let (Some(handle), Kind::RegularFile) = (handle, kind) {
            return self.file(handle, bytes);
        }
        if kind == Kind::Directory {
            match level {
                Level::Root if name.parse::<FileType>().is_ok() => {
                    self.ahead.extend(name.parse().ok().map(Level::Type));
                    return None;
                }
                Level::Root if self.may_hold_repositories(name) => return None,
                Level::Type(FileType::Data) if is_fan_out(name) => {
                    self.ahead.push_back(Level::FanOut(name.to_owned()));
                    return None;
                }
                Level::Root | Level::Type(_) | Level::FanOut(_) => {}
            }
        }
        let below = path_of(&self.repository, level);
        let path = format!("{below}/{name}");
        let path = path.strip_prefix(&format!("{}/", self.repository)).unwrap_or(&path);
        Some(Found::Foreign { path: path.escape_debug().to_string(), bytes })
    }

    /// One that cannot be looked at must not keep the others from being looked at.
    fn file(&self, handle: Handle, bytes: u64) -> Option<Found> {
        match self.try_file(handle, bytes) {
            Ok(found) => Some(found),
            Err(StoreError::NotFound) => None, // hidden meanwhile
            Err(error) => {
                Some(Found::Unexplained { handle, what: format!("it cannot be looked at: {error}") })
            }
        }
    }

    fn try_file(&self, handle: Handle, bytes: u64) -> Result<Found, StoreError> {
        let file = open_file(&self.data, &layout::file(&self.repository, &handle))?;
        let mode = rustix::fs::fstat(&file)?.st_mode & 0o7777;
        let mut unusual = Vec::new();
        if mode & 0o222 != 0 {
            unusual.push(format!(
                "its mode is {mode:o}, so it can be written to; expected {:o}",
                STORED_MODE.as_raw_mode()
            ));
        }
        if !facts::is_recorded(&file)? {
            unusual.push("when it was received was not recorded; its time of birth stands in".to_owned());
        }
        let unusual = Some(unusual.join("; ")).filter(|words| !words.is_empty());
        let facts = Facts::read(&file)?;
        Ok(Found::File { handle, bytes, facts, unusual, being_written: is_being_written(&file) })
    }

    /// Whether a directory in a repository belongs to others below it, as far as it can be looked at.
    fn may_hold_repositories(&self, name: &str) -> bool {
        let mut ahead = vec![format!("{}/{name}", self.repository)];
        while let Some(path) = ahead.pop() {
            let Ok(repository) = path.parse::<RepositoryName>() else { continue };
            match named::names_below(self.data.as_fd(), Some(&repository)) {
                Ok(below) => ahead.extend(below.iter().map(RepositoryName::to_string)),
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => continue,
                Err(_) => return true,
            }
            if !matches!(repository_state(self.data.as_fd(), &repository), Ok(RepositoryState::Absent)) {
                return true;
            }
        }
        false
    }
}

fn path_of(repository: &RepositoryName, level: &Level) -> String {
    match level {
        Level::Root => repository.to_string(),
        Level::Type(file_type) => layout::type_directory(repository, *file_type),
        Level::FanOut(name) => format!("{repository}/data/{name}"),
    }
}

/// Whether somebody has it open for writing, as far as the kernel tells: it does so to the file's owner only.
fn is_being_written(file: &std::fs::File) -> bool {
    matches!(lease::writers(file), Ok(Writers::Some))
}

/// The files that have an entry of their name beneath this directory of Pawl's own.
pub(super) fn marked(data: BorrowedFd<'_>, path: &str) -> Result<BTreeSet<Handle>, StoreError> {
    let mut marked = BTreeSet::new();
    let levels = std::iter::once(None).chain(FileType::ALL.map(Some));
    for file_type in levels {
        let path = file_type.map_or_else(|| path.to_owned(), |file_type| format!("{path}/{file_type}"));
        let directory = match directory::open(data, &path) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            match file_type {
                None if name == "config" => marked.insert(Handle::Config),
                None => false,
                Some(file_type) => name.parse().is_ok_and(|id| marked.insert(Handle::File(file_type, id))),
            };
        }
    }
    Ok(marked)
}

fn is_fan_out(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::id_of;
    use crate::local::maintain::tests::both;
    use crate::maintenance::MaintenanceStore;

    #[tokio::test]
    async fn what_is_foreign_or_could_be_written_to_is_told() {
        let f = both();
        f.hosts.initialised().await;
        let root = f.hosts.place.path().join("web1");
        let id = id_of(b"x").to_string();
        #[expect(clippy::disallowed_methods, reason = "plants what does not belong there")]
        for path in ["index/tmp", &format!("index/{id}"), &format!("data/00/{id}"), "notes"] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), b"x").unwrap();
        }
        std::fs::create_dir(root.join("data/zz")).unwrap();
        std::fs::create_dir_all(root.join("child/index")).unwrap(); // another repository
        let walked = f.maintenance.walk(&"web1".parse().unwrap()).await.unwrap();
        let found: Vec<Found> = futures_util::TryStreamExt::try_concat(walked).await.unwrap();
        let mut foreign = Vec::new();
        let mut unusual = Vec::new();
        for found in found {
            match found {
                Found::Foreign { path, .. } => foreign.push(path),
                Found::File { handle, unusual: Some(_), .. } => unusual.push(handle.to_string()),
                Found::File { .. } | Found::Unexplained { .. } => {}
            }
        }
        foreign.sort();
        assert_eq!(foreign, [&format!("data/00/{id}"), "data/zz", "index/tmp", "notes"]);
        assert_eq!(unusual, [format!("index/{id}")]);
    }

    #[tokio::test]
    async fn a_file_that_somebody_has_open_for_writing_is_told() {
        let f = both();
        f.hosts.initialised().await;
        let handle = f.stored(FileType::Index, b"some index, of at least thirty-two bytes").await;
        let being_written = || async {
            let walked = f.maintenance.walk(&"web1".parse().unwrap()).await.unwrap();
            let found: Vec<Found> = futures_util::TryStreamExt::try_concat(walked).await.unwrap();
            found.iter().any(
                |found| matches!(found, Found::File { handle: of, being_written: true, .. } if *of == handle),
            )
        };
        assert!(!being_written().await);
        let path = f.hosts.place.path().join("web1").join(handle.to_string());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(&path, mode).unwrap();
        let writer = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        assert!(being_written().await);
        drop(writer);
    }
}
