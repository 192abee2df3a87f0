//! The credential files as they are now.
//!
//! Invariant: what is answered from was read after the last change of the files, or nothing is answered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pawl_config::files::{self, Stamp};
use pawl_config::pace::Pace;
use pawl_policy::{Grant, PrincipalName, Quota, RepositoryName, Role};

use super::chosen::ChosenPassword;
use super::client_ca::Fingerprint;
use super::error::HostsError;
use super::hosts::{Hosts, Secret};
use super::htpasswd::{self, BadLine};
use super::{Elsewhere, Principal};

/// What is known of a secret.
#[derive(Debug, Clone)]
pub(super) enum StoredSecret {
    /// The SHA-256 of 256 random bits.
    Random([u8; 32]),
    /// A password that somebody chose.
    Chosen(ChosenPassword),
}

/// A principal and what it has to bring: all of what is here, and nothing else.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) principal: Arc<Principal>,
    /// `None` if it has no password. Then it has a certificate.
    pub(super) secret: Option<StoredSecret>,
    pub(super) certificate: Option<Fingerprint>,
}

/// The content of the files.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    known: HashMap<String, Known>,
    holders: HashMap<Fingerprint, String>,
    costliest: Option<ChosenPassword>,
}

impl Loaded {
    pub(super) fn find(&self, user: &str) -> Option<&Known> {
        self.known.get(user)
    }

    /// Grants with a quota.
    pub(super) fn quotas(&self) -> impl Iterator<Item = (RepositoryName, PrincipalName, Quota)> {
        let principals = self.known.values().map(|known| &known.principal);
        let limited = principals.flat_map(|principal| {
            principal
                .grants
                .iter()
                .map(|grant| (grant.repository.clone(), principal.name.clone(), grant.quota))
        });
        limited.filter(|(_, _, quota)| !quota.is_unlimited())
    }

    /// The repositories that anybody has a grant for, some of them several times.
    pub(super) fn repositories(&self) -> impl Iterator<Item = &RepositoryName> {
        self.known.values().flat_map(|known| &known.principal.grants).map(|grant| &grant.repository)
    }

    /// Whose certificate this is.
    pub(super) fn holder(&self, certificate: Fingerprint) -> Option<&Known> {
        self.known.get(self.holders.get(&certificate)?)
    }

    /// The chosen password that takes longest to verify, if there are any.
    pub(super) const fn costliest(&self) -> Option<&ChosenPassword> {
        self.costliest.as_ref()
    }

    fn read(hosts: &Path, htpasswd: Option<&Path>) -> Result<Self, HostsError> {
        let mut elsewhere = HashMap::new();
        if let Some(path) = htpasswd {
            let (users, bad) = htpasswd::read(path)?;
            elsewhere.extend(users);
            for BadLine { number, cause } in bad {
                let file = path.display();
                tracing::warn!(%file, line = number, cause, "this htpasswd line lets nobody in");
            }
        }
        let mut loaded = Self::default();
        let read = Hosts::read(hosts)?;
        for complaint in read.complaints(hosts) {
            tracing::error!("{complaint}");
        }
        for name in read.bad.keys().filter_map(|name| name.parse().ok()) {
            elsewhere.remove::<PrincipalName>(&name); // it does not come in as a user of the htpasswd file either
        }
        for (name, host) in read.hosts {
            let Ok(name) = name.parse::<PrincipalName>() else {
                continue;
            };
            let in_htpasswd = elsewhere.remove(&name);
            if host.is_revoked() {
                continue;
            }
            let certificate = host.certificate().flatten();
            let secret = match host.secret() {
                Some(Some(hash)) => Some(StoredSecret::Random(hash)),
                // Whoever has a certificate alone has no password, whatever an htpasswd file says.
                Some(None) if certificate.is_none() => in_htpasswd.map(StoredSecret::Chosen),
                Some(None) | None => None,
            };
            if secret.is_none() && certificate.is_none() {
                tracing::warn!(host = %name, "this host has no password here nor in an htpasswd file; it cannot log in");
                continue;
            }
            let Ok(total_quota) = host.total_quota() else { continue };
            let grants = host.grants.iter().filter_map(|grant| grant.parse().ok());
            let grants = grants.map(|grant| Grant { total_quota, ..grant }).collect();
            let pace = host.pace().unwrap_or_default();
            loaded.insert(
                Principal { name, pace, grants, elsewhere: Elsewhere::Nothing },
                secret,
                certificate,
            );
        }
        for (name, secret) in elsewhere {
            let own = own_repository(&name);
            let grants = own.iter().map(|own| Grant::new(own.clone(), Role::Backup)).collect();
            let elsewhere = own.map_or(Elsewhere::Nothing, Elsewhere::Below);
            let principal = Principal { name, pace: Pace::default(), grants, elsewhere };
            loaded.insert(principal, Some(StoredSecret::Chosen(secret)), None);
        }
        Ok(loaded)
    }

