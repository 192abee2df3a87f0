//! What can be asked for: one value for each request that the restic protocol knows.
//!
//! Invariant: an action holds only names that parsed; it says nothing yet about whether it is allowed.

use core::fmt;

use crate::name::{FileId, FileType, Handle, RepositoryName};

/// Name all files of one type, with their sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Where.
    pub repository: RepositoryName,
    /// Which directory.
    pub file_type: FileType,
}

/// Learn the size of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Where.
    pub repository: RepositoryName,
    /// Which file.
    pub handle: Handle,
}

/// Read one file or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Where.
    pub repository: RepositoryName,
    /// Which file.
    pub handle: Handle,
}

/// Make the directories of a new repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRepository {
    /// Which.
    pub repository: RepositoryName,
}

/// Store one new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Where.
    pub repository: RepositoryName,
    /// Which file.
    pub handle: Handle,
}

/// Remove one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Where.
    pub repository: RepositoryName,
    /// Which file.
    pub handle: Handle,
}

/// Remove one lock. Not asked for as such: the decision makes it of a [`Delete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveLock {
    /// Where.
    pub repository: RepositoryName,
    /// Which lock.
    pub id: FileId,
}

/// Remove a whole repository. The protocol has this request; no role is ever allowed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRepository {
    /// Which.
    pub repository: RepositoryName,
}

/// Everything that a client can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `GET /{repository}/{type}/`
    List(List),
    /// `HEAD /{repository}/{type}/{id}` and `HEAD /{repository}/config`
    Stat(Stat),
    /// `GET /{repository}/{type}/{id}` and `GET /{repository}/config`
    Read(Read),
    /// `POST /{repository}/?create=true`
    CreateRepository(CreateRepository),
    /// `POST /{repository}/{type}/{id}` and `POST /{repository}/config`
    Create(Create),
    /// `DELETE /{repository}/{type}/{id}` and `DELETE /{repository}/config`
    Delete(Delete),
    /// `DELETE /{repository}/`
    DeleteRepository(DeleteRepository),
}

impl Action {
    /// The repository that the action is about.
    #[must_use]
    pub const fn repository(&self) -> &RepositoryName {
        match self {
            Self::List(a) => &a.repository,
            Self::Stat(a) => &a.repository,
            Self::Read(a) => &a.repository,
            Self::CreateRepository(a) => &a.repository,
            Self::Create(a) => &a.repository,
            Self::Delete(a) => &a.repository,
            Self::DeleteRepository(a) => &a.repository,
        }
    }

    /// The file that the action is about, where it is about one.
    #[must_use]
    pub const fn handle(&self) -> Option<&Handle> {
        match self {
            Self::Stat(a) => Some(&a.handle),
            Self::Read(a) => Some(&a.handle),
            Self::Create(a) => Some(&a.handle),
            Self::Delete(a) => Some(&a.handle),
            Self::List(_) | Self::CreateRepository(_) | Self::DeleteRepository(_) => None,
        }
    }
}

/// The verb and its kind of object, for logs and tables: `create data`, `list locks`, `create repository`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, handle) = match self {
            Self::List(a) => return write!(f, "list {}", a.file_type),
            Self::CreateRepository(_) => return f.write_str("create repository"),
            Self::DeleteRepository(_) => return f.write_str("delete repository"),
            Self::Stat(a) => ("stat", a.handle),
            Self::Read(a) => ("read", a.handle),
            Self::Create(a) => ("create", a.handle),
            Self::Delete(a) => ("delete", a.handle),
        };
        match handle {
            Handle::Config => write!(f, "{verb} config"),
            Handle::File(file_type, _) => write!(f, "{verb} {file_type}"),
        }
    }
}
