//! Everything that can be seen of what lies beneath DATA, and what became of it.
//!
//! Invariant: two readings between which nothing was done are equal, but for lines that the audit log got at its end.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, getxattr, ioctl_getflags, listxattr};
use sha2::{Digest, Sha256};

/// What a directory is told while others store; it is counted, and not stored.
const COUNTED: [&str; 4] =
    ["user.pawl.usage", "user.pawl.maintained", "user.pawl.tallied", "user.pawl.clean"];
const AUDIT: &str = ".pawl/audit";

/// What was done between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Harm {
    /// Nothing.
    None,
    /// Names and bytes are there, but something that belongs to them is not as it was.
    Altered,
    /// Bytes or names are gone, others, or more.
    Destroyed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    /// Inode, kind, and SHA-256 of the bytes or the target.
    substance: (u64, &'static str, Vec<u8>),
    /// Mode, owner, group, links, times, flags.
    manner: (u32, u32, u32, u64, [i64; 4], Option<u32>),
    attributes: BTreeMap<String, Vec<u8>>,
}

/// All of it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evidence {
    things: BTreeMap<PathBuf, Thing>,
    /// Whole, to see that each only grows.
    audit: BTreeMap<PathBuf, Vec<u8>>,
}

impl Evidence {
    pub(crate) fn read(data: &Path) -> Self {
        let mut evidence = Self { things: BTreeMap::new(), audit: BTreeMap::new() };
        let mut ahead = vec![data.to_owned()];
        while let Some(path) = ahead.pop() {
            let name = path.strip_prefix(data).unwrap().to_owned();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            if name.starts_with(AUDIT) && metadata.is_file() {
                evidence.audit.insert(name, fs::read(&path).unwrap());
            } else {
                evidence.things.insert(name, Thing::read(&path, &metadata));
            }
        }
        evidence
    }

    /// What has become of it since.
    pub(crate) fn harm(&self, later: &Self) -> Harm {
        let names_differ = !self.things.keys().eq(later.things.keys());
        if names_differ || self.is_lost_in(later) {
            return Harm::Destroyed;
        }
        if self.things == later.things { Harm::None } else { Harm::Altered }
    }

    /// What was there is there still, as it was, whatever came to it.
    pub(crate) fn assert_kept(&self, later: &Self, what: &str) {
        assert!(!self.is_lost_in(later), "{what}: {:?}", self.first_difference(later));
        for (name, thing) in &self.things {
            let now = &later.things[name];
            if thing.substance.1 != "directory" {
                assert_eq!(thing, now, "{what}: {}", name.display());
            }
        }
    }

    /// The first thing that is not what it was.
    pub(crate) fn first_difference(&self, later: &Self) -> Option<String> {
        let names = self.things.keys().chain(later.things.keys());
        let mut differing = names.filter(|name| self.things.get(*name) != later.things.get(*name));
        let name = differing.next()?;
        Some(format!("{}: {:?} became {:?}", name.display(), self.things.get(name), later.things.get(name)))
    }

    fn is_lost_in(&self, later: &Self) -> bool {
        let same = |(name, thing): (&PathBuf, &Thing)| {
            later.things.get(name).is_some_and(|now| now.substance == thing.substance)
        };
        let grown = |(name, bytes): (&PathBuf, &Vec<u8>)| {
            later.audit.get(name).is_some_and(|now| now.starts_with(bytes))
        };
        !self.things.iter().all(same) || !self.audit.iter().all(grown)
    }
}

impl Thing {
    fn read(path: &Path, metadata: &fs::Metadata) -> Self {
        let kind = metadata.file_type();
        let (kind, content) = if kind.is_dir() {
            ("directory", Vec::new())
        } else if kind.is_file() {
            ("file", Sha256::digest(fs::read(path).unwrap()).to_vec())
        } else if kind.is_symlink() {
            ("link", fs::read_link(path).unwrap().into_os_string().into_encoded_bytes())
        } else if kind.is_fifo() {
            ("pipe", Vec::new())
        } else {
            ("other", Vec::new())
        };
        let is_plain = matches!(kind, "directory" | "file");
        // Of a directory, the moment of change tells also that it was counted.
        let changed = if kind == "directory" { [0, 0] } else { [metadata.ctime(), metadata.ctime_nsec()] };
        let times = [metadata.mtime(), metadata.mtime_nsec(), changed[0], changed[1]];
        let links = if kind == "directory" { 0 } else { metadata.nlink() };
        Self {
            substance: (metadata.ino(), kind, content),
            manner: (
                metadata.mode(),
                metadata.uid(),
                metadata.gid(),
                links,
                times,
                is_plain.then(|| flags(path)).flatten(),
            ),
            attributes: if is_plain { attributes(path) } else { BTreeMap::new() },
        }
    }
}

fn flags(path: &Path) -> Option<u32> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    ioctl_getflags(file).ok().map(|flags| flags.bits())
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = listxattr(path, &mut names).unwrap();
    names.truncate(length);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
    let value = |name: &String| {
        let mut value = vec![0; 4096];
        let length = getxattr(path, name.as_str(), &mut value).unwrap();
        value.truncate(length);
        value
    };
    let kept = names.filter(|name| !COUNTED.contains(&name.as_str()));
    kept.map(|name| (name.clone(), value(&name))).collect()
}
