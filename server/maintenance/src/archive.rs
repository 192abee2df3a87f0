//! `pawl audit archive`: which files of the logs are archived, and where to.
//!
//! Invariant: what the last report left with can be compared still: its records of the logs are the last of what was
//! archived, or not archived.

use std::path::Path;

use pawl_config::print::{self, Outcome};
use pawl_config::{Config, Log, LogLevel, log, time};
use pawl_keeper::audit::{self, Archived, LOGS};
use pawl_keeper::{Act, AuditEvent};
use serde::Serialize;

use super::{report, session};
use crate::command_line::ArchiveAudit;

/// What was archived of a log, in the form that scripts read.
#[derive(Serialize)]
struct OfLog {
    log: &'static str,
    files: usize,
    bytes: u64,
    /// Number and hash of the last record; `null` if nothing was archived.
    last: Option<audit::Head>,
}

/// Runs the command.
pub fn run(options: &ArchiveAudit) -> Outcome {
    let before = time::parse(&options.before)?;
    let mut config = session::config(&options.place)?;
    config.log = Log { level: LogLevel::Warn, ..config.log };
    log::start(config.log);
    let to = directory(&options.to, &config.data)?;
    let told = report::told(&config.data)?;
    let (mut all, mut failed) = (Vec::new(), None);
    for (log, directory) in LOGS.into_iter().zip(audit::directories(&config.data)) {
        // Of a log of which the last report knew nothing, the next one knows nothing either.
        let told = told.as_ref().map(|told| told.get(log).copied().unwrap_or(0));
        match audit::archive(&directory, &to.join(log), before, told) {
            Ok(Archived { files, bytes, last }) => all.push(OfLog { log, files, bytes, last }),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    tell(&config, &all)?;
    failed.map_or(Ok(()), Err)?;
    if options.json {
        return print::json(&all);
    }
    all.iter().try_for_each(|of| print::line(&words(of, &options.before, &to)))
}

/// Has each move written into the audit log of maintenance.
fn tell(config: &Config, all: &[OfLog]) -> Outcome {
    let principal = session::user()?.to_string();
    let moved = all.iter().filter_map(|of| Some((of, of.last.as_ref()?)));
    let told = moved.map(|(of, last)| AuditEvent {
        act: Act::Archive { files: u64::try_from(of.files).unwrap_or(u64::MAX), last: last.number },
        principal: principal.clone(),
        repository: of.log.to_owned(),
        file: None,
        bytes: Some(of.bytes),
        batch: None,
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() { Ok(()) } else { session::tell_or_keep(config, told) }
}

/// The directory, which is there and lies elsewhere.
fn directory(to: &Path, data: &Path) -> Result<std::path::PathBuf, String> {
    let failed =
        |why: String| format!("{}: expected a directory outside of the data directory, {why}", to.display());
    let found =
        std::fs::canonicalize(to).map_err(|error| failed(format!("found none ({error}); make it first")))?;
    let data = std::fs::canonicalize(data).map_err(|error| format!("{}: {error}", data.display()))?;
    if !found.is_dir() {
        return Err(failed("found something else".to_owned()));
    }
    if found.starts_with(&data) {
        return Err(failed("found one within it".to_owned()));
    }
    Ok(found)
}

fn words(of: &OfLog, before: &str, to: &Path) -> String {
    let OfLog { log, files, bytes, last } = of;
    let Some(last) = last else {
        return format!(
            "{log}: nothing was archived; expected a file that another follows, that the last report has read, and of which \
             all records are from before {before}"
        );
    };
    format!(
        "{log}: {} ({}) moved to {}, up to record {} with the hash {}",
        report::number(u64::try_from(*files).unwrap_or(u64::MAX), "file"),
        bytesize::ByteSize(*bytes),
        to.join(log).display(),
        last.number,
        last.hash
    )
}
