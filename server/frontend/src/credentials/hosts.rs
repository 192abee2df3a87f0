//! The hosts file: who may do what, written by `pawl host`.
//!
//! Invariant: it holds hashes of secrets, never a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use pawl_config::files;
use pawl_config::format::Version;
use pawl_config::pace::Pace;
use pawl_config::time;
use pawl_policy::{Grant, InvalidNetwork, PrincipalName, Quota, RepositoryName, Role};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::client_ca::{CertificateOrder, Fingerprint};
use super::error::{HostsError, OF_MAINTENANCE};

const HEADER: &str = "# Who may do what. Written by `pawl host` or `pawl maintain admin`; it holds no secrets, only their SHA-256.\n\n";

/// Where the hosts file of a data directory is.
#[must_use]
pub fn hosts_path(data: &Path) -> PathBuf {
    data.join(".pawl/hosts.toml")
}

/// Where the file of admins of a data directory is, which has the same form.
#[must_use]
pub fn admins_path(data: &Path) -> PathBuf {
    data.join(".pawl/maintenance/admins.toml")
}

/// A host's password: 256 random bits. Its `Debug` form does not show them.
pub struct Secret(String);

impl Secret {
    /// A new one.
    pub fn generate() -> Result<Self, HostsError> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)?;
        Ok(Self(format!("pawl_{}", hex::encode(bits))))
    }

    /// One that was made before.
    #[must_use]
    pub const fn again(text: String) -> Self {
        Self(text)
    }

    /// The password, to be shown once to whoever added the host.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it. A fast hash will do for 256 random bits.
    #[must_use]
    pub fn hash(&self) -> String {
        hex::encode(self.digest())
    }

    /// The same as it is compared.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The hosts file's content.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Hosts by name.
    pub hosts: BTreeMap<String, Host>,
    /// Entries that cannot be understood, by name. They let nobody in, and stay as they are.
    pub bad: BTreeMap<String, BadEntry>,
}

/// An entry that cannot be understood.
#[derive(Debug)]
pub struct BadEntry {
    written: toml::Value,
    /// Why the entry cannot be understood.
    pub cause: String,
}

/// The file as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    version: Version<1>,
    #[serde(default, rename = "host")]
    hosts: BTreeMap<String, toml::Value>,
}

/// The file as it is written.
#[derive(Serialize)]
struct ToWrite<'a> {
    version: Version<1>,
    #[serde(rename = "host")]
    hosts: BTreeMap<&'a str, Entry<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Good(&'a Host),
    Bad(&'a toml::Value),
}

/// One host.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// SHA-256 of the password in hexadecimal; absent if the password is in the htpasswd file, or if there is a
    /// certificate instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_sha256: Option<String>,
    /// Requests each second; more wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<NonZeroU32>,
    /// Bytes each second of uploads and downloads together, such as `50 MiB`; more wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<String>,
    /// SHA-256 of the certificate in hexadecimal, if the host has to bring one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// How much it may have stored in all its repositories, such as `500 GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_quota: Option<String>,
    /// The same in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_quota_files: Option<u64>,
    /// What it may do where.
    pub grants: Vec<GrantEntry>,
}

/// One repository that a host may use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantEntry {
    /// The repository's name.
    pub repository: String,
    /// `backup` or `restore`.
    pub role: String,
    /// Whether key files may be added to the initialised repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_add_keys: bool,
    /// From where it may be used; from anywhere if this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// The day (UTC) or moment at which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// How much the repository may hold for the host to add to it, such as `200 GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// The same in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_files: Option<u64>,
}

impl GrantEntry {
    /// May back up to this repository, from anywhere, for good and without limit.
    #[must_use]
    pub fn backup(repository: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            role: "backup".to_owned(),
            may_add_keys: false,
            networks: Vec::new(),
            expires: None,
            quota: None,
            quota_files: None,
        }
    }

    /// The grant, if every word of it is valid at the frontend.
    pub fn parse(&self) -> Result<Grant, String> {
        let repository: RepositoryName =
            self.repository.parse().map_err(|error| format!("repository '{}': {error}", self.repository))?;
        let role = match self.role.parse() {
            Ok(role @ (Role::Backup | Role::Restore)) => role,
            Ok(Role::Maintenance) | Err(_) => {
                return Err(format!("role '{}': expected backup or restore", self.role));
            }
        };
        let networks = self
            .networks
            .iter()
            .map(|text| text.parse().map_err(|error: InvalidNetwork| format!("networks '{text}': {error}")));
        let expires = self.expires.as_deref().map(time::parse).transpose();
        let expires = expires.map_err(|error| format!("expires {error}"))?;
        let bytes = self.quota.as_deref().map(str::parse::<ByteSize>).transpose();
        let bytes = bytes.map_err(|error| format!("quota: expected a size such as 200 GiB: {error}"))?;
        Ok(Grant {
            may_add_keys: self.may_add_keys,
            networks: networks.collect::<Result<_, _>>()?,
            // Before 1970 is over as well.
            expires_ms: expires.map(|moment| u64::try_from(moment.as_millisecond()).unwrap_or(0)),
            quota: Quota::new(bytes.map(|size| size.as_u64()), self.quota_files),
            ..Grant::new(repository, role)
        })
    }
}

