//! `pawl host list`, and what one principal may do.
//!
//! Invariant: no hash of a secret is shown.

use std::num::NonZeroU32;

use pawl_config::Place;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_frontend::credentials::{GrantEntry, Host, Hosts, HostsError, OfHtpasswd, hosts_path};
use pawl_policy::PrincipalName;
use serde::Serialize;

use super::place;
use crate::cli::PolicyTable;
#[derive(Debug, Serialize)]
struct Listed<'a> {
    user: &'a str,
    password_in_htpasswd: bool,
    way_in: &'static str,
    /// Whether it may use what lies below its repositories as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    and_below: bool,
    #[serde(flatten)]
    host: Shown<'a>,
}

/// What the hosts file says of a host, without hashes.
#[derive(Debug, Default, Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_quota: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_quota_files: Option<u64>,
    grants: &'a [GrantEntry],
}

impl<'a> Shown<'a> {
    fn of(host: &'a Host) -> Self {
        Self {
            requests_per_second: host.requests_per_second,
            bytes_per_second: host.bytes_per_second.as_deref(),
            total_quota: host.total_quota.as_deref(),
            total_quota_files: host.total_quota_files,
            grants: &host.grants,
        }
    }
}

pub(super) fn list(at: &Place, json: bool) -> Outcome {
    let config = place(at)?;
    let path = hosts_path(&config.data);
    let hosts = Hosts::read(&path)?;
    for complaint in hosts.complaints(&path) {
        print::warning(&complaint);
    }
    let htpasswd = config.htpasswd.as_deref().map(|file| OfHtpasswd::read(file, &hosts)).transpose()?;
    let of_htpasswd = htpasswd.iter().flat_map(|read| &read.users);
    let others: Vec<(&PrincipalName, [GrantEntry; 1])> =
        of_htpasswd.map(|(name, repository)| (name, [GrantEntry::backup(repository.as_str())])).collect();
    let mut listed: Vec<Listed<'_>> = hosts
        .hosts
        .iter()
        .map(|(user, host)| Listed {
            user,
            password_in_htpasswd: host.secret_sha256.is_none() && host.certificate_sha256.is_none(),
            way_in: host.way_in(),
            and_below: false,
            host: Shown::of(host),
        })
        .collect();
    listed.extend(others.iter().map(|(user, grants)| Listed {
        user: user.as_str(),
        password_in_htpasswd: true,
        way_in: "password in htpasswd",
        and_below: true,
        host: Shown { grants, ..Shown::default() },
    }));
    for bad in htpasswd.iter().flat_map(|read| &read.bad) {
        print::warning(bad);
    }
    if json {
        return print::json(&listed);
    }
    if listed.is_empty() {
        return print::line(&format!("There are no hosts; `{}` adds one.", hint::pawl("host add NAME")));
    }
    for Listed { user, way_in, and_below, host, .. } in listed {
        if host.grants.is_empty() {
            print::line(&format!("{user:<24} revoked"))?;
        }
        for grant in host.grants {
            let GrantEntry { role, repository, .. } = grant;
            let below = if and_below { " and what is below it" } else { "" };
            let limits = limits(&host, grant);
            print::line(&format!("{user:<24} {role:<8} {repository}{below}{limits}, by {way_in}"))?;
        }
    }
    Ok(())
}

/// `pawl policy table`: the whole table, or what one principal can do.
pub fn policy_table(options: PolicyTable) -> Outcome {
    let Some(name) = options.principal else { return print::line(pawl_policy::table().trim_end()) };
    let config = place(&Place { data: options.data, config: options.config })?;
    let hosts = Hosts::read(&hosts_path(&config.data))?;
    let Some(host) = hosts.hosts.get(name.as_str()) else { return Err(HostsError::Unknown(name).into()) };
    for entry in &host.grants {
        let grant = entry.parse()?;
        print::line(&format!(
            "{name} in {}: {}{}\n",
            grant.repository,
            grant.role,
            limits(&Shown::of(host), entry)
        ))?;
        print::line(&pawl_policy::table_for(grant.role, grant.may_add_keys))?;
    }
    print::line("In any other repository: nothing.")
}

/// What a grant is limited by, in words.
fn limits(host: &Shown<'_>, grant: &GrantEntry) -> String {
    let mut words = String::new();
    if grant.may_add_keys {
        words.push_str(", may add keys");
    }
    if !grant.networks.is_empty() {
        words.push_str(", from ");
        words.push_str(&grant.networks.join(" "));
    }
    for (label, value) in [
        (", until ", grant.expires.clone()),
        (", up to ", grant.quota.clone()),
        (", files up to ", grant.quota_files.map(|files| files.to_string())),
        (", in all up to ", host.total_quota.map(str::to_owned)),
        (", files in all up to ", host.total_quota_files.map(|files| files.to_string())),
        (", requests a second ", host.requests_per_second.map(|requests| requests.to_string())),
        (", bytes a second ", host.bytes_per_second.map(str::to_owned)),
    ] {
        if let Some(value) = value {
            words.push_str(label);
            words.push_str(&value);
        }
    }
    words
}
