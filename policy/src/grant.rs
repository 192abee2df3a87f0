//! What a principal has been given: a role on one repository.
//!
//! Invariant: roles have no order. What each may do is written out in the decision, row by row.

use core::fmt;
use core::str::FromStr;

use crate::name::RepositoryName;

/// What a principal may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Read.
    Restore,
    /// Read and add.
    Backup,
    /// Delete and restore versions as well. Never given at the backup door.
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

/// One principal's role on one repository. It reaches no other repository: neither parents nor children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The repository it is for.
    pub repository: RepositoryName,
    /// What may be done there.
    pub role: Role,
    /// With [`Role::Backup`]: whether key files may be added once the repository is initialised.
    pub may_add_keys: bool,
}
