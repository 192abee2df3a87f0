//! Who is asking: from user name and password, certificate, or both, to a principal with its grants.
//!
//! Invariant: a lookup that fails refuses; secrets are compared in constant time, and an unknown user costs as
//! much as a wrong secret. Nothing here is printed or logged but names.

mod chosen;
mod client_ca;
mod error;
mod hosts;
mod htpasswd;
mod loaded;

use std::borrow::Cow;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pawl_config::pace::Pace;
use pawl_policy::{Grant, PrincipalName, Quota, RepositoryName, Role};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::peer::Origin;
use crate::throttle::Throttle;

use chosen::ChosenCheck;
pub use client_ca::{
    CERTIFICATE_DAYS_DEFAULT, CERTIFICATE_DAYS_MAX, CertificateOrder, Fingerprint, client_ca_path,
};
pub use error::HostsError;
pub use hosts::{GrantEntry, Host, Hosts, Secret, admins_path, hosts_path};
use loaded::{Known, Loaded, Reloader, StoredSecret};

/// Somebody who proved who they are.
#[derive(Debug)]
pub struct Principal {
    /// Its name.
    pub name: PrincipalName,
    /// How fast it may go.
    pub pace: Pace,
    grants: Vec<Grant>,
    elsewhere: Elsewhere,
}

/// What a principal may do in repositories for which it has no grant.
#[derive(Debug)]
enum Elsewhere {
    Nothing,
    /// Back up, in repositories below this one: as a user of rest-server with `--private-repos`.
    Below(RepositoryName),
    /// This, in all of them.
    Everywhere(Role),
}

impl Principal {
    /// What the principal was given on this repository.
    #[must_use]
    pub fn grant(&self, repository: &RepositoryName) -> Option<Cow<'_, Grant>> {
        let given = self.grants.iter().find(|grant| grant.repository == *repository).map(Cow::Borrowed);
        given.or_else(|| {
            self.elsewhere.role(repository).map(|role| Cow::Owned(Grant::new(repository.clone(), role)))
        })
    }
}

impl Elsewhere {
    fn role(&self, repository: &RepositoryName) -> Option<Role> {
        match self {
            Self::Nothing => None,
            Self::Below(above) => {
                let below = repository.as_str().strip_prefix(above.as_str())?;
                below.starts_with('/').then_some(Role::Backup)
            }
            Self::Everywhere(role) => Some(*role),
        }
    }
}

/// What an htpasswd file has beside the hosts file.
#[derive(Debug)]
pub struct OfHtpasswd {
    /// Users that are no hosts, each with the repository of its name, to which it backs up, as to those below.
    pub users: Vec<(PrincipalName, RepositoryName)>,
    /// Lines that let nobody in, in words.
    pub bad: Vec<String>,
}

impl OfHtpasswd {
    /// Reads an `.htpasswd` file: its users that are no hosts in `hosts`, and its lines that let nobody in.
    pub fn read(file: &Path, hosts: &Hosts) -> Result<Self, HostsError> {
        let (users, bad) = htpasswd::read(file)?;
        let users = users.into_iter().map(|(name, _)| name);
        let is_host = |name: &str| hosts.hosts.contains_key(name) || hosts.bad.contains_key(name);
        let others = users.filter(|name| !is_host(name.as_str()));
        let file = file.display();
        Ok(Self {
            users: others.filter_map(|name| Some((name.clone(), loaded::own_repository(&name)?))).collect(),
            bad: bad
                .iter()
                .map(|bad| format!("{file}, line {}: lets nobody in: {}", bad.number, bad.cause))
                .collect(),
        })
    }
}

/// What somebody brings to say who they are.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// User name and password.
    pub login: Option<(&'a str, &'a str)>,
    /// The certificate that the connection began with, whose key the peer has.
    pub certificate: Option<Fingerprint>,
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented(…)")
    }
}

/// Why nobody was recognised.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Unknown user, or not what this user has to bring; which of them is not said.
    #[error("unknown user, wrong password or wrong certificate")]
    Denied,
    /// Too many of these from this address.
    #[error(
        "too many failed logins from this address; the server allows credentials.failed_logins_per_minute"
    )]
    Throttled(Duration),
    /// The hosts could not be looked up.
    #[error("cannot look up hosts: {0}")]
    Unavailable(String),
}

/// All credentials that a frontend accepts.
#[derive(Debug)]
pub struct Credentials {
    reloader: Reloader,
    chosen: ChosenCheck,
    failures: Throttle,
}