    /// Admins have a password each, and no grants: they reach every repository.
    fn read_admins(path: &Path) -> Result<Self, HostsError> {
        let mut loaded = Self::default();
        let read = Hosts::read(path)?;
        for complaint in read.complaints(path) {
            tracing::error!("{complaint}");
        }
        for (name, admin) in read.hosts {
            let wrong = |cause: &str| HostsError::Invalid {
                path: path.to_owned(),
                cause: format!("admin '{name}': {cause}"),
            };
            if !admin.grants.is_empty() {
                return Err(wrong("an admin reaches all repositories; remove its grants, or it is a host"));
            }
            let Some(Some(hash)) = admin.secret() else {
                return Err(wrong("expected secret_sha256, which `pawl maintain admin add` writes"));
            };
            let name =
                name.parse::<PrincipalName>().map_err(|error| HostsError::Name(name.clone(), error))?;
            let principal = self::admin(name, admin.pace().unwrap_or_default());
            loaded.insert(principal, Some(StoredSecret::Random(hash)), None);
        }
        Ok(loaded)
    }

    fn insert(
        &mut self,
        principal: Principal,
        secret: Option<StoredSecret>,
        certificate: Option<Fingerprint>,
    ) {
        if let Some(StoredSecret::Chosen(password)) = &secret
            && self.costliest.as_ref().is_none_or(|costliest| cost(password) > cost(costliest))
        {
            self.costliest = Some(password.clone());
        }
        if let Some(certificate) = certificate {
            self.holders.insert(certificate, principal.name.to_string());
        }
        let name = principal.name.to_string();
        self.known.insert(name, Known { principal: Arc::new(principal), secret, certificate });
    }
}

fn cost(password: &ChosenPassword) -> Option<u32> {
    match password {
        ChosenPassword::Sha1(_) => None,
        ChosenPassword::Bcrypt(hash) => htpasswd::bcrypt_cost(hash),
    }
}

/// A user of the htpasswd file alone backs up to the repository of its own name, and to those below.
pub(super) fn own_repository(name: &PrincipalName) -> Option<RepositoryName> {
    name.as_str().parse().ok()
}

/// Where it is read from.
#[derive(Debug)]
enum Source {
    /// The hosts file, and an htpasswd file if there is one.
    Hosts(PathBuf, Option<PathBuf>),
    /// The file of admins.
    Admins(PathBuf),
    /// Nowhere: it stays as it is.
    Nowhere,
}

impl Source {
    fn read(&self) -> Result<Loaded, HostsError> {
        match self {
            Self::Hosts(hosts, htpasswd) => Loaded::read(hosts, htpasswd.as_deref()),
            Self::Admins(admins) => Loaded::read_admins(admins),
            Self::Nowhere => Ok(Loaded::default()),
        }
    }

    fn stamps(&self) -> Result<Stamps, HostsError> {
        Ok(match self {
            Self::Hosts(hosts, htpasswd) => {
                (files::stamp(hosts)?, htpasswd.as_deref().map(files::stamp).transpose()?.flatten())
            }
            Self::Admins(admins) => (files::stamp(admins)?, None),
            Self::Nowhere => (None, None),
        })
    }
}

/// Reads the files again when they have changed.
#[derive(Debug)]
pub(super) struct Reloader {
    source: Source,
    current: Mutex<(Stamps, Arc<Loaded>)>,
}

/// What tells one version of the files from the next.
type Stamps = (Option<Stamp>, Option<Stamp>);

impl Reloader {
    pub(super) fn load(hosts: PathBuf, htpasswd: Option<PathBuf>) -> Result<Self, HostsError> {
        Self::from(Source::Hosts(hosts, htpasswd))
    }

    pub(super) fn load_admins(admins: PathBuf) -> Result<Self, HostsError> {
        Self::from(Source::Admins(admins))
    }

    pub(super) fn of_one_admin(name: PrincipalName, secret: &Secret) -> Self {
        let mut loaded = Loaded::default();
        loaded.insert(admin(name, Pace::default()), Some(StoredSecret::Random(secret.digest())), None);
        Self { source: Source::Nowhere, current: Mutex::new(((None, None), Arc::new(loaded))) }
    }

    fn from(source: Source) -> Result<Self, HostsError> {
        let stamps = source.stamps()?;
        let loaded = Arc::new(source.read()?);
        Ok(Self { source, current: Mutex::new((stamps, loaded)) })
    }

    /// The content of the files as they are now.
    pub(super) fn current(&self) -> Result<Arc<Loaded>, HostsError> {
        let stamps = self.source.stamps()?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != stamps {
            let loaded = Arc::new(self.source.read()?);
            tracing::info!(known = loaded.known.len(), "credentials have changed and were read again");
            *current = (stamps, loaded);
        }
        Ok(Arc::clone(&current.1))
    }
}

/// Who reaches every repository, with the role of maintenance.
fn admin(name: PrincipalName, pace: Pace) -> Principal {
    Principal { name, pace, grants: Vec::new(), elsewhere: Elsewhere::Everywhere(Role::Maintenance) }
}
