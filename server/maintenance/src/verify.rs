//! `pawl maintain verify`: looks at everything, reads the part whose turn it is, and says what is damaged.
//!
//! Invariant: it reads the store and changes nothing in it; it holds no lock of maintenance while it reads, so that it
//! stops nobody and nobody stops it.

mod coverage;
pub(super) mod finding;
mod read;
mod report;
pub(super) mod run;
mod schedule;
mod snapshots;
pub(super) mod state;
pub(super) mod survey;

use std::error::Error;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::thread::available_parallelism;

use bytesize::ByteSize;
use pawl_config::log;
use pawl_config::pace::Pace;
use pawl_config::print::{self, ExitStatus, Outcome};
use pawl_config::{Config, Log, LogLevel};
use pawl_keeper::{Act, AuditEvent};
use pawl_policy::{DAY_MS, RepositoryName};
use pawl_store::maintenance::MaintenanceStore;
use pawl_store::now_ms;
use pawl_store::s3::Direct;

use super::restic::Address;
use super::stop::Stop;
use super::{pending_audit, progress, session, stores};
use crate::command_line::{Reading, Verify};
use crate::restic::Restic;
use crate::share::Share;
use crate::state_file;
pub(crate) use coverage::{Covered, coverage};
use finding::Severity;
use state::States;

/// Deeds of one run in the audit log for each repository; more are counted.
const TOLD_MAX: usize = 1000;

/// Runs the command.
pub(super) fn run(options: &Verify) -> Outcome {
    let verified = verify(options).map_err(|error| ExitStatus { code: 2, message: error.to_string() })?;
    let end = ExitStatus { code: verified.exit_code(), message: String::new() };
    print::report(&verified, report::Report::text, end, options.json)
}

