//! What somebody should look at, the gravest first.
//!
//! Invariant: nothing that a report shows as wrong is missing here, and nothing is here that is as it should be.

use std::collections::BTreeSet;

use pawl_config::Config;
use pawl_config::hint;
use pawl_policy::DAY_MS;
use pawl_policy::retention::Cause;

use super::model::{Attention, Compared, Grade, Gravity, Log, Refused, Report, Repository};
use super::words::{Moment, Words, ago, number};
use crate::doctor::Verdict;
use crate::record::{Done, Night, Step, StepStatus};
use crate::verify::finding::Severity;

/// Named one by one in one line; more are counted.
const NAMED_MAX: usize = 5;

/// Runs are made every night: without one for so long they are not.
const RUN_WITHIN_MS: u64 = 2 * DAY_MS;

/// A step that has not ended well for so long is worth a look.
const STEP_WITHIN_MS: u64 = 3 * DAY_MS;

/// Collects it.
pub(super) fn of(report: &Report, config: &Config) -> Vec<Attention> {
    let mut all = report.troubles.clone();
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
    let seen = log.seen.last().map(|last| {
        let places = number(log.seen.len() as u64, "place");
        let text = format!(
            "the audit log of {name} has {places} at which it is not what was written, and somebody has looked; the last is {}",
            last.as_str()
        );
        about(None, Grade::Look, text)
    });
    broken.into_iter().chain(lost).chain(seen).collect()
}

