//! `pawl maintain run`: everything that is to be done every night, in every repository.
//!
//! Invariant: one run at a time works on a data directory. What it does is written down after each step, so that one that
//! was cut goes on where it was; a repository in which there was a surprise is left alone.

mod compare;
mod examine;
pub(super) mod record;
mod report;
mod said;
mod steps;
mod verify;
mod ward;
mod whole;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Zoned;

use super::locks::{Patience, Quiet};
use super::purge;
use super::report::{self as reporting, Comparison};
use super::session::{self, Session};
use super::stop::{Stop, Why};
use super::stores;
use super::verify::untold;
use crate::cli::Run;
use crate::config::{Config, Log, LogLevel};
use crate::files::FileError;
use crate::log;
use crate::print::{self, Ended, Outcome};
use crate::serve::DISK_WAIT_MAX;
use report::Report;
use ward::Ward;
use whole::Whole;

/// Runs the command.
pub(super) fn run(options: &Run) -> Outcome {
    let mut report = Report::begin();
    if let Err(error) = work(options, &mut report) {
        report.error = Some(error.to_string());
    }
    if options.json {
        print::json(&report)?;
    } else {
        print::line(&report.text())?;
    }
    match report.exit_code() {
        0 => Ok(()),
        code => Err(Ended { code, message: report.error.unwrap_or_default() }.into()),
    }
}

fn work(options: &Run, report: &mut Report) -> Outcome {
    let mut config = session::config(&options.place)?;
    config.log = Log { level: LogLevel::Warn, ..config.log };
    log::start(config.log);
    let Some(_alone) = whole::lock(&config.data)? else {
        return Err("another `pawl maintain run` is at work here, and goes on; this one did nothing".into());
    };
    if untold::is_held(&config.data) {
        return Err("other maintenance is at work here, such as `pawl maintain serve`; stop it, or wait until it has \
                    ended, and run this again"
            .into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let worked = runtime.block_on(everywhere(options, config, report));
    runtime.shutdown_timeout(DISK_WAIT_MAX);
    worked
}

async fn everywhere(options: &Run, config: Config, report: &mut Report) -> Outcome {
    let told = Stop::when_told()?;
    let general = options.settings.or(config.maintenance.run.general());
    let stop = told.and_at(moment(&general)?);
    let whole = Whole::begin(&config.data)?;
    report.resumed = whole.resumed;
    let store = Arc::new(stores::open_for_reading(&config).await?);
    for name in verify::repositories(&*store, &config, &options.repositories).await? {
        let mut settings = options.settings.or(config.maintenance.run.of(&name));
        let stop = told.and_at(moment(&settings)?);
        settings.restic.bounds.stop = stop.clone();
        settings.restic.bounds.bytes_per_second = settings.bytes_per_second.map(|size| size.as_u64());
        report.wards.push(Ward::load(&config.data, name, settings, stop)?);
    }
    // What was left the last time comes first, then what was looked after longest ago.
    report.wards.sort_by_key(Ward::turn);
    for ward in &mut report.wards {
        ward.begin(&whole)?;
    }
    verify::all(&store, &config, &mut report.wards, &general, &stop).await?;
    drop(store);
    let worked = Box::pin(act(config.clone(), &mut report.wards, options.compare.as_deref())).await;
    for ward in &mut report.wards {
        ward.leave()?;
    }
    report.ended_by = stop.why().or_else(|| report.wards.iter().find_map(|ward| ward.stop.why()));
    worked?;
    if !report.wards.iter().any(Ward::has_left) {
        whole.end()?;
    }
    if stop.why() != Some(Why::Told) {
        report.delivered = hand_out(&config).await?;
    }
    Ok(())
}

/// Ends with a report to whom the configuration names.
async fn hand_out(config: &Config) -> Result<bool, Box<dyn Error>> {
    let store = stores::open_for_reading(config).await?;
    Ok(Box::pin(reporting::deliver(&store, config, None)).await?.to_somebody)
}

/// When work with these settings is over.
fn moment(settings: &crate::cli::Settings) -> Result<Option<jiff::Timestamp>, jiff::Error> {
    settings.until.map(|until| until.moment(&Zoned::now())).transpose()
}

/// What is done under the lock of maintenance.
async fn act(config: Config, wards: &mut [Ward], earlier: Option<&Path>) -> Outcome {
    if !wards.iter().any(Ward::has_work) {
        return Ok(());
    }
    let comparison = Comparison::begin(&config, earlier).await?;
    let acted = session::act_within(config, async |session| {
        purge::note_seen(&session.store).await?;
        for ward in wards {
            Box::pin(tend(session, ward, comparison.as_ref())).await?;
        }
        Ok(())
    });
    Box::pin(acted).await
}

/// The steps of one repository, in their order. Each looks first whether it is to be done.
async fn tend(
    session: &Session,
    ward: &mut Ward,
    comparison: Option<&Comparison>,
) -> Result<(), Box<dyn Error>> {
    steps::restore(session, ward).await?;
    compare::compare(session, ward, comparison).await?;
    examine::examine(session, ward).await?;
    let wait = ward.settings.lock_wait.unwrap_or_default().0;
    let patience = Patience { wait, stop: ward.stop.clone() };
    let mut quiet = Quiet::of(session, &ward.repository, patience);
    let done = with_restic(session, ward, &mut quiet).await;
    let started = Instant::now();
    steps::locks(ward, &quiet.end().await, started)?;
    done?;
    steps::purge(session, ward).await?;
    Ok(ward.end()?)
}

/// The steps for which restic needs the repository for itself.
async fn with_restic(session: &Session, ward: &mut Ward, quiet: &mut Quiet<'_>) -> Result<(), FileError> {
    steps::forget(session, ward, quiet).await?;
    steps::prune(session, ward, quiet).await?;
    steps::check(session, ward, quiet).await
}

/// The word for it.
const fn word(why: Why) -> &'static str {
    match why {
        Why::Until => "until",
        Why::Told => "signal",
    }
}
