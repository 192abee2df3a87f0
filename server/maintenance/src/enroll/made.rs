//! Secrets that an enrollment makes, kept in a file until they were shown.
//!
//! Invariant: the file is on disk before anything depends on what it holds, and is never replaced. Whoever enrolls the
//! repository again after a cut goes on with the same secrets.

use std::error::Error;
use std::path::{Path, PathBuf};

use pawl_config::files::{self, FileError};
use pawl_config::format::Version;
use pawl_frontend::credentials::Secret;
use pawl_policy::RepositoryName;
use serde::{Deserialize, Serialize};

use crate::state_file;

/// What an enrollment made.
pub(super) struct Made {
    path: PathBuf,
    /// Whether an enrollment that was cut made it.
    pub(super) is_of_before: bool,
    /// The repository's password for the host.
    pub(super) password: String,
    /// The host's credential at the server.
    pub(super) credential: Secret,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: Version<1>,
    password: String,
    credential: String,
}

impl Made {
    /// What an enrollment of this repository made before it was cut; otherwise it is made and written down.
    pub(super) fn of(data: &Path, repository: &RepositoryName) -> Result<Self, Box<dyn Error>> {
        let directory = state_file::directory(data).join("enroll");
        files::make_directory(&directory, 0o700)?;
        let path = directory.join(state_file::file_name(repository));
        let before = files::read(&path)?;
        let is_of_before = before.is_some();
        let text = if let Some(text) = before {
            text
        } else {
            let secret = || Secret::generate().map(|secret| secret.reveal().to_owned());
            let written = Written { version: Version, password: secret()?, credential: secret()? };
            let text = serde_json::to_string(&written)?;
            files::make(&path, &text, 0o600)?;
            text
        };
        let written = serde_json::from_str(&text).map_err(|error| {
            format!(
                "{}: expected the secrets of an enrollment that was cut, found {error}; remove it",
                path.display()
            )
        });
        let Written { password, credential, .. } = written?;
        Ok(Self { path, is_of_before, password, credential: Secret::again(credential) })
    }

    /// They were shown.
    pub(super) fn remove(self) -> Result<(), FileError> {
        files::remove(&files::unfinished(&self.path))?;
        files::remove(&self.path)
    }
}
