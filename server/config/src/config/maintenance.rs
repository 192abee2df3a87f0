//! The `[maintenance]` table: where admins come in, and how long things are kept.
//!
//! Invariant: the delay after which deletions become final is at least a day; that snapshots may be deleted at once has
//! to be written out.

use std::path::{Path, PathBuf};

use pawl_policy::{DAY_MS, PURGE_DELAY_DAYS, SNAPSHOT_FLOOR_MS, verify_interval_days_max};
use serde::Deserialize;

use super::refused::Refused;
use super::run::Run;
use super::{Listen, listen, report, run};
use crate::s3::{S3Settings, Weakness};

/// Days within which every byte is verified unless configured.
const VERIFY_DAYS: u32 = 7;

/// Ten years.
const DAYS_MAX: u32 = 3650;
/// The kernel's own limit (`sun_path`), less the zero at the end.
const SOCKET_BYTES_MAX: usize = 107;

/// What maintenance needs to know beside what frontend knows.
#[derive(Debug, Clone, Default)]
pub struct Maintenance {
    /// Where the maintenance server listens; in the data directory if this is empty.
    pub listen: Vec<Listen>,
    /// Days that a snapshot is protected from deletion; 7 unless written.
    min_snapshot_age_days: Option<u32>,
    /// Days after which deletions become final; 14 unless written.
    purge_delay_days: Option<u32>,
    /// Days within which every byte is verified; 7 unless written, and no more than half the delay.
    verify_interval_days: Option<u32>,
    /// For a bucket: a file of credentials, which are not those of `[s3]`.
    credentials_file: Option<PathBuf>,
    /// Which part of that file, or of the usual ones.
    profile: Option<String>,
    /// What is done every night, and how.
    pub run: Run,
    /// To whom the report is handed.
    pub report: report::Report,
}

impl Maintenance {
    /// The age from which on a snapshot can be deleted, in milliseconds.
    #[must_use]
    pub fn floor_ms(&self) -> u64 {
        self.min_snapshot_age_days.map_or(SNAPSHOT_FLOOR_MS, |days| u64::from(days) * DAY_MS)
    }

    /// How maintenance reaches the bucket that frontend reaches as `of_hosts` says: by a credential of its own, which
    /// can hide files and write down what it hid.
    pub fn s3(&self, of_hosts: &S3Settings) -> Result<S3Settings, NoCredential> {
        if self.credentials_file.is_none() && self.profile.is_none() {
            return Err(NoCredential);
        }
        let mut accept = of_hosts.accept.clone();
        // Hiding files is what it is for.
        accept.extend([Weakness::PowerfulCredential, Weakness::HidingCredential]);
        Ok(S3Settings {
            credentials_file: self.credentials_file.clone(),
            profile: self.profile.clone(),
            accept,
            ..of_hosts.clone()
        })
    }

    /// Days after which deletions become final.
    #[must_use]
    pub fn purge_delay_days(&self) -> u32 {
        self.purge_delay_days.unwrap_or(PURGE_DELAY_DAYS)
    }

    /// In so many nights at most `restic check` reads everything: while what a prune removed by mistake can be brought back.
    #[must_use]
    pub fn portions_max(&self) -> u32 {
        verify_interval_days_max(self.purge_delay_days()).max(1)
    }

    /// Within so long every byte is verified, in milliseconds: in half the delay at most, so that damage is found while
    /// the good version is still there.
    #[must_use]
    pub fn verify_ms(&self) -> u64 {
        let half = u64::from(self.purge_delay_days()) * DAY_MS / 2;
        half.min(u64::from(self.verify_interval_days.unwrap_or(VERIFY_DAYS)) * DAY_MS)
    }

    /// Where the maintenance server of this data directory listens, or why it has to be told where.
    pub fn places(&self, data: &Path) -> Result<Vec<Listen>, String> {
        if !self.listen.is_empty() {
            return Ok(self.listen.clone());
        }
        let socket = data.join(".pawl/maintenance/maintain.sock");
        let elsewhere = "say where to listen with --listen, or maintenance.listen in the configuration";
        let length = socket.as_os_str().len();
        if length > SOCKET_BYTES_MAX {
            return Err(format!(
                "{} has {length} bytes, and the path of a socket has at most {SOCKET_BYTES_MAX}; {elsewhere}",
                socket.display()
            ));
        }
        let place = format!("unix:{}", socket.display()).parse();
        Ok(vec![place.map_err(|error: super::ListenError| format!("{error}; {elsewhere}"))?])
    }
}

