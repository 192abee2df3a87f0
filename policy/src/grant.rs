//! What a principal has been given: a role on one repository.
//!
//! Invariant: roles have no order. What each may do is written out in the decision, row by row.

use core::fmt;
use core::str::FromStr;

use alloc::vec::Vec;

use crate::name::RepositoryName;
use crate::network::Network;

/// What a principal may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Read.
    Restore,
    /// Read and add.
    Backup,
    /// Delete and restore versions as well. Never given at the frontend.
    Maintenance,
}

impl Role {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Restore, Self::Backup, Self::Maintenance];

    /// The word that command line, configuration and logs use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Backup => "backup",
            Self::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// The text is not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownRole;

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a role is one of restore, backup, maintenance")
    }
}

impl core::error::Error for UnknownRole {}

/// How much may be stored; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// In bytes.
    pub bytes: Option<u64>,
    /// In files.
    pub files: Option<u64>,
}

/// The least that a file counts in bytes: whatever it holds, it takes an inode and, on most file systems, a block of
/// this size.
pub const FILE_BYTES_MIN: u64 = 4096;

/// How much is stored, locks apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// In bytes.
    pub bytes: u64,
    /// In files.
    pub files: u64,
}

impl Usage {
    /// What a file of this size counts.
    #[must_use]
    pub const fn of_file(bytes: u64) -> Self {
        Self { bytes: if bytes < FILE_BYTES_MIN { FILE_BYTES_MIN } else { bytes }, files: 1 }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), files: self.files.saturating_add(other.files) }
    }

    /// What is left without the other; nothing if the other is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), files: self.files.saturating_sub(other.files) }
    }
}

/// Without a quota in files, one in bytes allows as many files as if each held so many bytes. restic's packs hold
/// hundreds of times as much.
const QUOTA_BYTES_PER_FILE: u64 = 64 << 10;
/// And these besides, for small repositories, which hold more small files than packs.
const QUOTA_FILES_LEAST: u64 = 10_000;

impl Quota {
    /// The quota that somebody wrote down.
    #[must_use]
    pub const fn new(bytes: Option<u64>, files: Option<u64>) -> Self {
        let files = match (bytes, files) {
            (Some(bytes), None) => Some(QUOTA_FILES_LEAST.saturating_add(bytes / QUOTA_BYTES_PER_FILE)),
            _ => files,
        };
        Self { bytes, files }
    }

    /// Whether this much may be stored.
    #[must_use]
    pub const fn allows(self, usage: Usage) -> bool {
        let bytes = match self.bytes {
            Some(bytes) => usage.bytes <= bytes,
            None => true,
        };
        let files = match self.files {
            Some(files) => usage.files <= files,
            None => true,
        };
        bytes && files
    }

    /// Whether everything is allowed.
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.bytes.is_none() && self.files.is_none()
    }
}

/// One principal's role on one repository. It reaches no other repository: neither parents nor children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The repository it is for.
    pub repository: RepositoryName,
    /// What may be done there.
    pub role: Role,
    /// With [`Role::Backup`]: whether key files may be added once the repository is initialised.
    pub may_add_keys: bool,
    /// From where it may be used; from anywhere if this is empty.
    pub networks: Vec<Network>,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How much the repository may hold for the principal to add to it.
    pub quota: Quota,
    /// How much the principal may have stored in all its repositories.
    pub total_quota: Quota,
}

impl Grant {
    /// A grant from anywhere, for good and without limit.
    #[must_use]
    pub const fn new(repository: RepositoryName, role: Role) -> Self {
        let quota = Quota { bytes: None, files: None };
        let networks = Vec::new();
        Self { repository, role, may_add_keys: false, networks, expires_ms: None, quota, total_quota: quota }
    }
}
