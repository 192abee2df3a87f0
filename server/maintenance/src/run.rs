//! `pawl maintain run`: everything that is to be done every night, in every repository.
//!
//! Invariant: one run at a time works on a data directory. What it does is written down after each step, so that one that
//! was cut goes on where it was; a repository in which there was a surprise is left alone.

mod compare;
mod examine;
mod report;
mod repository_run;
mod room;
mod run_lock;
mod step_outcome;
mod steps;
mod verify;

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::{Timestamp, Zoned};
use pawl_config::files::FileError;
use pawl_config::log;
use pawl_config::print::{self, ExitStatus, Outcome};
use pawl_config::run_settings::{Portions, RunSettings};
use pawl_config::{Config, Log, LogLevel};

use super::batch_list::all_are_readable;
use super::locks::{ExclusiveAccess, ON_ITS_WAY, Timeouts};
use super::pending_audit;
use super::purge;
use super::report::{self as reporting, Comparison, Delivered};
use super::session::{self, Session};
use super::stop::{Stop, Why};
use super::stores;
use crate::command_line::Run;
use crate::record::{Step, StepStatus};
use pawl_frontend::running::DISK_WAIT_MAX;
use report::Report;
use repository_run::RepositoryRun;
use run_lock::RunLock;
pub(super) use run_lock::last_began_ms;

/// Runs the command.
pub(super) fn run(options: &Run) -> Outcome {
    let mut report = Report::begin();
    if let Err(error) = work(options, &mut report) {
        report.error = Some(error.to_string());
    }
    let end = ExitStatus { code: report.exit_code(), message: report.error.clone().unwrap_or_default() };
    print::report(&report, Report::text, end, options.json)
}

