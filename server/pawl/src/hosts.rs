//! `pawl host`: who may use the frontend.
//!
//! Invariant: a password is printed once, by the command that made it, and kept nowhere. A host's key is in the file
//! that was asked for and nowhere else.

use bytesize::ByteSize;
use pawl_config::Config;
use pawl_config::Place;
use pawl_config::files;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_frontend::credentials::{CertificateOrder, GrantEntry, Host, Hosts, Secret, hosts_path};
use pawl_frontend::invitation::{Invitation, base_url};
use pawl_policy::{PrincipalName, RepositoryName};

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
