//! The credential files as they are now.
//!
//! Invariant: what is answered from was read after the last change of the files, or nothing is answered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pawl_policy::{Grant, RepositoryName, Role};
use rustix::io::Errno;

use super::chosen::ChosenPassword;
use super::hosts::{Hosts, HostsError};
use super::{Principal, htpasswd};
use crate::files::{self, FileError};
use crate::pace::Pace;

/// What is known of a secret.
#[derive(Debug, Clone)]
pub(super) enum StoredSecret {
    /// The SHA-256 of 256 random bits.
    Random([u8; 32]),
    /// A password that somebody chose.
    Chosen(ChosenPassword),
}

/// A principal and what is known of its secret.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) principal: Arc<Principal>,
    pub(super) secret: StoredSecret,
}

/// The content of the files.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    known: HashMap<String, Known>,
    costliest: Option<ChosenPassword>,
}

impl Loaded {
    pub(super) fn find(&self, user: &str) -> Option<&Known> {
        self.known.get(user)
    }

    /// The repositories that anybody has a grant for, some of them several times.
    pub(super) fn repositories(&self) -> impl Iterator<Item = &RepositoryName> {
        self.known.values().flat_map(|known| &known.principal.grants).map(|grant| &grant.repository)
    }

    /// The chosen password that takes longest to verify, if there are any.
    pub(super) const fn costliest(&self) -> Option<&ChosenPassword> {
        self.costliest.as_ref()
    }

    fn read(hosts: &Path, htpasswd: Option<&Path>) -> Result<Self, HostsError> {
        let mut elsewhere = HashMap::new();
        if let Some(path) = htpasswd {
            let missing = || FileError::new("read", path, std::io::ErrorKind::NotFound.into());
            let text = files::read(path)?.ok_or_else(missing)?;
            for (name, secret) in htpasswd::parse(&text, &path.display().to_string()) {
                elsewhere.insert(name, secret);
            }
        }
        let mut loaded = Self::default();
        for (name, host) in Hosts::read(hosts)?.hosts {
            let Ok(name) = name.parse::<pawl_policy::PrincipalName>() else {
                continue;
            };
            let in_htpasswd = elsewhere.remove(&name);
            if host.is_revoked() {
                continue;
            }
            let secret = match host.secret() {
                Some(Some(hash)) => Some(StoredSecret::Random(hash)),
                Some(None) => in_htpasswd.map(StoredSecret::Chosen),
                None => None,
            };
            let Some(secret) = secret else {
                tracing::warn!(host = %name, "this host has no password here nor in an htpasswd file; it cannot log in");
                continue;
            };
            let grants = host.grants.iter().filter_map(|grant| grant.parse().ok()).collect();
            let pace = host.pace().unwrap_or_default();
            loaded.insert(Principal { name, pace, grants }, secret);
        }
        for (name, secret) in elsewhere {
            let grants = own_repository(name.as_str()).into_iter().collect();
            loaded.insert(Principal { name, pace: Pace::default(), grants }, StoredSecret::Chosen(secret));
        }
        Ok(loaded)
    }

    fn insert(&mut self, principal: Principal, secret: StoredSecret) {
        if let StoredSecret::Chosen(password) = &secret
            && self.costliest.as_ref().is_none_or(|costliest| cost(password) > cost(costliest))
        {
            self.costliest = Some(password.clone());
        }
        self.known.insert(principal.name.to_string(), Known { principal: Arc::new(principal), secret });
    }
}

fn cost(password: &ChosenPassword) -> Option<u32> {
    match password {
        ChosenPassword::Sha1(_) => None,
        ChosenPassword::Bcrypt(hash) => htpasswd::bcrypt_cost(hash),
    }
}

/// A user of the htpasswd file alone backs up to the repository of its own name.
fn own_repository(name: &str) -> Option<Grant> {
    let repository: RepositoryName = name.parse().ok()?;
    Some(Grant::new(repository, Role::Backup))
}

/// Reads the files again when they have changed.
#[derive(Debug)]
pub(super) struct Reloader {
    hosts: PathBuf,
    htpasswd: Option<PathBuf>,
    current: Mutex<(Stamps, Arc<Loaded>)>,
}

/// What tells one version of the files from the next.
type Stamps = (Option<Stamp>, Option<Stamp>);
type Stamp = (u64, u64, i64, u64, i64, i64, u64);

impl Reloader {
    pub(super) fn load(hosts: PathBuf, htpasswd: Option<PathBuf>) -> Result<Self, HostsError> {
        let stamps = stamps(&hosts, htpasswd.as_deref())?;
        let loaded = Arc::new(Loaded::read(&hosts, htpasswd.as_deref())?);
        Ok(Self { hosts, htpasswd, current: Mutex::new((stamps, loaded)) })
    }

    /// The content of the files as they are now.
    pub(super) fn current(&self) -> Result<Arc<Loaded>, HostsError> {
        let stamps = stamps(&self.hosts, self.htpasswd.as_deref())?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != stamps {
            let loaded = Arc::new(Loaded::read(&self.hosts, self.htpasswd.as_deref())?);
            tracing::info!(hosts = loaded.known.len(), "hosts have changed and were read again");
            *current = (stamps, loaded);
        }
        Ok(Arc::clone(&current.1))
    }
}

fn stamps(hosts: &Path, htpasswd: Option<&Path>) -> Result<Stamps, HostsError> {
    Ok((stamp(hosts)?, htpasswd.map(stamp).transpose()?.flatten()))
}

fn stamp(path: &Path) -> Result<Option<Stamp>, HostsError> {
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(Some((
            stat.st_dev,
            stat.st_ino,
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_size,
            stat.st_ctime,
            stat.st_ctime_nsec,
        ))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(FileError::new("look at", path, error.into()).into()),
    }
}
