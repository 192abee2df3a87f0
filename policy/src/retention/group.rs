//! Which snapshots belong together, and which are looked at at all.
//!
//! Invariant: order and repetition of tags and paths in a snapshot make no other group than restic would make.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::rules::TagList;
use super::snapshot::Snapshot;

/// By what snapshots are grouped: by host and paths unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    host: bool,
    paths: bool,
    tags: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self { host: true, paths: true, tags: false }
    }
}

/// The text names something by which snapshots are not grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidGroupBy(String);

impl fmt::Display for InvalidGroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected host, paths and tags, separated by commas, or nothing; found '{}'", self.0)
    }
}

impl core::error::Error for InvalidGroupBy {}

impl FromStr for GroupBy {
    type Err = InvalidGroupBy;

    fn from_str(text: &str) -> Result<Self, InvalidGroupBy> {
        let mut by = Self { host: false, paths: false, tags: false };
        for word in text.split(',').map(str::trim) {
            match word {
                "" => {}
                "host" | "hosts" => by.host = true,
                "path" | "paths" => by.paths = true,
                "tag" | "tags" => by.tags = true,
                other => return Err(InvalidGroupBy(other.to_string())),
            }
        }
        Ok(by)
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.host, "host"), (self.paths, "paths"), (self.tags, "tags")];
        let mut is_first = true;
        for (_, word) in words.into_iter().filter(|(is_meant, _)| *is_meant) {
            write!(f, "{}{word}", if is_first { "" } else { "," })?;
            is_first = false;
        }
        Ok(())
    }
}

/// What all snapshots of a group have in common; nothing where that does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The host.
    pub host: Option<String>,
    /// The paths, in order.
    pub paths: Option<Vec<String>>,
    /// The tags, in order.
    pub tags: Option<Vec<String>>,
}

impl Group {
    pub(super) fn of(snapshot: &Snapshot, by: GroupBy) -> Self {
        Self {
            host: by.host.then(|| snapshot.host.clone()),
            paths: by.paths.then(|| sorted(&snapshot.paths)),
            tags: by.tags.then(|| sorted(&snapshot.tags)),
        }
    }
}

fn sorted(words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words
}

/// Which snapshots are looked at; the others are neither removed nor counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of one of these hosts; of all if there is none.
    pub hosts: Vec<String>,
    /// Those with all of these paths.
    pub paths: Vec<String>,
    /// Those with every tag of one of these lists; all if there is none.
    pub tags: Vec<TagList>,
}

impl Filter {
    pub(super) fn lets_through(&self, snapshot: &Snapshot) -> bool {
        (self.hosts.is_empty() || self.hosts.contains(&snapshot.host))
            && self.paths.iter().all(|path| snapshot.paths.contains(path))
            && (self.tags.is_empty() || self.tags.iter().any(|list| list.are_among(&snapshot.tags)))
    }
}
