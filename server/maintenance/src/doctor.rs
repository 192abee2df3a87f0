//! `pawl doctor`: whether a deployment holds what Pawl promises, and what each adversary could still do.
//!
//! Invariant: what cannot be found out is never called good. A bucket is tried on objects of Pawl's own; nothing that
//! anybody stored is touched, and nothing is changed.

mod adversaries;
mod bucket;
mod directory;
mod machine;
mod store;
mod upkeep;

use pawl_config::Config;
use pawl_config::print::{self, ExitStatus, Outcome};
use pawl_config::s3::S3Settings;
use pawl_store::s3::Findings;
use serde::Serialize;

use crate::command_line::Doctor;
pub(crate) use adversaries::{Adversary, Holds};
use store::Store;

/// What came of looking at one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Good,
    /// To be known, without being wrong.
    Note,
    /// Wrong, and accepted by name in the configuration.
    Accepted,
    Fault,
}

impl Verdict {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Accepted => "accepted",
            Self::Fault => "fault",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) text: String,
    /// What follows from it, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consequence: Option<String>,
    /// The word in `s3.accept` with which it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    accept: Option<&'static str>,
}

impl Line {
    fn good(text: impl Into<String>) -> Self {
        Self::plain(Verdict::Good, text)
    }

    fn note(text: impl Into<String>, consequence: impl Into<String>) -> Self {
        Self { consequence: Some(consequence.into()), ..Self::plain(Verdict::Note, text) }
    }

    fn fault(text: impl Into<String>, consequence: impl Into<String>) -> Self {
        Self { consequence: Some(consequence.into()), ..Self::plain(Verdict::Fault, text) }
    }

    fn plain(verdict: Verdict, text: impl Into<String>) -> Self {
        Self { verdict, text: text.into(), consequence: None, accept: None }
    }
}

/// All that was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) checks: Vec<Line>,
    pub(crate) adversaries: Vec<Adversary>,
}

/// Looks, and says what it found: exit code 0 if nothing is wrong, 1 if something is, 2 if it could not look.
pub fn run(options: &Doctor) -> Outcome {
    let report = look(options).map_err(|error| ExitStatus { code: 2, message: error.to_string() })?;
    if options.json {
        print::json(&report)?;
    } else {
        say(&report)?;
    }
    if report.checks.iter().all(|line| line.verdict != Verdict::Fault) {
        return Ok(());
    }
    Err(ExitStatus { code: 1, message: String::new() }.into())
}

fn look(options: &Doctor) -> Result<Report, Box<dyn std::error::Error>> {
    let config = options.place.configuration()?;
    let store = match &config.s3 {
        None => directory::look(&config)?,
        Some(settings) => bucket::look(settings, config.maintenance.purge_delay_days())?,
    };
    judge(&config, store)
}

/// The same for whoever tries nothing out: of a bucket it takes what maintenance found out with its own credential, if that
/// is known. That of the frontend is not known then.
pub(crate) fn look_without_trying(
    config: &Config,
    found: Option<(&Findings, &S3Settings)>,
) -> Result<Report, Box<dyn std::error::Error>> {
    let store = match &config.s3 {
        None => directory::look(config)?,
        Some(_) => bucket::of_maintenance(found, config.maintenance.purge_delay_days()),
    };
    judge(config, store)
}

fn judge(config: &Config, store: (Vec<Line>, Store)) -> Result<Report, Box<dyn std::error::Error>> {
    let (mut checks, store) = store;
    let machine = machine::look(config);
    let upkeep = upkeep::look(config, &store)?;
    let adversaries = adversaries::weigh(config, &machine, &store, &upkeep);
    checks.splice(0..0, machine.lines);
    checks.extend(upkeep.lines);
    Ok(Report { checks, adversaries })
}

fn say(report: &Report) -> Outcome {
    for line in &report.checks {
        print::line(&format!("{:<9} {}", line.verdict.word(), line.text))?;
        if let Some(consequence) = &line.consequence {
            print::line(&format!("{:<9}   {consequence}", ""))?;
        }
    }
    print::line("\nWhat each adversary could do here:")?;
    for adversary in &report.adversaries {
        print::line(&format!("\n{} {}: {}", adversary.letter, adversary.who, adversary.holds.word()))?;
        print::line(&format!("  {}", adversary.text))?;
        if let Some(remedy) = &adversary.remedy {
            let better = if adversary.holds == Holds::Yes { "Better still" } else { "Remedy" };
            print::line(&format!("  {better}: {remedy}"))?;
        }
    }
    Ok(())
}
