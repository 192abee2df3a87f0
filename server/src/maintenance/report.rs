//! `pawl maintain report`: how all backups are, what somebody should look at, and what has to be there the next time.
//!
//! Invariant: it only reads, and takes no lock; of its own it keeps what it delivered last, and nothing else.

mod attention;
mod audited;
mod axis;
mod chart;
mod comparison;
mod delivery;
mod expected;
mod gather;
mod model;
mod page;
mod seen;
mod text;
mod webhook;
mod words;

use std::error::Error;
use std::path::Path;

use serde_json::json;

use super::session;
use crate::cli;
use crate::config::Config;
use crate::files;
use crate::print::{self, Ended, Outcome};
use crate::store::either::EitherMaintenance;
pub(super) use comparison::Comparison;
use expected::{Earlier, Last};
use model::Report;

/// The page is for whoever runs the command, and their group.
const PAGE_MODE: u32 = 0o640;

/// Runs the command.
pub(super) fn run(options: &cli::Report) -> Outcome {
    session::read(&options.place, async |config, store| {
        let made = make(&config, &store, options).await;
        let mut report = match made {
            Ok(report) => report,
            Err(error) => return failed(error.as_ref(), options),
        };
        let delivered = if options.deliver { hand_out(&mut report, &config).await } else { Ok(()) };
        say(&report, options)?;
        match (delivered, report.summary.exit) {
            (Err(error), _) => Err(Ended { code: 2, message: error.to_string() }.into()),
            (Ok(()), 0) => Ok(()),
            (Ok(()), code) => Err(Ended { code, message: String::new() }.into()),
        }
    })
    .map_err(|error| match error.downcast::<Ended>() {
        Ok(ended) => (*ended).into(),
        Err(error) => Ended { code: 2, message: error.to_string() }.into(),
    })
}

async fn make(
    config: &Config,
    store: &EitherMaintenance,
    options: &cli::Report,
) -> Result<Report, Box<dyn Error>> {
    if options.deliver && !config.maintenance.report.is_delivered() {
        return Err("nobody is named to whom the report is delivered: set command or webhook in [maintenance.report] of the \
                    configuration"
            .into());
    }
    let earlier = match &options.compare {
        Some(file) => Some(Earlier::read(file)?),
        None => Last::load(&config.data)?.map(Last::into_earlier),
    };
    let report = gather::gather(store, config, &options.repositories, earlier).await?;
    if options.seen {
        keep(&config.data, &Last::delivered(report.expected.clone()))?;
    }
    if let Some(path) = &options.html {
        let path = std::path::absolute(path)?;
        files::replace(&path, &page::page(&report), PAGE_MODE)?;
    }
    Ok(report)
}

/// That there is no report is also said to whatever reads the last line.
fn failed(error: &dyn Error, options: &cli::Report) -> Outcome {
    let said = json!({ "exit": 2, "error": error.to_string() });
    if options.json {
        print::json(&json!({ "summary": said }))?;
    } else {
        print::line(&format!("pawl-report: {said}"))?;
    }
    Err(Ended { code: 2, message: error.to_string() }.into())
}

fn say(report: &Report, options: &cli::Report) -> Outcome {
    if options.json {
        return print::json(report);
    }
    print::line(&text::text(report))
}

/// Hands the report to whom the configuration names, and keeps what the next one is compared with.
async fn hand_out(report: &mut Report, config: &Config) -> Result<(), Box<dyn Error>> {
    report.summary.delivered = true; // as whoever gets it reads it
    let delivered = delivery::deliver(report, &config.maintenance.report).await;
    let kept = match &delivered {
        Ok(()) => keep(&config.data, &Last::delivered(report.expected.clone())),
        Err(_) => Ok(()),
    };
    report.summary.note_delivery(delivered.is_ok() && kept.is_ok());
    delivered.map_err(|error| format!("the report was not delivered: {error}"))?;
    kept
}

fn keep(data: &Path, last: &Last) -> Result<(), Box<dyn Error>> {
    session::own_directory(data).map_err(|error| error.to_string())?;
    last.save(data)?;
    Ok(())
}

/// Makes a report and hands it out, where somebody is named for that. Without, what is there is kept for the next
/// comparison as long as nothing of it is missing: what was missed once is missed until somebody was told.
pub(super) async fn deliver(store: &EitherMaintenance, config: &Config) -> Result<Delivered, Box<dyn Error>> {
    let last = Last::load(&config.data)?;
    let mut report = gather::gather(store, config, &[], last.clone().map(Last::into_earlier)).await?;
    if config.maintenance.report.is_delivered() {
        hand_out(&mut report, config).await?;
        return Ok(Delivered::To(report.summary.attention));
    }
    if report.summary.missing == 0 && report.logs_are_whole() {
        keep(&config.data, &Last::kept(report.expected.clone(), last.as_ref()))?;
    }
    Ok(Delivered::ToNobody)
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    /// It was handed out, with so much at which somebody should look.
    To(usize),
    /// Nobody is named for that.
    ToNobody,
}
