//! Whose files are added up: those of a repository, or of whoever stored them.
//!
//! Invariant: an account has a directory of its own, whose attributes hold what it comes to.

use std::os::fd::{BorrowedFd, OwnedFd};

use pawl_policy::{PrincipalName, RepositoryName};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::as_text;
use crate::{directory, layout};

/// Whose files are added up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Account {
    /// All files of a repository.
    Repository(#[serde(with = "as_text")] RepositoryName),
    /// All files that a principal stored, in all repositories.
    Principal(#[serde(with = "as_text")] PrincipalName),
}

impl Account {
    /// Opens the directory whose attributes hold the usage; `None` if there is none.
    pub(crate) fn open(&self, data: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
        let opened = match self {
            Self::Repository(repository) => directory::open(data, repository.as_str()),
            Self::Principal(principal) => directory::open(data, &layout::principal_usage(principal)),
        };
        match opened {
            Err(Errno::NOENT) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens the same directory. Makes that of a principal where it is missing.
    pub(crate) fn open_or_make(&self, data: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
        match self {
            Self::Repository(repository) => directory::open(data, repository.as_str()),
            Self::Principal(principal) => directory::open_or_make(data, &layout::principal_usage(principal)),
        }
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(repository) => write!(f, "the repository {repository}"),
            Self::Principal(principal) => write!(f, "all files of {principal}"),
        }
    }
}
