//! `pawl maintain admin`: who may come in at the maintenance server.
//!
//! Invariant: an admin's password is printed once, by the command that made it, and kept nowhere; the file of admins is
//! in a directory that the frontend does not open.

use std::path::PathBuf;

use pawl_config::files;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_config::url::url_of;
use pawl_config::{Config, Tls};
use pawl_frontend::credentials::{Host, Hosts, HostsError, Secret, admins_path};
use pawl_frontend::http::tls::ca_file;
use pawl_policy::PrincipalName;
use serde::Serialize;

use super::session;
use super::state_file::directory;
use crate::command_line::Admin;

/// Runs the command.
pub(super) fn run(command: Admin) -> Outcome {
    match command {
        Admin::Add { name, place, json } => {
            let config = session::config(&place)?;
            let invitation = add(&config, &name)?;
            if json { print::json(&invitation) } else { print::line(&invitation.to_paste()) }
        }
        Admin::List { place, json } => {
            let path = admins_path(&session::config(&place)?.data);
            let admins = Hosts::read(&path)?;
            for complaint in admins.complaints(&path) {
                print::warning(&complaint);
            }
            let names: Vec<_> = admins.hosts.keys().collect();
            match (json, names.is_empty()) {
                (true, _) => print::json(&names),
                (false, true) => {
                    let add = hint::pawl("maintain admin add NAME");
                    print::line(&format!("There are no admins; `{add}` adds one."))
                }
                (false, false) => names.iter().try_for_each(|name| print::line(name)),
            }
        }
        Admin::Revoke { name, place } => {
            let config = session::config(&place)?;
            Hosts::update(&admins_path(&config.data), |admins| {
                admins.revoke(&name, false).map_err(|_| HostsError::UnknownAdmin(name.clone()))
            })?;
            print::line(&format!("{name} has no access any more."))
        }
        Admin::Rotate { name, place, json } => {
            let config = session::config(&place)?;
            let secret = Secret::generate()?;
            Hosts::update(&admins_path(&config.data), |admins| {
                let unknown = HostsError::UnknownAdmin(name.clone());
                let admin = admins.hosts.get_mut(name.as_str()).ok_or(unknown)?;
                admin.secret_sha256 = Some(secret.hash());
                Ok(())
            })?;
            let invitation = Invitation::new(&config, &name, &secret)?;
            if json { print::json(&invitation) } else { print::line(&invitation.to_paste()) }
        }
    }
}

/// Adds an admin.
pub(super) fn add(config: &Config, name: &PrincipalName) -> Result<Invitation, Box<dyn std::error::Error>> {
    let secret = Secret::generate()?;
    Hosts::update(&admins_path(&config.data), |admins| {
        if admins.hosts.contains_key(name.as_str()) || admins.bad.contains_key(name.as_str()) {
            return Err(HostsError::AdminExists(name.clone()));
        }
        let admin = Host { secret_sha256: Some(secret.hash()), ..Host::default() };
        admins.hosts.insert(name.to_string(), admin);
        Ok(())
    })?;
    Invitation::new(config, name, &secret)
}

/// Where the URL that the maintenance server was last reached at is written down.
pub(super) fn url_path(config: &Config) -> PathBuf {
    directory(&config.data).join("url")
}

/// What an admin needs to know, in the form that scripts read.
#[derive(Debug, Serialize)]
pub(super) struct Invitation {
    user: String,
    password: String,
    /// Where the repositories are, as restic wants it, without the credential: a repository's name and a slash follow.
    url: String,
    /// The CA to trust; `null` if there is no TLS, or a certificate that is trusted anyway.
    ca_file: Option<PathBuf>,
}

impl Invitation {
    fn new(
        config: &Config,
        name: &PrincipalName,
        secret: &Secret,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let url = if let Some(url) = files::read(&url_path(config))? {
            url.trim().to_owned()
        } else {
            let places = config.maintenance.places(&config.data)?;
            let tls = Tls::PrivateCa { names: Vec::new() };
            places.first().map(|place| url_of(place, &tls)).unwrap_or_default()
        };
        let own_ca = url.starts_with("https:") && !matches!(config.tls, Tls::Given { .. });
        Ok(Self {
            user: name.to_string(),
            password: secret.reveal().to_owned(),
            url: format!("rest:{url}/"),
            ca_file: own_ca.then(|| ca_file(&config.data)),
        })
    }

    /// Lines for a shell of the admin.
    pub(super) fn to_paste(&self) -> String {
        let mut lines = Vec::new();
        if let Some(ca) = &self.ca_file {
            lines.push(format!("# Copy {} to the admin's machine, then paste there:", ca.display()));
            lines.push("export RESTIC_CACERT=ca.crt".to_owned());
        }
        let credential = format!("://{}:{}@", self.user.replace('@', "%40"), self.password);
        let url = self.url.replacen("://", &credential, 1);
        lines.push(format!("export RESTIC_REPOSITORY='{url}REPOSITORY/'   # put its name here"));
        lines.push("restic forget --keep-within 7d --keep-daily 14 --keep-weekly 8 --prune".to_owned());
        lines.join("\n")
    }
}
