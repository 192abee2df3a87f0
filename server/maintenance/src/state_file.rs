//! What maintenance remembers from run to run: small readable files, one for each repository.
//!
//! Invariant: what cannot be understood counts as nothing, and is written anew; whoever tells people how things are says so.
//! What a newer version wrote is an error, and stays.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pawl_policy::RepositoryName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use pawl_config::files::{self, FileError};
use pawl_config::format::Version;
use pawl_config::print::Outcome;

const MODE: u32 = 0o640;

/// What is written.
#[derive(Serialize)]
struct Versioned<'a, T> {
    version: Version<1>,
    #[serde(flatten)]
    value: &'a T,
}

/// Pawl's directory for maintenance, which is its owner's alone.
pub(crate) fn own_directory(data: &Path) -> Outcome {
    let directory = directory(data);
    files::make_directory(&data.join(".pawl"), 0o750)?;
    files::make_directory(&directory, 0o700)?;
    let permissions = std::fs::metadata(&directory)?.permissions();
    if permissions.mode() & 0o777 != 0o700 {
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o700))?;
    }
    Ok(())
}

/// Where maintenance keeps what is its own.
pub(crate) fn directory(data: &Path) -> PathBuf {
    data.join(".pawl/maintenance")
}

/// Where it keeps what verification found.
pub(crate) fn of_verification(data: &Path) -> PathBuf {
    directory(data).join("verify")
}

/// The name of a repository's file. No name of a repository has a comma.
pub(super) fn file_name(repository: &RepositoryName) -> String {
    format!("{}.json", repository.as_str().replace('/', ","))
}

/// What a file says; nothing if there is none.
pub(super) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let Some(text) = read(path)? else { return Ok(None) };
    let parsed = serde_json::from_str(&text);
    if let Err(error) = &parsed {
        tracing::warn!(%error, "{} cannot be understood, and is written anew", path.display());
    }
    Ok(parsed.ok())
}

/// What is read of a file first.
#[derive(Deserialize)]
struct Any {
    version: Option<Value>,
}

/// The text of a file, unless a newer version wrote it.
fn read(path: &Path) -> Result<Option<String>, FileError> {
    let Some(text) = files::read(path)? else { return Ok(None) };
    if let Ok(Any { version: Some(version) }) = serde_json::from_str(&text) {
        serde_json::from_value::<Version<1>>(version)
            .map_err(|error| FileError::new("understand", path, error.into()))?;
    }
    Ok(Some(text))
}

/// What a file says; nothing if there is none. What cannot be understood is an error.
pub(super) fn understand<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let Some(text) = read(path)? else { return Ok(None) };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| FileError::new("understand", path, error.into()))
}

/// Writes a file anew.
pub(super) fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let text = serde_json::to_string_pretty(&Versioned { version: Version, value });
    let text = text.map_err(|error| FileError::new("write", path, error.into()))?;
    files::replace(path, &format!("{text}\n"), MODE)
}
