//! Who is asking: from user name and password to a principal with its grants.
//!
//! Invariant: a lookup that fails refuses; secrets are compared in constant time, and an unknown user costs as
//! much as a wrong secret. Nothing here is printed or logged but names.

mod chosen;
mod hosts;
mod htpasswd;
mod loaded;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pawl_policy::{Grant, PrincipalName, RepositoryName};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::pace::Pace;
use crate::peer::Origin;
use crate::throttle::Throttle;

use chosen::ChosenCheck;
pub use hosts::{GrantEntry, Host, Hosts, HostsError, Secret, hosts_path};
use loaded::{Loaded, Reloader, StoredSecret};

/// Somebody who proved who they are.
#[derive(Debug)]
pub struct Principal {
    /// Its name.
    pub name: PrincipalName,
    /// How fast it may go.
    pub pace: Pace,
    grants: Vec<Grant>,
}

impl Principal {
    /// What the principal was given on this repository.
    #[must_use]
    pub fn grant(&self, repository: &RepositoryName) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.repository == *repository)
    }
}

/// Why nobody was recognised.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Unknown user or wrong secret; which of them is not said.
    #[error("unknown user or wrong password")]
    Denied,
    /// Too many of these from this address.
    #[error("too many failed logins from this address")]
    Throttled(Duration),
    /// The hosts could not be looked up.
    #[error("cannot look up hosts: {0}")]
    Unavailable(String),
}

/// All credentials that the backup door accepts.
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

    /// Looks again whether the files have changed, and says in the log if they cannot be read.
    pub fn reload(&self) {
        if let Err(error) = self.reloader.current() {
            tracing::error!(%error, "no host can log in until this is mended");
        }
    }

    /// The repositories that anybody has a grant for.
    pub fn repositories(&self) -> Result<HashSet<RepositoryName>, HostsError> {
        Ok(self.reloader.current()?.repositories().cloned().collect())
    }

    /// The name, if anybody has it. Whoever claimed it has not proved anything.
    #[must_use]
    pub fn known_name(&self, user: &str) -> Option<PrincipalName> {
        let loaded = self.reloader.current().ok()?;
        loaded.find(user).map(|known| known.principal.name.clone())
    }

    /// Recognises a principal by its user name and password.
    pub async fn authenticate(
        &self,
        user: &str,
        password: &str,
        from: Origin,
    ) -> Result<Arc<Principal>, AuthenticationError> {
        let loaded = self.reloader.current().map_err(|error| {
            tracing::error!(%error, "no host can log in until this is mended");
            AuthenticationError::Unavailable(error.to_string())
        })?;
        if let Some(principal) = self.check(&loaded, user, password, from).await? {
            return Ok(principal);
        }
        match self.failures.count(from) {
            Ok(()) => Err(AuthenticationError::Denied),
            Err(wait) => Err(AuthenticationError::Throttled(wait)),
        }
    }

    async fn check(
        &self,
        loaded: &Loaded,
        user: &str,
        password: &str,
        from: Origin,
    ) -> Result<Option<Arc<Principal>>, AuthenticationError> {
        let known = loaded.find(user);
        let right = match known.map(|known| &known.secret) {
            Some(StoredSecret::Random(stored)) => same(stored, &Sha256::digest(password)),
            Some(StoredSecret::Chosen(stored)) => {
                let right = self.chosen.is_right(stored, password, from).await?;
                return Ok(known.filter(|_| right).map(|known| Arc::clone(&known.principal)));
            }
            None => {
                // The same work as for a known user, and never right.
                let _ = same(&[0; 32], &Sha256::digest(password));
                false
            }
        };
        if right {
            return Ok(known.map(|known| Arc::clone(&known.principal)));
        }
        // Where there are chosen passwords, every failure costs the verification of one, or its time would tell
        // users apart.
        if let Some(decoy) = loaded.costliest() {
            self.chosen.is_right(decoy, password, from).await?;
        }
        Ok(None)
    }
}

fn same(stored: &[u8], presented: &[u8]) -> bool {
    stored.ct_eq(presented).into()
}
