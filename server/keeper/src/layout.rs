//! Where each thing lies beneath DATA: restic's own layout, and Pawl's state beside it.
//!
//! Invariant: every path is built from names that parsed, so none leaves DATA or its own repository.

use pawl_policy::{BatchId, FileId, FileType, Handle, PrincipalName, RepositoryName};

/// Pawl's own directory in DATA. No repository name can start with a dot.
pub const STATE: &str = ".pawl";
/// The audit log.
pub const AUDIT: &str = ".pawl/audit";
/// Files that have no name yet lie here where the file system has no unnamed files.
pub const STAGING: &str = ".pawl/staging";

/// The audit log of maintenance.
pub const MAINTENANCE_AUDIT: &str = ".pawl/maintenance/audit";
/// As [`STAGING`], for maintenance.
pub const MAINTENANCE_STAGING: &str = ".pawl/maintenance/staging";
/// Batches of deleted files.
pub const DELETED: &str = ".pawl/deleted";
/// A directory for each principal that has stored anything.
pub const USAGE: &str = ".pawl/usage";
/// Keys of drafts that were set aside, by the moment.
pub const ASIDE: &str = ".pawl/aside";

/// The name of a file in its directory.
#[must_use]
pub fn file_name(handle: &Handle) -> String {
    match handle {
        Handle::Config => "config".to_owned(),
        Handle::File(_, id) => id.to_string(),
    }
}

/// The directory of a file, relative to DATA.
#[must_use]
pub fn directory(repository: &RepositoryName, handle: &Handle) -> String {
    match handle {
        Handle::Config => repository.to_string(),
        Handle::File(..) => format!("{repository}/{}", within(handle)),
    }
}

/// The directory of a file, relative to its repository.
#[must_use]
pub fn within(handle: &Handle) -> String {
    match handle {
        Handle::Config => ".".to_owned(),
        Handle::File(FileType::Data, id) => format!("data/{}", fan_out(id)),
        Handle::File(file_type, _) => file_type.to_string(),
    }
}

/// A file, relative to DATA.
#[must_use]
pub fn file(repository: &RepositoryName, handle: &Handle) -> String {
    format!("{}/{}", directory(repository, handle), file_name(handle))
}

/// The directory of a type, relative to DATA.
#[must_use]
pub fn type_directory(repository: &RepositoryName, file_type: FileType) -> String {
    format!("{repository}/{file_type}")
}

/// The two digits by which restic spreads `data` over 256 directories.
#[must_use]
pub fn fan_out(id: &FileId) -> String {
    let [first, ..] = id.sha256();
    format!("{first:02x}")
}

/// Where good bytes of a file are kept whose stored copy is damaged.
#[must_use]
pub fn rescued_directory(repository: &RepositoryName, handle: &Handle) -> String {
    match handle {
        Handle::Config => rescued(repository),
        Handle::File(file_type, _) => format!("{}/{file_type}", rescued(repository)),
    }
}

/// All that is kept so of a repository.
#[must_use]
pub fn rescued(repository: &RepositoryName) -> String {
    format!("{STATE}/rescued/{repository}")
}

/// Where the key files of a draft are moved when its initialisation is repeated.
#[must_use]
pub fn aside_directory(repository: &RepositoryName, now_ms: u64) -> String {
    format!("{ASIDE}/{now_ms}/{repository}/keys")
}

/// What a principal has stored is kept with this directory.
#[must_use]
pub fn principal_usage(principal: &PrincipalName) -> String {
    format!("{USAGE}/{principal}")
}

/// The mark that maintenance leaves for a file that must not come back.
#[must_use]
pub fn tombstone(repository: &RepositoryName, handle: &Handle) -> String {
    format!("{}/{}", tombstone_directory(repository, handle), file_name(handle))
}

/// Where the marks of such files are.
#[must_use]
pub fn tombstone_directory(repository: &RepositoryName, handle: &Handle) -> String {
    match handle {
        Handle::Config => tombstones(repository),
        Handle::File(file_type, _) => format!("{}/{file_type}", tombstones(repository)),
    }
}

/// All such marks of a repository.
#[must_use]
pub fn tombstones(repository: &RepositoryName) -> String {
    format!("{STATE}/tombstones/{repository}")
}

/// Where the mark is that suspends the making of locks, and that is called by the moment until which it does, in Unix
/// milliseconds. No repository has this last name.
#[must_use]
pub fn suspension(repository: &RepositoryName) -> String {
    format!("{STATE}/suspended/{repository}/{}", FileType::Locks)
}

/// A batch of deleted files.
#[must_use]
pub fn batch(batch: &BatchId) -> String {
    format!("{DELETED}/{batch}")
}

/// Where a deleted file of a batch lies.
#[must_use]
pub fn hidden_directory(batch: &BatchId, handle: &Handle) -> String {
    match handle {
        Handle::Config => self::batch(batch),
        Handle::File(file_type, _) => format!("{DELETED}/{batch}/{file_type}"),
    }
}

/// A deleted file of a batch.
#[must_use]
pub fn hidden(batch: &BatchId, handle: &Handle) -> String {
    format!("{}/{}", hidden_directory(batch, handle), file_name(handle))
}

/// The days on which a batch was seen, a name each.
#[must_use]
pub fn days_seen(batch: &BatchId) -> String {
    format!("{DELETED}/{batch}/seen")
}
