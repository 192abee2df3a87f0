//! `pawl host`: who may use the frontend.
//!
//! Invariant: a password is printed once, by the command that made it, and kept nowhere. A host's key is in the file
//! that was asked for and nowhere else.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use pawl_config::Place;
use pawl_config::files;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_config::url::{url_of, url_path};
use pawl_config::{Config, LISTEN_DEFAULT, Tls};
use pawl_frontend::credentials::{CertificateOrder, GrantEntry, Host, Hosts, OfHtpasswd, Secret, hosts_path};
use pawl_frontend::http::tls::ca_file;
use pawl_policy::{PrincipalName, RepositoryName};
use serde::Serialize;

use crate::cli::{AddHost, AddRepository, GrantOptions, Host as Command, HostRole, NewCertificate};

mod list;

pub use list::policy_table;

/// Runs the command.
pub fn run(command: Command) -> Outcome {
    match command {
        Command::Add(options) => add(&options),
        Command::AddRepository(options) => add_repository(&options),
        Command::List { place, json } => list::list(&place, json),
        Command::Revoke { name, place } => revoke(&name, &place),
        Command::Rotate { name, certificate, place, json } => rotate(&name, &certificate, &place, json),
    }
}

/// The configuration that the options name; its data directory exists, or a slip of the pen would make another.
fn place(place: &Place) -> Result<Config, Box<dyn std::error::Error>> {
    let config = place.configuration()?;
    if !config.data.is_dir() {
        let data = config.data.display();
        return Err(format!("{data}: there is no such directory; `pawl serve` makes it").into());
    }
    files::make_directory(&config.data.join(".pawl"), 0o750)?;
    Ok(config)
}

/// What a host needs to know, in the form that scripts read.
#[derive(Debug, Serialize)]
struct Invitation {
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

/// What is ordered with the options, if anything is.
fn order<'a>(
    config: &'a Config,
    certificate: &'a NewCertificate,
) -> Result<Option<CertificateOrder<'a>>, Box<dyn std::error::Error>> {
    let Some(file) = certificate.file.as_deref() else {
        return Ok(None);
    };
    if config.plain_http || !base_url(config)?.starts_with("https:") {
        return Err("--certificate: this server speaks plain HTTP, and certificates are a part of TLS".into());
    }
    Ok(Some(CertificateOrder { data: &config.data, file, days: certificate.days }))
}

fn add(options: &AddHost) -> Outcome {
    let config = place(&options.place)?;
    if options.password_in_htpasswd && config.htpasswd.is_none() {
        return Err("--password-in-htpasswd needs a configuration with credentials.htpasswd".into());
    }
    let order = order(&config, &options.certificate)?;
    let has_password = !options.password_in_htpasswd && (order.is_none() || options.and_password);
    let secret = if has_password { Some(Secret::generate()?) } else { None };
    let grants = grants(options)?;
    Hosts::update(&hosts_path(&config.data), |hosts| {
        let secret_sha256 = secret.as_ref().map(Secret::hash);
        let host = Host {
            secret_sha256,
            requests_per_second: options.requests_per_second,
            bytes_per_second: options.bytes_per_second.map(exactly),
            total_quota: options.total_quota.map(exactly),
            total_quota_files: options.total_quota_files,
            grants: grants.clone(),
            ..Host::default()
        };
        hosts.add(&options.name, host, order.as_ref())
    })?;
    let invitation =
        Invitation::new(&config, &options.name, secret.as_ref(), &grants)?.with_certificate(order.as_ref());
    if options.json {
        return print::json(&invitation);
    }
    print::line(&invitation.to_paste())?;
    let Some(repository) = grants.first().map(|grant| &grant.repository) else { return Ok(()) };
    let enroll = hint::pawl(format!("maintain enroll {repository} --password-file FILE"));
    print::line(&format!("# Later, on the server, to have it pruned and checked every night:\n# {enroll}"))
}

