//! What a host is told so that it can back up, and who is let in and out by other commands than `pawl host`.
//!
//! Invariant: a password is in what is printed, once, and kept nowhere.

use std::path::{Path, PathBuf};

use pawl_config::files;
use pawl_config::url::{url_of, url_path};
use pawl_config::{Config, LISTEN_DEFAULT, Tls};
use pawl_policy::{PrincipalName, RepositoryName};
use serde::Serialize;

use crate::credentials::{CertificateOrder, GrantEntry, Host, Hosts, OfHtpasswd, Secret, hosts_path};
use crate::http::tls::ca_file;

/// What a host needs to know, in the form that scripts read.
#[derive(Debug, Serialize)]
pub struct Invitation {
    user: String,
    /// Absent if it is in the htpasswd file, or if a certificate takes its place.
    password: Option<String>,
    /// The first repository, as restic wants it, without the credential.
    repository: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repositories: Vec<String>,
    /// The CA that the host must trust; `null` if it trusts the server anyway or TLS is off.
    ca_file: Option<PathBuf>,
    /// The host's certificate with its key, if it has to bring one.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<PathBuf>,
}

impl Invitation {
    /// For a host that has these grants.
    pub fn new(
        config: &Config,
        name: &PrincipalName,
        secret: Option<&Secret>,
        grants: &[GrantEntry],
    ) -> Result<Self, files::FileError> {
        let base = base_url(config)?;
        let mut repositories: Vec<String> =
            grants.iter().map(|grant| format!("rest:{base}/{}/", grant.repository)).collect();
        let repository = repositories.first().cloned().unwrap_or_default();
        if repositories.len() == 1 {
            repositories.clear();
        }
        let ca = ca_file(&config.data);
        let own_ca = base.starts_with("https:") && !matches!(config.tls, Tls::Given { .. }) && ca.exists();
        Ok(Self {
            user: name.to_string(),
            password: secret.map(|secret| secret.reveal().to_owned()),
            repository,
            repositories,
            ca_file: own_ca.then_some(ca),
            client_certificate: None,
        })
    }

    /// Names the certificate that was ordered, if one was.
    #[must_use]
    pub fn with_certificate(mut self, order: Option<&CertificateOrder<'_>>) -> Self {
        let absolute = |file: &Path| std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        self.client_certificate = order.map(|order| absolute(order.file));
        self
    }

    /// Lines for a shell on the host. The credential goes into the repository's URL, since restic before 0.15
    /// knows no other place, and into the environment, where other users cannot see it.
    #[must_use]
    pub fn to_paste(&self) -> String {
        let mut lines = Vec::new();
        if let Some(file) = &self.client_certificate {
            lines.push(format!("# Move {} to the host as /etc/pawl-host.pem, mode 0600.", file.display()));
        }
        if let Some(ca) = &self.ca_file {
            lines.push(format!("# Copy {} to the host as /etc/pawl-ca.crt, then paste there:", ca.display()));
            lines.push("export RESTIC_CACERT=/etc/pawl-ca.crt".to_owned());
        }
        let credential = match (&self.password, &self.client_certificate) {
            (None, Some(_)) => "://".to_owned(),
            (password, _) => {
                let password = password.as_deref().unwrap_or("PASSWORD");
                format!("://{}:{password}@", self.user.replace('@', "%40"))
            }
        };
        if self.client_certificate.is_some() {
            lines.push("export RESTIC_TLS_CLIENT_CERT=/etc/pawl-host.pem".to_owned());
        }
        lines.push(format!("export RESTIC_REPOSITORY='{}'", self.repository.replacen("://", &credential, 1)));
        lines.push("restic init".to_owned());
        lines.push("restic backup ~".to_owned());
        lines.extend(self.repositories.iter().skip(1).map(|other| format!("# also: {other}")));
        lines.join("\n")
    }
}

/// The URL that hosts use: the configured one, else that of the last start, else what the configuration implies.
pub fn base_url(config: &Config) -> Result<String, files::FileError> {
    if let Some(url) = &config.public_url {
        return Ok(url.clone());
    }
    if let Some(url) = files::read(&url_path(&config.data))? {
        return Ok(url.trim().to_owned());
    }
    Ok(url_of(config.listen.first().unwrap_or(&LISTEN_DEFAULT), &config.tls))
}