fn verify(options: &Verify) -> Result<report::Report, Box<dyn Error>> {
    let mut config = session::config(&options.place)?;
    config.log = Log { level: LogLevel::Warn, ..config.log };
    log::start(config.log);
    let states = States::open(&state_file::of_verification(&config.data))?;
    let Some(_alone) = states.lock()? else {
        return Err(ANOTHER.into());
    };
    let wanted = wanted(options, &config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Arc::new(runtime.block_on(stores::open_for_reading(&config))?);
    let bar = progress::of_bytes("verifying");
    let (outcomes, continued) = runtime.block_on(run::run(store, &states, &wanted, bar))?;
    let mut report = report::Report::new(outcomes, continued);
    let named = runtime.block_on(name_snapshots(options, &config, &mut report));
    if let Err(error) = named {
        tracing::warn!(%error, "which snapshots need what is damaged is not known");
    }
    drop(runtime);
    let told = tell(&config, &report);
    if let Err(error) = told {
        tracing::warn!(%error, "this run is not in the audit log");
    }
    Ok(report)
}

/// Verifies these repositories as every day, as long as there is time, and keeps what the audit log is to be told.
pub(super) async fn daily<S: MaintenanceStore>(
    store: Arc<S>,
    config: &Config,
    repositories: Vec<RepositoryName>,
    reading: &Reading,
    stop: &Stop,
) -> Result<Vec<run::Outcome>, Box<dyn Error>> {
    let states = States::open(&state_file::of_verification(&config.data))?;
    let Some(_alone) = states.lock()? else { return Err(ANOTHER.into()) };
    let within_ms = config.maintenance.verify_ms();
    let wanted = run::Wanted {
        repositories,
        share: daily_share(within_ms),
        catches_up: true,
        read_data: false,
        pace: pace(reading.bytes_per_second),
        jobs: jobs(reading),
        caps: config.caps,
        within_ms,
        stop: stop.clone(),
    };
    let (outcomes, _) = run::run(store, &states, &wanted, progress::of_bytes("verifying")).await?;
    let mut told = Vec::new();
    for outcome in looked_at(&outcomes) {
        told.extend(deeds(outcome)?);
    }
    pending_audit::keep(&config.data, told)?;
    Ok(outcomes)
}

const ANOTHER: &str = "another `pawl maintain verify` is at work here; wait until it has ended, or stop it";

/// What has to be read every day.
fn daily_share(within_ms: u64) -> Share {
    Share::one_of(u32::try_from(within_ms / DAY_MS).unwrap_or(u32::MAX))
}

fn wanted(options: &Verify, config: &Config) -> run::Wanted {
    let within_ms = config.maintenance.verify_ms();
    let daily = || daily_share(within_ms);
    let share = if options.all { Share::ALL } else { options.share.unwrap_or_else(daily) };
    run::Wanted {
        repositories: options.repositories.clone(),
        share,
        catches_up: options.share.is_none(),
        read_data: options.read_data,
        pace: pace(options.reading.bytes_per_second.or(config.maintenance.run.general().bytes_per_second)),
        jobs: jobs(&options.reading),
        caps: config.caps,
        within_ms,
        stop: Stop::default(),
    }
}

/// How fast bytes are read.
pub(super) fn pace(bytes_per_second: Option<ByteSize>) -> Pace {
    Pace::new(None::<NonZeroU32>, bytes_per_second.map(|size| size.as_u64()))
}

/// How many files are read at a time.
pub(super) fn jobs(reading: &Reading) -> NonZeroUsize {
    reading.jobs.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// Asks the user's restic, which reads the directory or the bucket itself, which snapshots need what is damaged.
async fn name_snapshots(options: &Verify, config: &Config, report: &mut report::Report) -> Outcome {
    let restic_of =
        |name: &RepositoryName| Restic::from(options.restic.or(&config.maintenance.run.of(name).restic));
    if !report.repositories().iter().any(|outcome| restic_of(&outcome.repository).knows_password()) {
        return Ok(());
    }
    let bucket = match &config.s3 {
        Some(of_hosts) => Some(Direct::new(&config.maintenance.s3(of_hosts)?).await?),
        None => None,
    };
    for outcome in report.repositories_mut() {
        let restic = restic_of(&outcome.repository);
        if !restic.knows_password() {
            continue;
        }
        let name = outcome.repository.as_str();
        let repository = match &bucket {
            Some(bucket) => bucket.repository(name),
            None => config.data.join(name).to_string_lossy().into_owned(),
        };
        let address = Address { repository, bucket: bucket.as_ref(), ca: None };
        for why in snapshots::name(&restic, &address, outcome).await {
            tracing::warn!(repository = %outcome.repository, "{why}");
        }
    }
    Ok(())
}

/// Has what was found written into the audit log.
fn tell(config: &Config, report: &report::Report) -> Outcome {
    let mut told = Vec::new();
    for outcome in looked_at(report.repositories()) {
        told.extend(deeds(outcome)?);
    }
    session::tell_or_keep(config, told)
}

/// The audit log tells nothing of a repository that could not be looked at.
fn looked_at(outcomes: &[run::Outcome]) -> impl Iterator<Item = &run::Outcome> {
    outcomes.iter().filter(|outcome| outcome.failed.is_none())
}

/// What is told of a repository.
fn deeds(outcome: &run::Outcome) -> Result<Vec<AuditEvent>, Box<dyn Error>> {
    let principal = session::user()?.to_string();
    let of = |act, file, bytes| AuditEvent {
        act,
        principal: principal.clone(),
        repository: outcome.repository.to_string(),
        file,
        bytes,
        batch: None,
    };
    let found = |severity| outcome.findings.iter().filter(move |finding| finding.kind.severity() == severity);
    let mut told: Vec<_> = found(Severity::Damage)
        .take(TOLD_MAX)
        .map(|finding| of(Act::FindDamaged, finding.file.clone(), None))
        .collect();
    let act = Act::Verify {
        damaged: found(Severity::Damage).count() as u64,
        suspicious: found(Severity::Suspicion).count() as u64,
        ended_ms: now_ms(),
    };
    told.push(of(act, None, Some(outcome.bytes_read)));
    Ok(told)
}
