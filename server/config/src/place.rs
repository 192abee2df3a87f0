//! Where a command works: on a data directory, or on what a configuration file names.
//!
//! Invariant: clap lets exactly one of the two through.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, IN_DATA};
use crate::hint;

/// Which data directory is meant.
#[derive(Debug, Default, Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// The directory that holds all repositories
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Place {
    /// The configuration file, which may not be there.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let in_data = || self.data.as_ref().map(|data| data.join(IN_DATA));
        self.config.clone().or_else(in_data)
    }

    /// The words that say the same.
    #[must_use]
    pub fn args(&self) -> Vec<OsString> {
        let word = |option: &str, path: &Option<PathBuf>| {
            let path = path.as_ref().map(|path| path.clone().into_os_string());
            path.map(|path| [OsString::from(option), path])
        };
        let words = [word("--data", &self.data), word("--config", &self.config)];
        words.into_iter().flatten().flatten().collect()
    }

    /// Reads the configuration that the options name.
    pub fn configuration(&self) -> Result<Config, ConfigError> {
        hint::note(self.data.as_deref(), self.config.as_deref());
        match (&self.config, &self.data) {
            (Some(path), _) => Config::read(path),
            (None, Some(data)) => {
                let absolute = std::path::absolute(data);
                Config::read_in(absolute.unwrap_or_else(|_| data.clone()))
            }
            (None, None) => Err(ConfigError::Missing(PathBuf::from("--data or --config"))), // clap requires one
        }
    }
}