/// How a host that was admitted gets in.
#[derive(Debug)]
pub enum Credential {
    /// By one that was just made.
    New {
        /// What to paste there, after the repository was initialised.
        lines: String,
    },
    /// By the one that it has, and with more rights than before.
    Granted,
    /// By the credential and the rights that it had before.
    There,
}

impl Credential {
    fn new(invitation: &Invitation) -> Self {
        Self::New { lines: invitation.to_paste().replace("restic init\n", "") }
    }
}

/// Lets a host back up to this repository, unless it may already.
pub fn admit(
    config: &Config,
    name: &PrincipalName,
    repository: &RepositoryName,
    secret: &Secret,
) -> Result<Credential, Box<dyn std::error::Error>> {
    let path = hosts_path(&config.data);
    let hosts = Hosts::read(&path)?;
    match hosts.hosts.get(name.as_str()).filter(|host| !host.is_revoked()) {
        Some(host) if host.grants.iter().any(|grant| grant.repository == repository.as_str()) => {
            if host.secret_sha256 != Some(secret.hash()) {
                return Ok(Credential::There);
            }
            let invitation = Invitation::new(config, name, Some(secret), &host.grants)?;
            return Ok(Credential::new(&invitation));
        }
        Some(_) => {
            Hosts::update(&path, |hosts| hosts.grant(name, &[GrantEntry::backup(repository.as_str())]))?;
            return Ok(Credential::Granted);
        }
        None => {}
    }
    let in_htpasswd = config.htpasswd.as_deref().map(|file| OfHtpasswd::read(file, &hosts)).transpose()?;
    if in_htpasswd.is_some_and(|beside| beside.users.contains(&(name.clone(), repository.clone()))) {
        return Ok(Credential::There);
    }
    Ok(Credential::new(&add_plain(config, name, repository, secret)?))
}

/// Whether a host may use this repository.
pub fn has_grant(config: &Config, repository: &RepositoryName) -> Result<bool, Box<dyn std::error::Error>> {
    let hosts = Hosts::read(&hosts_path(&config.data))?;
    let mut grants = hosts.hosts.values().flat_map(|host| &host.grants);
    Ok(grants.any(|grant| grant.repository == repository.as_str()))
}

/// Takes their right to a repository from all hosts that have one. Those that have no other lose their access. Returns a
/// sentence about each.
pub fn dismiss(
    config: &Config,
    repository: &RepositoryName,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let path = hosts_path(&config.data);
    let hosts = Hosts::read(&path)?;
    let is_meant = |grant: &GrantEntry| grant.repository == repository.as_str();
    let mut dismissed = Vec::new();
    for (name, host) in hosts.hosts.iter().filter(|(_, host)| host.grants.iter().any(is_meant)) {
        let name: PrincipalName = name.parse()?;
        if host.grants.iter().all(is_meant) {
            Hosts::update(&path, |hosts| hosts.revoke(&name, config.htpasswd.is_some()))?;
            dismissed.push(format!("{name} has no access any more."));
        } else {
            Hosts::update(&path, |hosts| hosts.take_grant(&name, repository))?;
            dismissed.push(format!("{name} may not use {repository} any more; its other repositories stay."));
        }
    }
    if let Some(file) = &config.htpasswd {
        for (name, _) in OfHtpasswd::read(file, &hosts)?.users.iter().filter(|(_, own)| own == repository) {
            Hosts::update(&path, |hosts| hosts.revoke(name, true))?;
            dismissed.push(format!("{name} of the htpasswd file has no access any more."));
        }
    }
    Ok(dismissed)
}

/// Adds the first host of a new data directory and returns what to paste there.
pub fn add_first(config: &Config, name: &PrincipalName) -> Result<String, Box<dyn std::error::Error>> {
    let own = name.as_str().parse();
    let own = own.map_err(|error| format!("'{name}' cannot name a repository: {error}"))?;
    Ok(add_plain(config, name, &own, &Secret::generate()?)?.to_paste())
}

fn add_plain(
    config: &Config,
    name: &PrincipalName,
    repository: &RepositoryName,
    secret: &Secret,
) -> Result<Invitation, Box<dyn std::error::Error>> {
    let grants = vec![GrantEntry::backup(repository.as_str())];
    Hosts::update(&hosts_path(&config.data), |hosts| {
        let secret_sha256 = Some(secret.hash());
        hosts.add(name, Host { secret_sha256, grants: grants.clone(), ..Host::default() }, None)
    })?;
    Ok(Invitation::new(config, name, Some(secret), &grants)?)
}