impl Hosts {
    /// Reads the file; an absent one has no hosts.
    pub fn read(path: &Path) -> Result<Self, HostsError> {
        let text = files::read(path)?.unwrap_or_default();
        let invalid = |cause: String| HostsError::Invalid { path: path.to_owned(), cause };
        let Written { hosts: entries, version: Version } =
            toml::from_str(&text).map_err(|error| invalid(without_quote(&error, &text)))?;
        let mut hosts = Self::default();
        for (name, written) in entries {
            match Host::understand(&name, written.clone()) {
                Ok(host) => drop(hosts.hosts.insert(name, host)),
                Err(cause) => drop(hosts.bad.insert(name, BadEntry { written, cause })),
            }
        }
        Ok(hosts)
    }

    fn to_text(&self) -> Result<String, toml::ser::Error> {
        let good = self.hosts.iter().map(|(name, host)| (name.as_str(), Entry::Good(host)));
        let bad = self.bad.iter().map(|(name, entry)| (name.as_str(), Entry::Bad(&entry.written)));
        toml::to_string(&ToWrite { version: Version, hosts: good.chain(bad).collect() })
    }

    /// The entries that cannot be understood, in words.
    #[must_use]
    pub fn complaints(&self, path: &Path) -> Vec<String> {
        let path = path.display();
        let words = |(name, entry): (&String, &BadEntry)| {
            format!("{path}: the entry of '{name}' cannot be understood, and lets nobody in: {}", entry.cause)
        };
        self.bad.iter().map(words).collect()
    }

    /// Reads the file, lets `change` work on it and puts the result in its place, holding other writers off.
    pub fn update<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, HostsError>,
    ) -> Result<T, HostsError> {
        let _lock = files::lock(&path.with_extension("lock"))?;
        let mut hosts = Self::read(path)?;
        let result = change(&mut hosts)?;
        let text = hosts
            .to_text()
            .map_err(|error| HostsError::Invalid { path: path.to_owned(), cause: error.to_string() })?;
        files::replace(path, &format!("{HEADER}{text}"), 0o640)?;
        Ok(result)
    }

    /// Adds a host, with the certificate that is ordered for it.
    pub fn add(
        &mut self,
        name: &PrincipalName,
        mut host: Host,
        order: Option<&CertificateOrder<'_>>,
    ) -> Result<(), HostsError> {
        if name.as_str().starts_with(OF_MAINTENANCE) {
            return Err(HostsError::Reserved(name.clone()));
        }
        let is_there = self.hosts.get(name.as_str()).is_some_and(|there| !there.is_revoked());
        if is_there || self.bad.contains_key(name.as_str()) {
            return Err(HostsError::Exists(name.clone()));
        }
        if let Some(order) = order {
            host.certificate_sha256 = Some(order.issue(name)?.to_string());
        }
        self.hosts.insert(name.to_string(), host);
        Ok(())
    }

    /// Gives a host more repositories. What it may do in others stays.
    pub fn grant(&mut self, name: &PrincipalName, grants: &[GrantEntry]) -> Result<(), HostsError> {
        let host = self.hosts.get_mut(name.as_str()).filter(|host| !host.is_revoked());
        let host = host.ok_or_else(|| HostsError::Unknown(name.clone()))?;
        for grant in grants {
            if host.grants.iter().any(|there| there.repository == grant.repository) {
                return Err(HostsError::Granted(name.clone(), grant.repository.clone()));
            }
            host.grants.push(grant.clone());
        }
        Ok(())
    }

    /// Takes a host's right to a repository. What it may do in others stays.
    pub fn take_grant(
        &mut self,
        name: &PrincipalName,
        repository: &RepositoryName,
    ) -> Result<(), HostsError> {
        let host = self.hosts.get_mut(name.as_str()).ok_or_else(|| HostsError::Unknown(name.clone()))?;
        host.grants.retain(|grant| grant.repository != repository.as_str());
        Ok(())
    }

    /// Takes a host's access away. What it stored stays. Where an htpasswd file may know the name as well, an entry
    /// without grants stays, too, so that the host does not come back as a user of that file.
    pub fn revoke(&mut self, name: &PrincipalName, with_htpasswd: bool) -> Result<(), HostsError> {
        let was_bad = self.bad.remove(name.as_str()).is_some();
        if with_htpasswd {
            self.hosts.insert(name.to_string(), Host::default());
            return Ok(());
        }
        let was_there = self.hosts.remove(name.as_str()).is_some();
        if was_bad || was_there { Ok(()) } else { Err(HostsError::Unknown(name.clone())) }
    }

    /// Renews what a host has: its password with `secret`, its certificate as ordered. Returns the host.
    pub fn rotate(
        &mut self,
        name: &PrincipalName,
        secret: &Secret,
        order: Option<&CertificateOrder<'_>>,
    ) -> Result<&Host, HostsError> {
        let host = self.hosts.get_mut(name.as_str()).ok_or_else(|| HostsError::Unknown(name.clone()))?;
        match (&host.certificate_sha256, order) {
            (None, None) if host.secret_sha256.is_none() => return Err(HostsError::InHtpasswd(name.clone())),
            (None, None) => {}
            (None, Some(_)) => return Err(HostsError::NoCertificate(name.clone())),
            (Some(_), None) => return Err(HostsError::NoFile(name.clone())),
            (Some(_), Some(order)) => host.certificate_sha256 = Some(order.issue(name)?.to_string()),
        }
        if let Some(hash) = &mut host.secret_sha256 {
            *hash = secret.hash();
        }
        Ok(host)
    }
}