fn work(options: &Run, report: &mut Report) -> Outcome {
    let mut config = session::config(&options.place)?;
    config.log = Log { level: LogLevel::Warn, ..config.log };
    log::start(config.log);
    let Some(_alone) = run_lock::lock(&config.data)? else {
        return Err("another `pawl maintain run` is at work here, and goes on; this one did nothing".into());
    };
    if pending_audit::is_held(&config.data) {
        return Err("other maintenance is at work here, such as `pawl maintain serve`; stop it, or wait until it has \
                    ended, and run this again"
            .into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let worked = runtime.block_on(everywhere(options, config, report));
    runtime.shutdown_timeout(DISK_WAIT_MAX);
    worked
}

/// Does the work, and whatever came of it ends with a report to whom the configuration names.
async fn everywhere(options: &Run, config: Config, report: &mut Report) -> Outcome {
    let told = Stop::when_told()?;
    let worked = Box::pin(work_through(options, config.clone(), report, &told)).await;
    room::take(&config.data);
    if told.why().is_some() || !options.only.is_empty() {
        return worked;
    }
    match Box::pin(hand_out(&config, options.compare.as_deref())).await {
        Ok(Delivered { to_somebody, attention }) => {
            report.delivered = to_somebody;
            report.attention = Some(attention);
        }
        Err(error) => return Err(both(worked.err().map(|why| why.to_string()), error.to_string()).into()),
    }
    worked
}

/// Why the work failed, and why the report did: once where both failed for the same reason, as for a store that is away.
fn both(of_work: Option<String>, of_report: String) -> String {
    match of_work {
        Some(of_work) if of_work != of_report => format!("{of_work}; {of_report}"),
        _ => of_report,
    }
}

async fn work_through(options: &Run, config: Config, report: &mut Report, told: &Stop) -> Outcome {
    let general = options.settings.or(config.maintenance.run.general());
    let now = Zoned::now();
    let stop = told.and_at(moment(&general, &now)?);
    room::give_up(&config.data);
    let whole = if options.only.is_empty() { RunLock::begin(&config.data)? } else { RunLock::partial() };
    report.resumed = whole.resumed;
    let comparison = if options.only.is_empty() || options.only.contains(&Step::Compare) {
        Comparison::begin(&config, options.compare.as_deref()).await?
    } else {
        None
    };
    let expected = comparison.as_ref().map(Comparison::repositories).unwrap_or_default();
    let store = Arc::new(stores::open_for_reading(&config).await?);
    let names = verify::repositories(&*store, &config, &options.repositories, expected).await?;
    let mut failed = Vec::new();
    report.unknown = config.maintenance.run.unknown(&names, &options.repositories);
    for name in names {
        let settings = options.settings.or(config.maintenance.run.of(&name));
        let until = moment(&settings, &now).map_err(|error| format!("{name}: {error}"))?;
        let stop = told.and_at(until);
        let (portions, most) =
            (settings.check_portions.map(Portions::get), config.maintenance.portions_max());
        if portions.is_some_and(|portions| portions > most) {
            return Err(format!(
                "{name}: check_portions: expected at most {most}, half of purge_delay_days, found {}: what a prune removed by \
                 mistake has to be found while it can be brought back",
                portions.unwrap_or_default()
            )
            .into());
        }
        // A record that cannot be read or written costs its own repository.
        match RepositoryRun::load(&config.data, name, settings, stop, &options.only) {
            Ok(mut repository_run) => {
                repository_run.look_at_config(&*store).await;
                report.repository_runs.push(repository_run);
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    report.repository_runs.sort_by_key(RepositoryRun::turn);
    report.repository_runs.retain_mut(|repository_run| {
        let begun = repository_run.begin(&whole, options.compare.is_some());
        failed.extend(begun.as_ref().err().map(ToString::to_string));
        begun.is_ok()
    });
    let mut acted = Ok(());
    let mut first: Vec<_> =
        report.repository_runs.iter_mut().filter(|repository_run| repository_run.acts_first()).collect();
    if !first.is_empty() {
        acted = Box::pin(act(config.clone(), &mut first, comparison.as_ref())).await;
    }
    failed.extend(verify::all(&store, &config, &mut report.repository_runs).await);
    failed.extend(all_are_readable(&*store, Vec::new()).await.err().map(|error| error.to_string()));
    drop(store);
    let mut all: Vec<_> = report.repository_runs.iter_mut().collect();
    let worked = acted.and(Box::pin(act(config, &mut all, comparison.as_ref())).await);
    failed.extend(
        report
            .repository_runs
            .iter_mut()
            .filter_map(|repository_run| repository_run.leave().err().map(|error| error.to_string())),
    );
    report.ended_by = stop
        .why()
        .or_else(|| report.repository_runs.iter().find_map(|repository_run| repository_run.stop.why()));
    worked?;
    if !report.repository_runs.iter().any(RepositoryRun::has_left) {
        whole.end()?;
    }
    // Said at the end: it is no reason to take this run up again.
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
}

async fn hand_out(config: &Config, earlier: Option<&Path>) -> Result<Delivered, Box<dyn Error>> {
    let store = stores::open_for_reading(config).await?;
    Box::pin(reporting::deliver(&store, config, earlier)).await
}

/// When work with these settings is over.
fn moment(settings: &RunSettings, now: &Zoned) -> Result<Option<Timestamp>, String> {
    settings.until.map(|until| until.moment(now)).transpose()
}

/// What is done under the lock of maintenance.
async fn act(
    config: Config,
    repository_runs: &mut [&mut RepositoryRun],
    comparison: Option<&Comparison>,
) -> Outcome {
    if !repository_runs.iter().any(|repository_run| repository_run.has_work()) {
        return Ok(());
    }
    let acted = session::act_within(config, async |session| {
        let (mut unseen, mut failed) = match purge::note_seen(&session.store).await {
            Ok(unseen) => (unseen, None),
            Err(error) => {
                let why = "what was deleted cannot be noted as seen today, and becomes final later for it";
                (BTreeMap::new(), Some(format!("{why}: {error}")))
            }
        };
        // Whoever is at work in one repository keeps no other waiting: those that are busy come last.
        let mut turn: VecDeque<_> =
            repository_runs.iter_mut().map(|repository_run| (repository_run, Busy::ComesLast)).collect();
        while let Some((repository_run, busy)) = turn.pop_front() {
            let of_ward = unseen.get(&repository_run.repository).map(String::as_str);
            let tended = Box::pin(run_repository(session, repository_run, comparison, of_ward, busy)).await;
            if repository_run.done(Step::Purge).is_some_and(|done| done.ended == StepStatus::Failed) {
                unseen.remove(&repository_run.repository); // its record says so
            }
            match tended {
                Ok(Tended::AsFarAsPossible) => {}
                Ok(Tended::IsBusy) => turn.push_back((repository_run, Busy::IsWaitedFor)),
                // One whose record cannot be written is not to keep the others from their turn.
                Err(error) => {
                    failed = failed.or_else(|| Some(format!("{}: {error}", repository_run.repository)));
                }
            }
        }
        let pending_audit = unseen.into_iter().map(|(repository, why)| format!("{repository}: {why}"));
        let failed: Vec<_> = failed.into_iter().chain(pending_audit).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
    });
    Box::pin(acted).await
}

/// The steps of one repository, in their order. Each looks first whether it is to be done. `unseen` is why what was deleted
/// there could not be noted as seen, if so.
async fn run_repository(
    session: &Session,
    repository_run: &mut RepositoryRun,
    comparison: Option<&Comparison>,
    unseen: Option<&str>,
    busy: Busy,
) -> Result<Tended, Box<dyn Error>> {
    repository_run.take_turn()?;
    steps::restore(session, repository_run).await?;
    compare::compare(session, repository_run, comparison).await?;
    steps::purge(session, repository_run, unseen).await?;
    examine::examine(session, repository_run).await?;
    let wait = repository_run.settings.lock_wait.unwrap_or_default().0;
    let patience = Timeouts { wait, on_its_way: ON_ITS_WAY, stop: repository_run.stop.clone() };
    let mut quiet = ExclusiveAccess::of(session, &repository_run.repository, patience);
    // An error is told by whoever waits.
    if busy == Busy::ComesLast && repository_run.has_work() && quiet.is_busy().await.unwrap_or(false) {
        return Ok(Tended::IsBusy);
    }
    let done = with_restic(session, repository_run, &mut quiet).await;
    let started = Instant::now();
    steps::locks(repository_run, &quiet.end().await, started)?;
    done?;
    repository_run.end()?;
    Ok(Tended::AsFarAsPossible)
}

/// What is done about a repository in which somebody is at work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Busy {
    ComesLast,
    IsWaitedFor,
}

/// What came of a turn.
enum Tended {
    AsFarAsPossible,
    /// Somebody is at work there.
    IsBusy,
}

/// The steps for which restic needs the repository for itself.
async fn with_restic(
    session: &Session,
    repository_run: &mut RepositoryRun,
    quiet: &mut ExclusiveAccess<'_>,
) -> Result<(), FileError> {
    steps::forget(session, repository_run, quiet).await?;
    steps::prune(session, repository_run, quiet).await?;
    steps::check(session, repository_run, quiet).await
}

/// The word for it.
const fn word(why: Why) -> &'static str {
    match why {
        Why::Until => "until",
        Why::Told => "signal",
    }
}
