//! `pawl audit`: is the log whole, and what does it say?
//!
//! Invariant: what `show` prints comes from a log that was verified while it was read.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::added::Added;
use super::{Broken, Decision, Event, Line, Verified, files, verify, verify_whole};
use crate::cli::{Audit, ShowAudit, VerifyAudit};
use crate::print::{self, Outcome};
use crate::serve::configuration;
use crate::time;

/// Runs the command.
pub fn run(command: Audit) -> Outcome {
    match command {
        Audit::Verify(options) => verify_log(options),
        Audit::Show(options) => show(&options),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    lines: u64,
    first: u64,
    number: u64,
    head: Option<&'a str>,
    torn: &'a [PathBuf],
}

fn verify_log(options: VerifyAudit) -> Outcome {
    let verified = match options.data {
        Some(data) => verify_whole(&files(&data)?, options.head.as_deref(), |_| ())?,
        None => verify(&options.files, options.head.as_deref(), |_| ())?,
    };
    if options.json {
        let Verified { lines, first, number, head, torn } = &verified;
        return print::json(&Report {
            lines: *lines,
            first: *first,
            number: *number,
            head: head.as_deref(),
            torn,
        });
    }
    for path in &verified.torn {
        print::line(&format!("{}: the last line was cut by a crash; it is no record", path.display()))?;
    }
    match &verified.head {
        None => print::line("There are no records."),
        Some(head) => print::line(&format!(
            "{} records without a break, from {} to {}.\nThe hash of the last, to be kept elsewhere: {head}",
            verified.lines, verified.first, verified.number
        )),
    }
}

fn show(options: &ShowAudit) -> Outcome {
    let data = configuration(&options.place)?.data;
    let since = options.since.as_deref().map(time::parse).transpose()?;
    let mut added = Added::default();
    let mut refused = 0_u64;
    let mut printed: Outcome = Ok(());
    let shown = verify_whole(&files(&data)?, None, |line| {
        if printed.is_err() || !is_wanted(&line, options, since) {
            return;
        }
        added.note(&line);
        if matches!(&line.event, Event::Decision(decision) if decision.status >= 400) {
            refused += 1;
        }
        printed = if options.json { print::json(&line) } else { print::line(&readable(&line)) };
    });
    printed?;
    if !options.json {
        print::line(&added.summary(refused))?;
    }
    shown.map(drop).map_err(|broken: Broken| broken.into())
}

fn is_wanted(line: &Line, options: &ShowAudit, since: Option<Timestamp>) -> bool {
    let (principal, repository) = match &line.event {
        Event::Decision(Decision { principal, repository, .. }) => {
            (principal.as_deref(), repository.as_deref())
        }
        Event::Stored(deed)
        | Event::Rescued(deed)
        | Event::LockRemoved(deed)
        | Event::RepositoryCreated(deed) => (Some(deed.principal.as_str()), Some(deed.repository.as_str())),
        Event::Started | Event::Stopped | Event::Lost { .. } => (None, None),
    };
    let by_principal = options.principal.as_ref().is_none_or(|wanted| principal == Some(wanted.as_str()));
    let by_repository = options.repository.as_ref().is_none_or(|wanted| repository == Some(wanted.as_str()));
    // A time that cannot be read is shown rather than hidden.
    let by_time = since.is_none_or(|since| line.time.parse::<Timestamp>().map_or(true, |time| time >= since));
    by_principal && by_repository && by_time
}

fn readable(line: &Line) -> String {
    let Line { number, time, event, .. } = line;
    let told = match event {
        Event::Decision(decision) => {
            let Decision { principal, peer, action, repository, file, outcome, status, .. } = decision;
            let who = principal.as_deref().unwrap_or("somebody");
            let place =
                [repository.as_deref(), file.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("/");
            format!("{who} from {peer}: {action} {place}: {status} {outcome}")
        }
        Event::Stored(deed) => format!("stored {}/{} for {}", deed.repository, name(deed), deed.principal),
        Event::Rescued(deed) => {
            format!("kept good bytes of {}/{} from {}", deed.repository, name(deed), deed.principal)
        }
        Event::LockRemoved(deed) => {
            format!("removed {}/{} for {}", deed.repository, name(deed), deed.principal)
        }
        Event::RepositoryCreated(deed) => format!("created {} for {}", deed.repository, deed.principal),
        Event::Started => "started".to_owned(),
        Event::Stopped => "stopped".to_owned(),
        Event::Lost { lines } => format!("{lines} records could not be written"),
    };
    format!("{number} {time} {told}")
}

fn name(deed: &super::Deed) -> &str {
    deed.file.as_deref().unwrap_or_default()
}
