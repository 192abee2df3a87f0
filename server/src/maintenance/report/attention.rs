//! What somebody should look at, the gravest first.
//!
//! Invariant: nothing that a report shows as wrong is missing here, and nothing is here that is as it should be.

use pawl_policy::DAY_MS;

use super::super::run::record::{Done, Ended, Night};
use super::super::verify::finding::Severity;
use super::model::{Attention, Compared, Grade, Log, Refused, Report, Repository};
use super::words::{Moment, Words, ago, number};
use crate::config::Config;
use crate::doctor::Verdict;

/// Named one by one in one line; more are counted.
const NAMED_MAX: usize = 5;

/// Collects it.
pub(super) fn of(report: &Report, config: &Config) -> Vec<Attention> {
    let mut all = Vec::new();
    all.extend(report.compared.iter().flat_map(of_comparison));
    all.extend(report.audit.iter().flat_map(of_log));
    for repository in &report.repositories {
        all.extend(of_repository(repository, report, config));
    }
    all.extend(report.refused.iter().filter_map(of_refused));
    all.extend(report.store.iter().filter(|line| line.verdict == Verdict::Fault).map(|line| {
        let consequence = line.consequence.as_deref().unwrap_or_default();
        about(None, Grade::Look, format!("{}: {consequence}", line.text))
    }));
    all.sort_by_key(|attention| attention.grade);
    all
}

fn about(repository: Option<&Repository>, grade: Grade, text: impl Into<Words>) -> Attention {
    Attention { grade, repository: repository.map(|of| of.name.clone()), text: text.into() }
}

fn of_comparison(compared: &Compared) -> Vec<Attention> {
    let missing = compared.missing.iter().map(|missing| Attention {
        grade: Grade::Loss,
        repository: Some(missing.repository.clone()),
        text: missing.told(compared.made, NAMED_MAX).into(),
    });
    missing.chain(compared.logs.iter().map(|log| about(None, Grade::Loss, log.clone()))).collect()
}

fn of_log(log: &Log) -> Vec<Attention> {
    let name = log.name;
    let broken = log.broken.as_ref().map(|why| {
        about(None, Grade::Loss, format!("the audit log of {name} is not what was written: {}", why.as_str()))
    });
    let lost = (log.lost > 0).then(|| {
        let lost = number(log.lost, "record");
        about(None, Grade::Look, format!("{lost} could not be written into the audit log of {name}"))
    });
    broken.into_iter().chain(lost).collect()
}

fn of_repository(of: &Repository, report: &Report, config: &Config) -> Vec<Attention> {
    if let Some(why) = &of.unreadable {
        return vec![about(Some(of), Grade::Loss, format!("cannot be read: {}", why.as_str()))];
    }
    let mut all = Vec::new();
    let damaged = of.findings.iter().filter(|found| found.severity == Severity::Damage).count() as u64;
    if damaged > 0 {
        let verb = if damaged == 1 { "is" } else { "are" };
        let text = format!(
            "{} {verb} damaged; `pawl maintain restore --dry-run` says what can be repaired",
            number(damaged, "file")
        );
        all.push(about(Some(of), Grade::Loss, text));
    }
    all.extend(of.last_run.iter().flat_map(|night| of_run(of, night, report)));
    let suspicious = of.held.iter().filter(|held| held.suspicious).count() as u64;
    if suspicious > 0 {
        let verb = if suspicious == 1 { "is" } else { "are" };
        all.push(about(
            Some(of),
            Grade::Look,
            format!("{} {verb} held and suspicious", number(suspicious, "snapshot")),
        ));
    }
    all.extend(of_junk(of, report));
    // Of a retired repository nothing is visible.
    if of.files > 0 {
        all.extend(of_silence(of, report, config));
        all.extend(of_verification(of, report));
    }
    all
}