fn add_repository(options: &AddRepository) -> Outcome {
    let config = place(&options.place)?;
    let AddRepository { name, repositories, grant, .. } = options;
    let grants = grants_for(repositories, grant)?;
    Hosts::update(&hosts_path(&config.data), |hosts| hosts.grant(name, &grants))?;
    for grant in &grants {
        print::line(&format!("{name} may use {} ({}) from now on.", grant.repository, grant.role))?;
    }
    Ok(())
}

fn grants(options: &AddHost) -> Result<Vec<GrantEntry>, Box<dyn std::error::Error>> {
    let mut repositories = options.repositories.clone();
    if repositories.is_empty() {
        let own: RepositoryName = options.name.as_str().parse().map_err(|error| {
            format!("'{}' cannot name a repository as well ({error}): give --repository", options.name)
        })?;
        repositories.push(own);
    }
    grants_for(&repositories, &options.grant)
}

fn grants_for(
    repositories: &[RepositoryName],
    options: &GrantOptions,
) -> Result<Vec<GrantEntry>, Box<dyn std::error::Error>> {
    let role = match options.role {
        HostRole::Backup => "backup",
        HostRole::Restore => "restore",
    };
    let grant = |repository: &RepositoryName| GrantEntry {
        repository: repository.to_string(),
        role: role.to_owned(),
        may_add_keys: options.may_add_keys,
        networks: options.networks.iter().map(ToString::to_string).collect(),
        expires: options.expires.clone(),
        quota: options.quota.map(exactly),
        quota_files: options.quota_files,
    };
    let grants: Vec<_> = repositories.iter().map(grant).collect();
    for grant in &grants {
        grant.parse()?;
    }
    Ok(grants)
}

/// A size as people write it, if that is exact, else in bytes.
fn exactly(size: ByteSize) -> String {
    let readable = size.display().iec().to_string();
    if readable.parse() == Ok(size) { readable } else { format!("{} B", size.as_u64()) }
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

impl Credential {
    fn new(invitation: &Invitation) -> Self {
        Self::New { lines: invitation.to_paste().replace("restic init\n", "") }
    }
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

fn revoke(name: &PrincipalName, at: &Place) -> Outcome {
    let config = place(at)?;
    Hosts::update(&hosts_path(&config.data), |hosts| hosts.revoke(name, config.htpasswd.is_some()))?;
    print::line(&format!("{name} has no access any more. What it stored is still there."))
}

fn rotate(name: &PrincipalName, certificate: &NewCertificate, at: &Place, json: bool) -> Outcome {
    let config = place(at)?;
    let order = order(&config, certificate)?;
    let secret = Secret::generate()?;
    let (has_password, grants) = Hosts::update(&hosts_path(&config.data), |hosts| {
        let host = hosts.rotate(name, &secret, order.as_ref())?;
        Ok((host.secret_sha256.is_some(), host.grants.clone()))
    })?;
    let secret = has_password.then_some(&secret);
    let invitation = Invitation::new(&config, name, secret, &grants)?.with_certificate(order.as_ref());
    if json { print::json(&invitation) } else { print::line(&invitation.to_paste()) }
}

impl Invitation {
    fn new(
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

    fn with_certificate(mut self, order: Option<&CertificateOrder<'_>>) -> Self {
        let absolute = |file: &Path| std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        self.client_certificate = order.map(|order| absolute(order.file));
        self
    }

    /// Lines for a shell on the host. The credential goes into the repository's URL, since restic before 0.15
    /// knows no other place, and into the environment, where other users cannot see it.
    fn to_paste(&self) -> String {
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
fn base_url(config: &Config) -> Result<String, files::FileError> {
    if let Some(url) = &config.public_url {
        return Ok(url.clone());
    }
    if let Some(url) = files::read(&url_path(&config.data))? {
        return Ok(url.trim().to_owned());
    }
    Ok(url_of(config.listen.first().unwrap_or(&LISTEN_DEFAULT), &config.tls))
}
