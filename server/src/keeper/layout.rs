//! Where each thing lies beneath DATA: restic's own layout, and Pawl's state beside it.
//!
//! Invariant: every path is built from names that parsed, so none leaves DATA or its own repository.

use pawl_policy::{BatchId, FileId, FileType, Handle, PrincipalName, RepositoryName};

/// Pawl's own directory in DATA. No repository name can start with a dot.
pub(crate) const STATE: &str = ".pawl";
/// The audit log.
pub(crate) const AUDIT: &str = ".pawl/audit";
/// Files that have no name yet lie here where the file system has no unnamed files.
pub(crate) const STAGING: &str = ".pawl/staging";

/// The audit log of maintenance.
pub(crate) const MAINTENANCE_AUDIT: &str = ".pawl/maintenance/audit";
/// As [`STAGING`], for maintenance.
pub(crate) const MAINTENANCE_STAGING: &str = ".pawl/maintenance/staging";
/// Batches of deleted files.
pub(crate) const DELETED: &str = ".pawl/deleted";
/// A directory for each principal that has stored anything.
pub(crate) const USAGE: &str = ".pawl/usage";
/// Keys of drafts that were set aside, by the moment.
pub(crate) const ASIDE: &str = ".pawl/aside";

/// The name of a file in its directory.
pub(crate) fn file_name(handle: &Handle) -> String {
    match handle {
        Handle::Config => "config".to_owned(),
        Handle::File(_, id) => id.to_string(),
    }
}

/// The directory of a file, relative to DATA.
pub(crate) fn directory(repository: &RepositoryName, handle: &Handle) -> String {
    match handle {
        Handle::Config => repository.to_string(),
        Handle::File(..) => format!("{repository}/{}", within(handle)),
    }
}

/// The directory of a file, relative to its repository.
pub(crate) fn within(handle: &Handle) -> String {
    match handle {
        Handle::Config => ".".to_owned(),
        Handle::File(FileType::Data, id) => format!("data/{}", fan_out(id)),
        Handle::File(file_type, _) => file_type.to_string(),
    }
}

/// A file, relative to DATA.
pub(crate) fn file(repository: &RepositoryName, handle: &Handle) -> String {
    format!("{}/{}", directory(repository, handle), file_name(handle))
}

/// The directory of a type, relative to DATA.
pub(crate) fn type_directory(repository: &RepositoryName, file_type: FileType) -> String {
    format!("{repository}/{file_type}")
}

/// The two digits by which restic spreads `data` over 256 directories.
pub(crate) fn fan_out(id: &FileId) -> String {
    let [first, ..] = id.sha256();
    format!("{first:02x}")
}

/// Where good bytes of a file are kept whose stored copy is damaged.
pub(crate) fn rescued_directory(repository: &RepositoryName, handle: &Handle) -> String {
    match handle {
        Handle::Config => rescued(repository),
        Handle::File(file_type, _) => format!("{}/{file_type}", rescued(repository)),
    }
}

/// All that is kept so of a repository.
pub(crate) fn rescued(repository: &RepositoryName) -> String {
    format!("{STATE}/rescued/{repository}")
}

/// Where the key files of a draft are moved when its initialisation is repeated.
pub(crate) fn aside_directory(repository: &RepositoryName, now_ms: u64) -> String {
    format!("{ASIDE}/{now_ms}/{repository}/keys")
}

/// What a principal has stored is kept with this directory.
pub(crate) fn principal_usage(principal: &PrincipalName) -> String {
    format!("{USAGE}/{principal}")
}

/// The mark that maintenance leaves for a file that must not come back.
pub(crate) fn tombstone(repository: &RepositoryName, handle: &Handle) -> String {
    format!("{}/{}", tombstone_directory(repository, handle), file_name(handle))
}

/// Where the marks of such files are.
pub(crate) fn tombstone_directory(repository: &RepositoryName, handle: &Handle) -> String {
    match handle {
        Handle::Config => tombstones(repository),
        Handle::File(file_type, _) => format!("{}/{file_type}", tombstones(repository)),
    }
}

/// All such marks of a repository.
pub(crate) fn tombstones(repository: &RepositoryName) -> String {
    format!("{STATE}/tombstones/{repository}")
}

/// Where the mark is that suspends the making of locks, and that is called by the moment until which it does, in Unix
/// milliseconds. No repository has this last name.
pub(crate) fn suspension(repository: &RepositoryName) -> String {
    format!("{STATE}/suspended/{repository}/{}", FileType::Locks)
}

/// A batch of deleted files.
pub(crate) fn batch(batch: &BatchId) -> String {
    format!("{DELETED}/{batch}")
}

/// Where a deleted file of a batch lies.
pub(crate) fn hidden_directory(batch: &BatchId, handle: &Handle) -> String {
    match handle {
        Handle::Config => self::batch(batch),
        Handle::File(file_type, _) => format!("{DELETED}/{batch}/{file_type}"),
    }
}

/// A deleted file of a batch.
pub(crate) fn hidden(batch: &BatchId, handle: &Handle) -> String {
    format!("{}/{}", hidden_directory(batch, handle), file_name(handle))
}

/// The days on which a batch was seen, a name each.
pub(crate) fn days_seen(batch: &BatchId) -> String {
    format!("{DELETED}/{batch}/seen")
}
