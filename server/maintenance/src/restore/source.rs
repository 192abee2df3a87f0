//! Another store that has copies: a second directory, or a second bucket.
//!
//! Invariant: it is only read, and nothing in it is believed: each copy has to hash to its name.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pawl_config::Config;
use pawl_config::s3::S3Settings;
use pawl_policy::{Handle, InvalidName, RepositoryName};
use pawl_store::StoreError;
use pawl_store::either::EitherMaintenance;
use pawl_store::local::LocalMaintenance;
use pawl_store::maintenance::{Holders, MaintenanceStore};
use pawl_store::s3::S3Store;
use pawl_store::s3::maintain::S3Maintenance;

use super::walk;

/// Another store.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) store: EitherMaintenance,
    /// If it is one repository, the name that it has there.
    only: Option<RepositoryName>,
    /// What it is called in reports.
    pub(super) name: String,
}

impl Source {
    /// A directory, or, where a file is named, what this configuration of Pawl's says. It is another than `own`.
    pub(super) async fn open(from: &Path, own: &Config) -> Result<Self, String> {
        if from.is_dir() {
            return Self::directory(from, own);
        }
        let named = |error: &dyn std::fmt::Display| format!("--from {}: {error}", from.display());
        let config = Config::read(from).map_err(|error| named(&error))?;
        match &config.s3 {
            None => Self::directory(&config.data, own),
            Some(there) => Self::bucket(there, own).await.map_err(|error| named(&error)),
        }
    }

    /// A directory: Pawl's or rest-server's with all repositories, or that of one repository.
    fn directory(directory: &Path, own: &Config) -> Result<Self, String> {
        let shown = directory.display().to_string();
        let unreadable = |error: std::io::Error| format!("--from {shown}: {error}");
        let directory = std::fs::canonicalize(directory).map_err(unreadable)?;
        let is_repository = directory.join("config").is_file();
        let (above, only) = match (is_repository, directory.parent(), directory.file_name()) {
            (true, Some(above), Some(name)) => {
                let name = name.to_string_lossy().parse().map_err(|error: InvalidName| {
                    format!("--from {shown}: its last part has to be a repository's name: {error}")
                })?;
                (above.to_owned(), Some(name))
            }
            _ => (directory.clone(), None),
        };
        let store = LocalMaintenance::open_for_reading(&above).map_err(unreadable)?;
        let inode = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).map_err(unreadable);
        if inode(&above)? == inode(&own.data)? {
            return Err(format!("--from {shown}: {ITSELF}"));
        }
        Ok(Self { store: EitherMaintenance::Local(store), only, name: shown })
    }

    /// A bucket, with the credential that `[s3]` names there: to read is all that it has to be able to.
    async fn bucket(there: &S3Settings, own: &Config) -> Result<Self, Box<dyn std::error::Error>> {
        let place = |settings: &S3Settings| {
            (settings.endpoint.clone(), settings.bucket.clone(), settings.prefix.clone())
        };
        if own.s3.as_ref().is_some_and(|own| place(own) == place(there)) {
            return Err(ITSELF.into());
        }
        let S3Settings { bucket, prefix, .. } = there;
        let name = format!("bucket {bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" });
        let files = S3Store::open_untried(there.clone()).await?;
        Ok(Self { store: EitherMaintenance::S3(S3Maintenance::new(files, None)?), only: None, name })
    }

    /// What a repository is called there.
    pub(super) fn repository(&self, here: &RepositoryName) -> RepositoryName {
        self.only.as_ref().unwrap_or(here).clone()
    }

    /// Whether it holds copies for one repository only.
    pub(super) const fn is_one_repository(&self) -> bool {
        self.only.is_some()
    }

    /// Which batches there hold these names. A bucket keeps what they hold as versions, which are found without them: notes
    /// about batches are not for everybody who may read.
    pub(super) async fn holders(
        &self,
        here: &RepositoryName,
        handles: &BTreeSet<Handle>,
    ) -> Result<Holders, StoreError> {
        match &self.store {
            EitherMaintenance::Local(store) => store.holders(&self.repository(here), handles).await,
            EitherMaintenance::S3(store) => store.kept(&self.repository(here), handles).await,
        }
    }

    /// The files that are visible there.
    pub(super) async fn visible(&self, here: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
        let there = self.repository(here);
        match &self.store {
            EitherMaintenance::Local(store) => Ok(walk(store, &there).await?.visible),
            EitherMaintenance::S3(store) => store.visible(&there).await,
        }
    }
}

const ITSELF: &str = "this is the store that is to be repaired; expected another one";