fn of_repository(of: &Repository, report: &Report, config: &Config) -> Vec<Attention> {
    if let Some(why) = &of.unreadable {
        return vec![about(Some(of), Grade::Loss, format!("cannot be read: {}", why.as_str()))];
    }
    let mut all = Vec::new();
    let damage = || of.findings.iter().filter(|found| found.severity == Severity::Damage);
    let whole = damage().filter(|found| found.file.is_none());
    all.extend(whole.map(|found| about(Some(of), Grade::Loss, found.detail.clone())));
    let damaged = damage().filter(|found| found.file.is_some()).count() as u64;
    if damaged > 0 {
        let verb = if damaged == 1 { "is" } else { "are" };
        let text = format!(
            "{} {verb} damaged or missing; `{}` says what can be repaired",
            number(damaged, "file"),
            hint::pawl(format!("maintain restore {} --dry-run", of.name))
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
    all.extend(of_fallen_silent(of));
    all.extend(of_junk(of, report));
    // One that never held anything is new, and of one that is retired nothing is visible.
    if of.files > 0 || (of.was_in_use && !of.is_retired) {
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
    let silent_ms = u64::from(config.maintenance.report.silent_days()) * DAY_MS;
    let is_long_ago = |moment: Moment| report.made.0.saturating_sub(moment.0) > silent_ms;
    let newer = of.newest.as_ref().map_or("", |newest| {
        if newest.opened { "; a newer one is held" } else { "; a newer one was not opened yet" }
    });
    let text = match (&of.last_backup, of.none_good_since) {
        (Some(last), _) if !is_long_ago(last.received) => return None,
        (Some(last), _) => format!("the last backup came {}{newer}", ago(last.received, report.made)),
        (None, None) if of.snapshots > 0 => {
            "all its snapshots say that they are received in the future; see what verify says".to_owned()
        }
        // A host that was added lately has as long for its first backup as for any other.
        (None, None) if of.began.is_some_and(|began| !is_long_ago(began)) => return None,
        (None, None) => "it has no snapshot".to_owned(),
        (None, Some(since)) if !is_long_ago(since) => return None,
        (None, Some(since)) => {
            format!(
                "of its snapshots, the first of which came {}, none was found good",
                ago(since, report.made)
            )
        }
    };
    Some(about(Some(of), Grade::Look, text))
}

/// Groups of snapshots of which nothing came for long, as the last run judged.
fn of_fallen_silent(of: &Repository) -> Vec<Attention> {
    let silent = of.held.iter().filter(|held| held.cause == Cause::Silence);
    let groups: BTreeSet<_> = silent.map(|held| (held.host.as_deref(), held.reason.as_str())).collect();
    let told = groups.iter().take(NAMED_MAX).map(|(host, reason)| match host {
        Some(host) => format!("snapshots of {host}: {reason}"),
        None => format!("snapshots of no host: {reason}"),
    });
    let more = groups.len().saturating_sub(NAMED_MAX);
    let more = (more > 0).then(|| format!("{more} more of its groups fell silent"));
    told.chain(more).map(|text| about(Some(of), Grade::Look, text)).collect()
}

fn of_verification(of: &Repository, report: &Report) -> Vec<Attention> {
    let Some(verified) = &of.verified else { return Vec::new() };
    let late = verified.late.then(|| {
        let since = verified.oldest.map_or_else(
            || "some of it never was".to_owned(),
            |oldest| format!("some of it was read {}", ago(oldest, report.made)),
        );
        let days = number(verified.within_days, "day");
        let verify = hint::pawl("maintain verify");
        let text = format!("it is not verified within {days}: {since}. Run `{verify}` every day");
        about(Some(of), Grade::Look, text)
    });
    let suspicious = (verified.suspicious > 0).then(|| {
        let found = number(verified.suspicious, "finding");
        about(Some(of), Grade::Look, format!("the last `pawl maintain verify` had {found}"))
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
        StepStatus::Failed => Some(said(done, "failed")),
        StepStatus::Notice => Some(said(done, "has something to say")),
        StepStatus::Well | StepStatus::Skipped => None,
    });
    let stale = || of_stale_runs(of, report);
    cut.or_else(stale).into_iter().chain(of_late_steps(of, night, report)).chain(steps).collect()
}

/// That no run has ended for long, although there were some.
fn of_stale_runs(of: &Repository, report: &Report) -> Option<Attention> {
    let ended = of.runs.ended?;
    (report.made.0.saturating_sub(ended.0) > RUN_WITHIN_MS).then(|| {
        let text = format!("no run of maintenance has ended since {} ({})", ended, ago(ended, report.made));
        about(Some(of), Grade::Look, text)
    })
}

/// Steps that ended well once, and have not for long.
fn of_late_steps(of: &Repository, night: &Night, report: &Report) -> Option<Attention> {
    let is_skipped =
        |step: Step| night.steps.iter().any(|done| done.step == step && done.ended == StepStatus::Skipped);
    let late = of.runs.well.iter().filter(|(step, well)| {
        let is_due = match step {
            // These follow on what others found.
            Step::Restore | Step::Locks => false,
            // Without rules, or with nothing to prune, there is nothing to do.
            Step::Forget | Step::Prune => !is_skipped(*step),
            Step::Compare | Step::Examine | Step::Verify | Step::Check | Step::Purge => true,
        };
        is_due && step.is_possible(of.config) && report.made.0.saturating_sub(well.0) > STEP_WITHIN_MS
    });
    let late: Vec<_> =
        late.map(|(step, well)| format!("`{}` {}", step.word(), ago(*well, report.made))).collect();
    (!late.is_empty())
        .then(|| about(Some(of), Grade::Look, format!("steps last ended well: {}", late.join(", "))))
}

/// What somebody tried who proved who they are. Wrong passwords are everywhere, and are only listed.
fn of_refused(refused: &Refused) -> Option<Attention> {
    let principal = refused.principal.as_deref().filter(|name| !name.starts_with('?'))?;
    let (all, total) = refused.forbidden;
    // They come in the order of their gravity.
    let forbidden = refused.attempts.iter().filter(|tried| tried.gravity() > Gravity::Other);
    let mut kinds: Vec<_> = forbidden
        .take(NAMED_MAX)
        .map(|tried| format!("{} ({}; {})", tried.action.as_str(), tried.number, tried.outcome.as_str()))
        .collect();
    let more = all.saturating_sub(kinds.len());
    kinds.extend((more > 0).then(|| format!("and {more} more")));
    (total > 0).then(|| {
        about(
            None,
            Grade::Look,
            format!("{principal} was refused {}: {}", number(total, "time"), kinds.join(", ")),
        )
    })
}
