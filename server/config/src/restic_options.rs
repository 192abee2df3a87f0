//! How the user's own restic is found, and told the repository's password.
//!
//! Invariant: parsing has no effect; no password is in these options, only where it comes from.

use std::path::{Path, PathBuf};

use clap::Args;

/// The user's own restic, and the repository's password for it.
#[derive(Debug, Clone, Default, Args)]
pub struct ResticOptions {
    /// Holds the repository's password
    #[arg(long, value_name = "FILE", conflicts_with = "password_command")]
    pub password_file: Option<PathBuf>,
    /// Prints the repository's password
    #[arg(long, value_name = "COMMAND")]
    pub password_command: Option<String>,
    /// The restic to use [default: restic]
    #[arg(long, value_name = "PROGRAM")]
    pub restic: Option<PathBuf>,
}

impl ResticOptions {
    /// Whether the repository's password was given.
    #[must_use]
    pub const fn knows_password(&self) -> bool {
        self.password_file.is_some() || self.password_command.is_some()
    }

    /// The program to start.
    #[must_use]
    pub fn program(&self) -> &Path {
        self.restic.as_deref().unwrap_or(Path::new("restic"))
    }

    /// The same, with the other's where nothing is said.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let passwords = if self.knows_password() { self } else { other };
        Self {
            password_file: passwords.password_file.clone(),
            password_command: passwords.password_command.clone(),
            restic: self.restic.clone().or_else(|| other.restic.clone()),
        }
    }
}
