//! `pawl audit`: is the log whole, and what does it say?
//!
//! Invariant: what `show` prints comes from a log that was verified while it was read.

use std::path::PathBuf;

use jiff::Timestamp;
use pawl_config::print::{self, Outcome};
use pawl_config::time;
use serde::Serialize;

use pawl_keeper::audit::{
    Archival, Broken, Decision, Event, LOGS, Line, Log, Suspension, Verification, Verified, directories,
    verify, verify_whole,
};
mod added;

use crate::cli::{Audit, ShowAudit, VerifyAudit};
use added::Added;

/// Runs the command.
pub fn run(command: Audit) -> Outcome {
    match command {
        Audit::Verify(options) => verify_log(options),
        Audit::Show(options) => show(&options),
        Audit::Archive(options) => pawl_maintenance::archive(&options),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    lines: u64,
    first: u64,
    number: u64,
    head: Option<&'a str>,
    torn: &'a [PathBuf],
    /// The log of maintenance, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    maintenance: Option<Box<Self>>,
}

impl<'a> Report<'a> {
    fn of(verified: &'a Verified) -> Self {
        let Verified { lines, first, number, head, torn } = verified;
        let (lines, first, number) = (*lines, *first, *number);
        Self { lines, first, number, head: head.as_deref(), torn, maintenance: None }
    }
}

fn verify_log(options: VerifyAudit) -> Outcome {
    let head = options.head.as_deref();
    let Some(data) = options.data else {
        let verified = verify(&options.files, head, |_| ())?;
        return if options.json { print::json(&Report::of(&verified)) } else { tell(&verified) };
    };
    let open = |(name, directory): (&str, PathBuf)| {
        let archives: Vec<_> = options.archive.iter().map(|archive| archive.join(name)).collect();
        Log::open(&directory)?.with_archive(&archives)
    };
    let [hosts, maintenance] = directories(&data);
    let (hosts, maintenance) = (open((LOGS[0], hosts))?, open((LOGS[1], maintenance))?);
    let verify = |log: &Log, head| verify_whole(log, head, |_, _, _| ());
    // A head is that of one of the two.
    let (of_hosts, of_maintenance) = match verify(&hosts, head) {
        Err(Broken::Cut(_)) => (verify(&hosts, None)?, verify(&maintenance, head)?),
        verified => (verified?, verify(&maintenance, None)?),
    };
    let there_is = !maintenance.files().is_empty();
    if options.json {
        let report = there_is.then(|| Box::new(Report::of(&of_maintenance)));
        return print::json(&Report { maintenance: report, ..Report::of(&of_hosts) });
    }
    tell(&of_hosts)?;
    if there_is {
        print::line("\nMaintenance:")?;
        tell(&of_maintenance)?;
    }
    Ok(())
}

fn tell(verified: &Verified) -> Outcome {
    for path in &verified.torn {
        print::line(&format!("{}: its end was lost in a crash, and holds no record", path.display()))?;
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
    let data = options.place.configuration()?.data;
    let since = options.since.as_deref().map(time::parse).transpose()?;
    let mut added = Added::default();
    let mut refused = 0_u64;
    let mut printed: Outcome = Ok(());
    let mut each = |line: Line| {
        if printed.is_err() || !is_wanted(&line, options, since) {
            return;
        }
        added.note(&line);
        if matches!(&line.event, Event::Decision(decision) if decision.status >= 400) {
            refused += 1;
        }
        printed = if options.json { print::json(&line) } else { print::line(&readable(&line)) };
    };
    let [hosts, maintenance] = directories(&data);
    let mut verify = |log: &Log| verify_whole(log, None, |_, line, _| each(line));
    let shown = verify(&Log::open(&hosts)?);
    let shown = shown.and(verify(&Log::open(&maintenance)?));
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
        | Event::RepositoryCreated(deed)
        | Event::Hidden(deed)
        | Event::Displaced(deed)
        | Event::BroughtBack(deed)
        | Event::Purged(deed)
        | Event::FoundDamaged(deed)
        | Event::KeyExposed(deed)
        | Event::KeyHidden(deed)
        | Event::LocksResumed(deed)
        | Event::ReceivedAmended(deed)
        | Event::Adopted(deed)
        | Event::Retired(deed) => (Some(deed.principal.as_str()), Some(deed.repository.as_str())),
        Event::Verified(run) => (Some(run.principal.as_str()), Some(run.repository.as_str())),
        Event::Archived(of) => (Some(of.principal.as_str()), None),
        Event::LocksSuspended(of) => (Some(of.principal.as_str()), Some(of.repository.as_str())),
        // One of a newer Pawl may be about anybody.
        Event::Unknown(_) => return true,
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
        Event::Decision(Decision { principal, action, outcome, status: 0, .. }) => {
            format!("{}: {action}: {outcome}", principal.as_deref().unwrap_or("somebody"))
        }
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
        Event::Hidden(deed) => of_maintenance("deleted, reversibly,", deed),
        Event::Displaced(deed) => of_maintenance("moved away the damaged", deed),
        Event::BroughtBack(deed) => of_maintenance("brought back", deed),
        Event::Purged(deed) => of_maintenance("removed for good", deed),
        Event::FoundDamaged(deed) => of_maintenance("found damaged", deed),
        Event::Verified(run) => {
            let Verification { principal, repository, bytes_read, damaged, suspicious, .. } = run;
            format!(
                "verified {repository} for {principal}: {bytes_read} bytes read, {damaged} files damaged, {suspicious} \
                 other findings"
            )
        }
        Event::KeyExposed(deed) => of_maintenance("showed to hosts", deed),
        Event::KeyHidden(deed) => of_maintenance("hid from hosts", deed),
        Event::Adopted(deed) => of_maintenance("vouched for snapshots:", deed),
        Event::Retired(deed) => of_maintenance("took out of service:", deed),
        Event::ReceivedAmended(deed) => of_maintenance("amended the time of receipt of", deed),
        Event::LocksSuspended(Suspension { principal, repository, until_ms }) => {
            let until = i64::try_from(*until_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let until = until.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ");
            format!("suspended new locks of hosts in {repository} until {until} for {principal}")
        }
        Event::LocksResumed(deed) => {
            format!("let hosts lock {} again for {}", deed.repository, deed.principal)
        }
        Event::Archived(Archival { principal, log, files, last, .. }) => {
            format!("archived {files} files of the log of {log}, up to record {last}, for {principal}")
        }
        Event::Unknown(unknown) => format!("unknown to this version of Pawl: {}", unknown.words()),
        Event::Started => "started".to_owned(),
        Event::Stopped => "stopped".to_owned(),
        Event::Lost { lines } => format!("{lines} records could not be written"),
    };
    format!("{number} {time} {told}")
}

fn of_maintenance(did: &str, deed: &pawl_keeper::audit::Deed) -> String {
    let batch = deed.batch.as_ref().map(|batch| format!(" (batch {batch})")).unwrap_or_default();
    format!("{did} {}/{} for {}{batch}", deed.repository, name(deed), deed.principal)
}

fn name(deed: &pawl_keeper::audit::Deed) -> &str {
    deed.file.as_deref().unwrap_or_default()
}
