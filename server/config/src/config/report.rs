//! The `[maintenance.report]` table: to whom the report is handed.
//!
//! Invariant: no secret stands in the configuration, and none goes over a network without TLS.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::refused::Refused;

/// Days without a backup after which somebody should look, unless configured.
const SILENT_DAYS: u32 = 7;
/// Ten years.
const DAYS_MAX: u32 = 3650;
/// Whoever takes the report has so long, unless configured.
const TIMEOUT_SECONDS: u32 = 60;
/// A report that is still not taken after an hour holds up whatever comes next.
const TIMEOUT_SECONDS_MAX: u32 = 3600;
/// Places on this machine: what goes there crosses no network.
const HERE: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// To whom the report is handed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// A program and its arguments, which has the report on its standard input.
    pub command: Option<Vec<String>>,
    /// In which form: text unless written.
    pub format: Option<Format>,
    /// Where it is posted.
    pub webhook: Option<String>,
    /// In which form: JSON unless written.
    pub webhook_format: Option<Format>,
    /// Holds the value of the header `Authorization`.
    pub webhook_token_file: Option<PathBuf>,
    timeout_seconds: Option<u32>,
    silent_days: Option<u32>,
}

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For a terminal or a mail.
    Text,
    /// For programs.
    Json,
    /// A page for a browser.
    Html,
}

impl Report {
    /// Days without a backup after which somebody should look.
    #[must_use]
    pub fn silent_days(&self) -> u32 {
        self.silent_days.unwrap_or(SILENT_DAYS)
    }

    /// How long whoever takes the report may need.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_seconds.unwrap_or(TIMEOUT_SECONDS)))
    }

    /// Whether it is handed to anybody.
    #[must_use]
    pub const fn is_delivered(&self) -> bool {
        self.command.is_some() || self.webhook.is_some()
    }
}

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    command: Option<Vec<String>>,
    format: Option<Format>,
    webhook: Option<String>,
    webhook_format: Option<Format>,
    webhook_token_file: Option<PathBuf>,
    timeout_seconds: Option<u32>,
    silent_days: Option<u32>,
}

impl Written {
    pub(super) fn check(self) -> Result<Report, Refused> {
        let Self { command, format, webhook, webhook_format, webhook_token_file, .. } = self;
        if command.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty)) {
            let reason =
                "expected a program and its arguments, such as [\"mail\", \"-s\", \"Backups\", \"root\"]";
            return Err(("maintenance.report.command", reason.to_owned()));
        }
        if format.is_some() && command.is_none() {
            return Err((
                "maintenance.report.format",
                "is for maintenance.report.command, which is missing".to_owned(),
            ));
        }
        for (key, is_there) in [
            ("maintenance.report.webhook_format", webhook_format.is_some()),
            ("maintenance.report.webhook_token_file", webhook_token_file.is_some()),
        ] {
            if is_there && webhook.is_none() {
                return Err((key, "is for maintenance.report.webhook, which is missing".to_owned()));
            }
        }
        if let Some(url) = &webhook {
            check_url(url)?;
        }
        if webhook_token_file.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(("maintenance.report.webhook_token_file", "expected an absolute path".to_owned()));
        }
        for (key, value, max) in [
            ("maintenance.report.timeout_seconds", self.timeout_seconds, TIMEOUT_SECONDS_MAX),
            ("maintenance.report.silent_days", self.silent_days, DAYS_MAX),
        ] {
            if let Some(value) = value.filter(|value| !(1..=max).contains(value)) {
                return Err((key, format!("expected 1 to {max}, found {value}")));
            }
        }
        let Self { timeout_seconds, silent_days, .. } = self;
        Ok(Report {
            command,
            format,
            webhook,
            webhook_format,
            webhook_token_file,
            timeout_seconds,
            silent_days,
        })
    }
}

/// What a URL holds besides the host may be secret: errors do not repeat it.
fn check_url(url: &str) -> Result<(), Refused> {
    let refused = |reason: &str| Err(("maintenance.report.webhook", reason.to_owned()));
    let Some((scheme, rest)) = url.split_once("://") else {
        return refused("expected https://HOST/PATH");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refused("expected https://HOST/PATH");
    }
    if authority.contains('@') {
        return refused("expected no credential in the URL: put the header's value into webhook_token_file");
    }
    let is_here = HERE.iter().any(|here| {
        authority.strip_prefix(here).is_some_and(|port| port.is_empty() || port.starts_with(':'))
    });
    match scheme {
        "https" => Ok(()),
        "http" if is_here => Ok(()),
        "http" => {
            refused("expected https, or http to this machine (127.0.0.1): the report names hosts and files")
        }
        _ => refused("expected https://HOST/PATH"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_reached_by_tls_unless_it_is_on_this_machine() {
        for (url, is_good) in [
            ("https://monitor.example.org/hook?x=1", true),
            ("http://127.0.0.1:9000/", true),
            ("http://[::1]:9000", true),
            ("http://localhost/hook", true),
            ("http://monitor.example.org/", false),
            ("http://127.0.0.1.example.org/", false),
            ("http://localhost@example.org/", false),
            ("https://user:word@example.org/", false),
            ("https:///path", false),
            ("ftp://example.org/", false),
            ("https://example.org/a b", false),
            ("example.org", false),
        ] {
            assert_eq!(check_url(url).is_ok(), is_good, "{url}");
        }
    }
}