/// Maintenance does not use the credential of frontend unless it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "maintenance of a bucket needs a credential of its own, and there is none: set maintenance.credentials_file or \
     maintenance.profile. Give it the policy that `pawl policy s3 --role maintenance` prints; those of [s3] are used only \
     if the same are written there"
)]
pub struct NoCredential;

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default, deserialize_with = "listen::one_or_more")]
    listen: Option<Vec<Listen>>,
    min_snapshot_age_days: Option<u32>,
    purge_delay_days: Option<u32>,
    verify_interval_days: Option<u32>,
    credentials_file: Option<PathBuf>,
    profile: Option<String>,
    #[serde(default)]
    run: run::Written,
    #[serde(default)]
    report: report::Written,
}

impl Written {
    pub(super) fn check(self) -> Result<Maintenance, Refused> {
        let Self {
            listen,
            min_snapshot_age_days,
            purge_delay_days,
            verify_interval_days,
            credentials_file,
            profile,
            run,
            report,
        } = self;
        if listen.as_ref().is_some_and(Vec::is_empty) {
            return Err(("maintenance.listen", "expected at least one address".to_owned()));
        }
        if let Some(days) = min_snapshot_age_days.filter(|days| *days > DAYS_MAX) {
            return Err((
                "maintenance.min_snapshot_age_days",
                format!("expected 0 to {DAYS_MAX}, found {days}"),
            ));
        }
        if let Some(days) = purge_delay_days.filter(|days| !(1..=DAYS_MAX).contains(days)) {
            return Err(("maintenance.purge_delay_days", format!("expected 1 to {DAYS_MAX}, found {days}")));
        }
        let half = verify_interval_days_max(purge_delay_days.unwrap_or(PURGE_DELAY_DAYS));
        if let Some(days) = verify_interval_days.filter(|days| !(1..=half).contains(days)) {
            let reason = format!(
                "expected 1 to {half}, half of purge_delay_days, found {days}: damage has to be found before the good version \
                 is purged; set a smaller one, or a larger purge_delay_days"
            );
            return Err(("maintenance.verify_interval_days", reason));
        }
        if credentials_file.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(("maintenance.credentials_file", "expected an absolute path".to_owned()));
        }
        let (listen, run, report) = (listen.unwrap_or_default(), run.check()?, report.check()?);
        Ok(Maintenance {
            listen,
            min_snapshot_age_days,
            purge_delay_days,
            verify_interval_days,
            credentials_file,
            profile,
            run,
            report,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_in_the_data_directory_unless_it_cannot_be() {
        let default = Maintenance::default();
        let places = default.places(Path::new("/srv/pawl")).unwrap();
        assert_eq!(places[0].to_string(), "unix:/srv/pawl/.pawl/maintenance/maintain.sock");
        for data in ["/srv/my backups".to_owned(), format!("/srv/{}", "long/".repeat(20))] {
            let error = default.places(Path::new(&data)).unwrap_err();
            assert!(error.contains("maintenance.listen"), "{error}");
            let listen = vec!["127.0.0.1:1".parse().unwrap()];
            assert!(Maintenance { listen, ..Maintenance::default() }.places(Path::new(&data)).is_ok());
        }
    }

    #[test]
    fn the_defaults_are_a_week_and_two() {
        let default = Maintenance::default();
        assert_eq!((default.floor_ms(), default.purge_delay_days()), (7 * DAY_MS, 14));
        assert_eq!(default.verify_ms(), 7 * DAY_MS);
        let short = Written { purge_delay_days: Some(3), ..Written::default() }.check().unwrap();
        assert_eq!(short.verify_ms(), 3 * DAY_MS / 2);
        let none = Written { min_snapshot_age_days: Some(0), ..Written::default() }.check().unwrap();
        assert_eq!(none.floor_ms(), 0);
    }
}