impl Credentials {
    /// Credentials from the hosts file of `data`, and from `htpasswd` if there is one. Reads both once, so that
    /// what is wrong with them shows at start.
    pub fn load(
        hosts: PathBuf,
        htpasswd: Option<PathBuf>,
        failures_per_minute: NonZeroU32,
    ) -> Result<Self, HostsError> {
        Ok(Self {
            reloader: Reloader::load(hosts, htpasswd)?,
            chosen: ChosenCheck::new(),
            failures: Throttle::per_minute(failures_per_minute),
        })
    }

    /// Credentials from the file of admins, who reach all repositories.
    pub fn load_admins(admins: PathBuf, failures_per_minute: NonZeroU32) -> Result<Self, HostsError> {
        Ok(Self {
            reloader: Reloader::load_admins(admins)?,
            chosen: ChosenCheck::new(),
            failures: Throttle::per_minute(failures_per_minute),
        })
    }

    /// One admin, who is in no file.
    #[must_use]
    pub fn of_one_admin(name: PrincipalName, secret: &Secret, failures_per_minute: NonZeroU32) -> Self {
        Self {
            reloader: Reloader::of_one_admin(name, secret),
            chosen: ChosenCheck::new(),
            failures: Throttle::per_minute(failures_per_minute),
        }
    }

    /// Looks again whether the files have changed, and says in the log if they cannot be read.
    pub fn reload(&self) {
        if let Err(error) = self.reloader.current() {
            tracing::error!(%error, "no host can log in until this is mended");
        }
    }

    /// Who has a quota in which repository.
    pub fn quotas(&self) -> Result<Vec<(RepositoryName, PrincipalName, Quota)>, HostsError> {
        Ok(self.reloader.current()?.quotas().collect())
    }

    /// The repositories that anybody has a grant for.
    pub fn repositories(&self) -> Result<HashSet<RepositoryName>, HostsError> {
        Ok(self.reloader.current()?.repositories().cloned().collect())
    }

    /// The name that is claimed, if anybody has it. Whoever claimed it has not proved to be that.
    #[must_use]
    pub fn known_name(&self, presented: Presented<'_>) -> Option<PrincipalName> {
        let loaded = self.reloader.current().ok()?;
        claimed(&loaded, presented).map(|known| known.principal.name.clone())
    }

    /// Recognises a principal by all that it has to bring: its user name and password, its certificate, or both.
    /// A certificate that is not asked for contradicts.
    pub async fn authenticate(
        &self,
        presented: Presented<'_>,
        from: Origin,
    ) -> Result<Arc<Principal>, AuthenticationError> {
        let loaded = self.reloader.current().map_err(|error| {
            tracing::error!(%error, "no host can log in until this is mended");
            AuthenticationError::Unavailable(error.to_string())
        })?;
        let known = claimed(&loaded, presented);
        let secret = known.and_then(|known| known.secret.as_ref());
        let password_is_right = match presented.login {
            Some((_, password)) => self.is_right(&loaded, secret, password, from).await?,
            None => secret.is_none(),
        };
        let all_is_right = |known: &&Known| password_is_right && known.certificate == presented.certificate;
        if let Some(known) = known.filter(all_is_right) {
            return Ok(Arc::clone(&known.principal));
        }
        match self.failures.count(from) {
            Ok(()) => Err(AuthenticationError::Denied),
            Err(wait) => Err(AuthenticationError::Throttled(wait)),
        }
    }

    /// Whether this is the password that is stored; without one it never is.
    async fn is_right(
        &self,
        loaded: &Loaded,
        stored: Option<&StoredSecret>,
        password: &str,
        from: Origin,
    ) -> Result<bool, AuthenticationError> {
        let right = match stored {
            Some(StoredSecret::Random(stored)) => same(stored, &Sha256::digest(password)),
            Some(StoredSecret::Chosen(stored)) => return self.chosen.is_right(stored, password, from).await,
            None => {
                // The same work as for a known user, and never right.
                let _ = same(&[0; 32], &Sha256::digest(password));
                false
            }
        };
        // Where there are chosen passwords, every failure costs the verification of one, or its time would tell
        // users apart.
        if !right && let Some(decoy) = loaded.costliest() {
            self.chosen.is_right(decoy, password, from).await?;
        }
        Ok(right)
    }
}

/// Who they say they are: by user name, or without one by certificate.
fn claimed<'a>(loaded: &'a Loaded, presented: Presented<'_>) -> Option<&'a Known> {
    match presented {
        Presented { login: Some((user, _)), .. } => loaded.find(user),
        Presented { login: None, certificate } => loaded.holder(certificate?),
    }
}

fn same(stored: &[u8], presented: &[u8]) -> bool {
    stored.ct_eq(presented).into()
}