/// An error without the line that it is about, which might hold what should not be shown.
fn without_quote(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.split('\n').count(), error.message())
}

impl Host {
    /// The host of this name, if every word of its entry is valid.
    fn understand(name: &str, written: toml::Value) -> Result<Self, String> {
        name.parse::<PrincipalName>().map_err(|error| error.to_string())?;
        let host: Self = written.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        host.secret().ok_or("secret_sha256: expected 64 hexadecimal digits")?;
        host.pace()?;
        host.total_quota()?;
        host.certificate().ok_or("certificate_sha256: expected 64 hexadecimal digits")?;
        host.grants.iter().try_for_each(|grant| grant.parse().map(drop))?;
        Ok(host)
    }

    /// How much it may have stored.
    pub fn total_quota(&self) -> Result<Quota, String> {
        let bytes = self.total_quota.as_deref().map(str::parse::<ByteSize>).transpose();
        let bytes =
            bytes.map_err(|error| format!("total_quota: expected a size such as 500 GiB: {error}"))?;
        Ok(Quota::new(bytes.map(|size| size.as_u64()), self.total_quota_files))
    }

    /// How fast it may go.
    pub fn pace(&self) -> Result<Pace, String> {
        let bytes = self.bytes_per_second.as_deref().map(str::parse::<ByteSize>).transpose();
        let bytes =
            bytes.map_err(|error| format!("bytes_per_second: expected a size such as 50 MiB: {error}"))?;
        Ok(Pace::new(self.requests_per_second, bytes.map(|size| size.as_u64())))
    }

    /// Whether this is what a host leaves that was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.secret_sha256.is_none() && self.certificate_sha256.is_none() && self.grants.is_empty()
    }

    /// How the host says who it is.
    #[must_use]
    pub const fn way_in(&self) -> &'static str {
        match (&self.secret_sha256, &self.certificate_sha256) {
            (Some(_), None) => "password",
            (Some(_), Some(_)) => "certificate and password",
            (None, Some(_)) => "certificate",
            (None, None) => "password in htpasswd",
        }
    }

    /// What the certificate must be, as with [`Self::secret`].
    #[expect(clippy::option_option, reason = "absent and invalid are different things")]
    pub(super) fn certificate(&self) -> Option<Option<Fingerprint>> {
        match &self.certificate_sha256 {
            None => Some(None),
            Some(text) => Fingerprint::parse(text).map(Some),
        }
    }

    /// The stored hash, `Some(None)` if the password is elsewhere, `None` if what stands there is no hash.
    #[expect(clippy::option_option, reason = "absent and invalid are different things")]
    pub(super) fn secret(&self) -> Option<Option<[u8; 32]>> {
        match &self.secret_sha256 {
            None => Some(None),
            Some(text) => hex::decode(text).ok()?.try_into().ok().map(Some),
        }
    }
}
