//! What is to be named, and how.
//!
//! Invariant: all of it was parsed; nothing here opens a file.

use pawl_policy::{Handle, PrincipalName, RepositoryName};

use crate::tenant::Tenant;

/// What is to be named, and how.
#[derive(Debug)]
pub struct Naming<'a> {
    /// The repository of the file.
    pub repository: &'a RepositoryName,
    /// Its name in the repository.
    pub handle: &'a Handle,
    /// Who stored it.
    pub creator: &'a PrincipalName,
    /// For whom the keeper works.
    pub side: Tenant,
}
