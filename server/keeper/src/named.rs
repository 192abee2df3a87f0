//! The directories beneath DATA that a repository could have.
//!
//! Invariant: one that cannot be used is listed with the reason, and hides no other.

use std::os::fd::{AsFd, BorrowedFd};

use pawl_policy::RepositoryName;
use rustix::fs::Dir;
use rustix::io::Errno;

use super::directory;

/// A directory with a repository's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The repository.
    pub name: RepositoryName,
    /// Why nothing in it can be served, if that is so.
    pub fault: Option<Errno>,
}

/// Every directory with a repository's name.
pub fn named_directories(data: BorrowedFd<'_>) -> rustix::io::Result<Vec<Named>> {
    let mut found = Vec::new();
    let mut ahead = names_below(data, None)?;
    while let Some(name) = ahead.pop() {
        let fault = match names_below(data, Some(&name)) {
            Ok(below) => {
                ahead.extend(below);
                None
            }
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => continue, // no directory, or a link
            Err(error) => Some(error),
        };
        found.push(Named { name, fault });
    }
    Ok(found)
}

/// Whether this directory can be used.
pub fn check(data: BorrowedFd<'_>, name: &RepositoryName) -> rustix::io::Result<()> {
    names_below(data, Some(name)).map(drop)
}

/// The names below a directory that a repository could have.
pub fn names_below(
    data: BorrowedFd<'_>,
    above: Option<&RepositoryName>,
) -> rustix::io::Result<Vec<RepositoryName>> {
    let directory = directory::open(data, above.map_or(".", RepositoryName::as_str))?;
    // A Btrfs subvolume is no mount, and no file can be moved out of it either.
    if rustix::fs::fstat(&directory)?.st_dev != rustix::fs::fstat(data)?.st_dev {
        return Err(Errno::XDEV);
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(directory.as_fd())? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let path = above.map_or_else(|| name.to_owned(), |above| format!("{above}/{name}"));
        names.extend(path.parse::<RepositoryName>());
    }
    Ok(names)
}

/// Why a directory cannot be used, and what can be done.
#[must_use]
pub fn reason(fault: Errno) -> String {
    match fault {
        Errno::XDEV => "it lies on another file system than the data directory, and Pawl serves one file system; unmount \
                        it and copy its files into the data directory, or have a server of its own serve it"
            .to_owned(),
        Errno::ACCESS | Errno::PERM => format!(
            "{fault}; give it to the user that owns the data directory, or move it out of there"
        ),
        other => format!("{other}; look at the disk"),
    }
}
