//! The user's own restic, run on a repository.
//!
//! Invariant: neither the repository's password nor a credential is on a command line.

use std::process::{Command, Output, Stdio};

use crate::cli::UsersRestic;
use crate::store::s3::Direct;

/// Why restic did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResticError {
    /// It does not start.
    #[error("cannot start {program}: {cause}; see --restic")]
    Start {
        /// Which.
        program: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It ended in an error.
    #[error("restic {command} ended with {status}: {words}")]
    Failed {
        /// What it was to do.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        words: String,
    },
    /// The task in which it was waited for ended.
    #[error("restic could not be waited for: {0}")]
    Cut(String),
}

impl ResticError {
    /// Whether it did nothing because of a lock, of somebody else or of junk: the same words in all versions, where an exit
    /// code is there in new ones and for the first only.
    pub(super) fn is_for_a_lock(&self) -> bool {
        matches!(self, Self::Failed { words, .. } if words.contains("unable to create lock in backend"))
    }
}

/// A repository as restic knows it.
#[derive(Debug)]
pub(super) struct Address<'a> {
    /// A directory, or a URL with the credential in it.
    pub(super) repository: String,
    /// Where it lies, if restic is to read a bucket by itself.
    pub(super) bucket: Option<&'a Direct>,
}

impl UsersRestic {
    /// Whether the repository's password was given.
    pub(super) const fn knows_password(&self) -> bool {
        self.password_file.is_some() || self.password_command.is_some()
    }

    /// Runs a command on a repository to its end, and returns what it printed, with what it said besides behind it.
    pub(super) async fn run(&self, at: &Address<'_>, args: Vec<String>) -> Result<String, ResticError> {
        let Output { stdout, stderr, .. } = self.output(at, args).await?;
        Ok(text(&stdout) + &text(&stderr))
    }

    /// Runs a command on a repository to its end, and returns what it printed. What it said besides is warned of.
    pub(super) async fn ask(&self, at: &Address<'_>, args: Vec<String>) -> Result<String, ResticError> {
        let Output { stdout, stderr, .. } = self.output(at, args).await?;
        for line in text(&stderr).lines() {
            tracing::warn!(line, "restic warns");
        }
        Ok(text(&stdout))
    }

    async fn output(&self, at: &Address<'_>, args: Vec<String>) -> Result<Output, ResticError> {
        let said: Vec<_> = args.iter().take(2).map(String::as_str).collect();
        let said = said.join(" ");
        let mut command = self.command(at);
        command.args(args);
        let run = tokio::task::spawn_blocking(move || command.output()).await;
        let output = run.map_err(|error| ResticError::Cut(error.to_string()))?;
        let output = output.map_err(|cause| self.no_start(cause))?;
        if output.status.success() {
            return Ok(output);
        }
        let words = (text(&output.stdout) + &text(&output.stderr)).trim().to_owned();
        Err(ResticError::Failed { command: said, status: output.status.to_string(), words })
    }

    /// The user's restic on a repository. The command is still to be added.
    pub(super) fn command(&self, at: &Address<'_>) -> Command {
        let mut command = Command::new(&self.restic);
        command.arg("--no-cache").stdin(Stdio::null());
        for other in ["RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_HOST"] {
            command.env_remove(other);
        }
        command.env_remove("RESTIC_REPOSITORY_FILE").env("RESTIC_REPOSITORY", &at.repository);
        if let Some(bucket) = at.bucket {
            command.args(bucket.options());
            for (name, value) in bucket.variables() {
                command.env_remove(name).envs(value.map(|value| (name, value)));
            }
        }
        if let Some(file) = &self.password_file {
            command.env("RESTIC_PASSWORD_FILE", file);
        }
        if let Some(how) = &self.password_command {
            command.env("RESTIC_PASSWORD_COMMAND", how);
        }
        command
    }

    /// Why it did not start.
    pub(super) fn no_start(&self, cause: std::io::Error) -> ResticError {
        ResticError::Start { program: self.restic.display().to_string(), cause }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
