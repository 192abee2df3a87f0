//! How the user's own restic is found, and told the repository's password.
//!
//! Invariant: parsing has no effect; no password is in these options, only where it comes from.

use std::path::{Path, PathBuf};

use clap::Args;

/// The user's own restic, and the repository's password for it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "restic")]
pub struct ResticOptions {
    /// Read the password from this file
    #[arg(long, value_name = "FILE", conflicts_with = "password_command")]
    pub password_file: Option<PathBuf>,
    /// Run this to get the password
    #[arg(long, value_name = "COMMAND")]
    pub password_command: Option<String>,
    /// Use this restic [default: restic]
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

    /// These options, completed by the other's where they are not given.
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