/// Junk that was hidden since the last report.
fn of_junk(of: &Repository, report: &Report) -> Option<Attention> {
    let since = report.since.map(|since| since.to_string()).unwrap_or_default();
    let is_new =
        |batch: &str| of.pending.iter().any(|pending| pending.batch == batch && pending.began >= since);
    let junk = of.junk.iter().filter(|junk| is_new(&junk.batch)).count() as u64;
    (junk > 0).then(|| {
        let files = number(junk, "file");
        about(
            Some(of),
            Grade::Look,
            format!("{files} on which restic would choke hidden: somebody who can add files was at it"),
        )
    })
}

fn of_silence(of: &Repository, report: &Report, config: &Config) -> Option<Attention> {
    let Some(last) = &of.last_backup else {
        return Some(about(Some(of), Grade::Look, "it has no snapshot"));
    };
    let silent_ms = u64::from(config.maintenance.report.silent_days()) * DAY_MS;
    (report.made.0.saturating_sub(last.received.0) > silent_ms).then(|| {
        about(Some(of), Grade::Look, format!("the last backup came {}", ago(last.received, report.made)))
    })
}

fn of_verification(of: &Repository, report: &Report) -> Vec<Attention> {
    let Some(verified) = &of.verified else { return Vec::new() };
    let late = verified.late.then(|| {
        let since = verified.oldest.map_or_else(
            || "some of it never was".to_owned(),
            |oldest| format!("some of it was read {}", ago(oldest, report.made)),
        );
        let days = number(verified.within_days, "day");
        about(
            Some(of),
            Grade::Look,
            format!("it is not verified within {days}: {since}. Run `pawl maintain verify` every day"),
        )
    });
    let suspicious = (verified.suspicious > 0).then(|| {
        let found = number(verified.suspicious, "finding");
        about(
            Some(of),
            Grade::Look,
            format!("the last `pawl maintain verify` had {found} at which somebody should look"),
        )
    });
    late.into_iter().chain(suspicious).collect()
}

fn of_run(of: &Repository, night: &Night, report: &Report) -> Vec<Attention> {
    let said = |done: &Done, how: &str| {
        // The first sentence says what it is about; all of them stand with the repository.
        let (step, what) = (done.step.word(), done.said.first().map_or("see its log", String::as_str));
        about(Some(of), Grade::Look, format!("the step `{step}` of the last run {how}: {what}"))
    };
    // One that began lately may be at work.
    let is_cut = night.ended_ms.is_none() && report.made.0.saturating_sub(night.began_ms) > DAY_MS;
    let cut = is_cut.then(|| {
        let began = ago(Moment(night.began_ms), report.made);
        about(
            Some(of),
            Grade::Look,
            format!("the last run began {began}, was cut, and was not taken up again"),
        )
    });
    let steps = night.steps.iter().filter_map(|done| match done.ended {
        Ended::Failed => Some(said(done, "failed")),
        Ended::Notice => Some(said(done, "has something to say")),
        Ended::Well | Ended::Skipped => None,
    });
    cut.into_iter().chain(steps).collect()
}

/// What somebody tried who proved who they are. Wrong passwords are everywhere, and are only listed.
fn of_refused(refused: &Refused) -> Option<Attention> {
    let principal = refused.principal.as_deref().filter(|name| !name.starts_with('?'))?;
    let forbidden: Vec<_> =
        refused.attempts.iter().filter(|tried| matches!(tried.status, 403 | 507)).collect();
    let total: u64 = forbidden.iter().map(|tried| tried.number).sum();
    let kinds: Vec<_> = forbidden
        .iter()
        .take(NAMED_MAX)
        .map(|tried| format!("{} ({}; {})", tried.action.as_str(), tried.number, tried.outcome.as_str()))
        .collect();
    (total > 0).then(|| {
        about(
            None,
            Grade::Look,
            format!("{principal} was refused {}: {}", number(total, "time"), kinds.join(", ")),
        )
    })
}
