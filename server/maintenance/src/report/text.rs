//! The report for a terminal or a mail.
//!
//! Invariant: what somebody should look at stands on top, the line for programs is the last.

use std::fmt::Write as _;

use pawl_policy::DAY_MS;
use pawl_store::maintenance::Reason;

use super::model::{LastBackup, Log, Refused, Report, Repository, Verified};
use super::seen;
use super::words::{Words, ago, need_attention, number, size};
use crate::batch_list::{Listed, count};
use crate::record::StepStatus;

/// Digits of an id that are shown.
const ID_SHOWN: usize = 8;

/// Lines of one kind that are shown of a repository; JSON has all.
pub(super) const SHOWN_MAX: usize = 50;

/// Over which what was received is added up.
const WEEK_MS: u64 = 7 * DAY_MS;

/// All of it.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut say = |line: String| {
        let _ = writeln!(text, "{line}"); // writing to a String cannot fail
    };
    head(report).into_iter().for_each(&mut say);
    for repository in report.repositories.iter().filter(|of| !of.is_retired) {
        say(String::new());
        of_repository(repository, report).into_iter().for_each(&mut say);
    }
    for (title, lines) in [
        ("Retired", retired(report)),
        ("Space that will be free", frees(report)),
        ("Refused", refused(report)),
        ("Audit log", audit(report)),
        ("The store and this machine", store(report)),
        ("What each adversary could still do", adversaries(report)),
    ] {
        if !lines.is_empty() {
            say(format!("\n{title}"));
            lines.into_iter().for_each(&mut say);
        }
    }
    text + &last_line(report)
}

/// For programs.
pub(super) fn last_line(report: &Report) -> String {
    // Numbers and plain words: it cannot fail.
    format!("\npawl-report: {}", serde_json::to_string(&report.summary).unwrap_or_default())
}

fn head(report: &Report) -> Vec<String> {
    let all = &report.summary;
    let mut lines = vec![format!(
        "Report of {}: {}, {}, {}",
        report.made,
        number(all.repositories as u64, "repository"),
        number(all.snapshots, "snapshot"),
        size(all.bytes)
    )];
    if let Some(compared) = &report.compared {
        lines.push(format!("Compared with {}, made {}", compared.with, compared.made));
    }
    lines.push(String::new());
    if report.attention.is_empty() {
        lines.push("Nothing needs attention.".to_owned());
    } else {
        lines.push(format!("{}:", need_attention(report.attention.len() as u64)));
    }
    lines.extend(report.attention.iter().map(|attention| {
        let place = attention.repository.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        format!("  {:<4}  {place}{}", attention.grade.word(), attention.text)
    }));
    lines
}

fn of_repository(of: &Repository, report: &Report) -> Vec<String> {
    let mut lines = vec![of.name.clone()];
    let mut say = |what: &str, text: String| lines.push(format!("  {what:<12}  {text}"));
    if let Some(why) = &of.unreadable {
        say("unreadable", why.to_string());
        return lines;
    }
    say("last backup", last_backup(of, report));
    say("stored", format!("{} in {}, {}", number(of.snapshots, "snapshot"), count(of.files), size(of.bytes)));
    say("received", received(of, report));
    if let Some(of) = &of.verified {
        say("verified", verified(of, report));
    }
    for found in of.findings.iter().take(SHOWN_MAX) {
        let file = found.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
        say("found", format!("{file}{}: {}", found.kind, found.detail));
    }
    if let Some(more) = more(of.findings.len()) {
        say("", more);
    }
    if let Some(newest) = &of.newest {
        say("newest", self::newest(newest, report));
    }
    for batch in of.pending.iter().take(SHOWN_MAX) {
        say("deleted", pending(batch));
    }
    if let Some(more) = more(of.pending.len()) {
        say("", more);
    }
    for held in of.held.iter().take(SHOWN_MAX) {
        let host = held.host.clone().map(Words::from).map(|host| format!(" of {host}")).unwrap_or_default();
        let id = short(&held.id);
        say(
            "held",
            format!("{id}{host}, received {}: {}", Words::from(&held.received), Words::from(&held.reason)),
        );
    }
    if let Some(more) = more(of.held.len()) {
        say("", more);
    }
    for junk in of.junk.iter().take(SHOWN_MAX) {
        let by = junk.creator.clone().map(Words::from).map(|by| format!(" by {by}")).unwrap_or_default();
        say("hidden junk", format!("{}{by}: {}", Words::from(&junk.file), Words::from(&junk.reason)));
    }
    if let Some(more) = more(of.junk.len()) {
        say("", more);
    }
    if let Some(night) = &of.last_run {
        let steps: Vec<_> =
            night.steps.iter().map(|done| format!("{} {}", done.step.word(), done.ended.word())).collect();
        let cut = if night.ended_ms.is_none() { "; it was cut, or is at work" } else { "" };
        let began = super::words::Moment(night.began_ms);
        say("last run", format!("{began}: {}{cut}", steps.join(", ")));
        for done in
            night.steps.iter().filter(|done| matches!(done.ended, StepStatus::Notice | StepStatus::Failed))
        {
            let undo = done.batch.as_ref().map(|batch| format!(" (batch {})", Words::from(batch)));
            let said = Words::from(done.said.join("; "));
            say("", format!("{}: {said}{}", done.step.word(), undo.unwrap_or_default()));
        }
    } else {
        say("first night", report.first_night.clone());
    }
    lines
}

/// The newest snapshot that is good as far as is known.
pub(super) fn last_backup(of: &Repository, report: &Report) -> String {
    match &of.last_backup {
        None if of.none_good_since.is_some() => "there is none that was found good".to_owned(),
        None => "there is none".to_owned(),
        Some(last) if last.opened => snapshot(last, report),
        Some(last) => format!("{} (nobody opened it)", snapshot(last, report)),
    }
}

fn snapshot(of: &LastBackup, report: &Report) -> String {
    let by = of.by.as_ref().map(|by| format!(" from {by}")).unwrap_or_default();
    format!("{}, {}{by}: snapshot {}", of.received, ago(of.received, report.made), short(&of.snapshot))
}

/// A snapshot that came after the last good one.
pub(super) fn newest(of: &LastBackup, report: &Report) -> String {
    snapshot(of, report) + if of.opened { " (held)" } else { " (not opened yet)" }
}

/// How many more there are than are shown, if there are.
pub(super) fn more(all: usize) -> Option<String> {
    let more = all.saturating_sub(SHOWN_MAX);
    (more > 0).then(|| format!("and {more} more"))
}

fn received(of: &Repository, report: &Report) -> String {
    let from = seen::day(report.made.0.saturating_sub(WEEK_MS));
    let bytes = of.received.days.iter().filter(|day| day.day > from).map(|day| day.bytes).sum();
    let what = if of.received.from == "files" { ", of what is still there" } else { "" };
    format!("{} in the last 7 days{what}", size(bytes))
}

/// How far verification has come.
pub(super) fn verified(of: &Verified, report: &Report) -> String {
    let oldest = of.oldest.map_or_else(
        || format!("{} never read", number(u64::from(of.never), "part")),
        |oldest| format!("all was read since {} ({})", oldest, ago(oldest, report.made)),
    );
    format!("{} within {}; {oldest}", percent(of.share), number(of.within_days, "day"))
}

/// A share of 1; 100 % only if it is all.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).floor())
}

/// A batch that can still be undone.
pub(super) fn pending(batch: &Listed) -> String {
    let why = match batch.reason {
        Reason::Deleted => "deleted by",
        Reason::Damaged => "damaged, moved away by",
    };
    let seen = if batch.days_seen < batch.days_needed as usize {
        format!(" (seen on {} of {} needed)", batch.days_seen, number(u64::from(batch.days_needed), "day"))
    } else {
        String::new()
    };
    format!(
        "{}: {}, {}, {why} {}; final from {}{seen}",
        batch.batch,
        count(batch.files),
        size(batch.bytes),
        batch.principal,
        batch.final_from
    )
}

/// The beginning of an id.
pub(super) fn short(id: &str) -> Words {
    id.get(..ID_SHOWN).unwrap_or(id).into()
}

/// Repositories that maintenance deleted as a whole, with what can still be brought back.
fn retired(report: &Report) -> Vec<String> {
    let retired = report.repositories.iter().filter(|of| of.is_retired);
    let lines = retired.flat_map(|of| {
        let batches = of.pending.iter().take(SHOWN_MAX).map(pending).chain(more(of.pending.len()));
        std::iter::once(format!("  {}", of.name)).chain(batches.map(|line| format!("    {line}")))
    });
    lines.collect()
}

fn frees(report: &Report) -> Vec<String> {
    let frees = report.frees.iter();
    frees.map(|of| format!("  {}  {} in {}", of.day, size(of.bytes), batches(of.batches))).collect()
}

/// So many batches.
pub(super) fn batches(batches: usize) -> String {
    if batches == 1 { "1 batch".to_owned() } else { format!("{batches} batches") }
}

fn refused(report: &Report) -> Vec<String> {
    report
        .refused
        .iter()
        .flat_map(|of| {
            std::iter::once(format!("  {}", who(of))).chain(of.attempts.iter().map(|tried| {
                format!("    {:>6}  {} {}: {}", tried.number, tried.status, tried.action, tried.outcome)
            }))
        })
        .collect()
}

/// To whom something was refused, how often.
pub(super) fn who(of: &Refused) -> String {
    let times = number(of.total, "time");
    match of.principal.as_deref().map(|name| (name.strip_prefix('?'), name)) {
        None => format!("somebody unknown: {times}"),
        Some((Some(claimed), _)) => format!("somebody who said to be {}: {times}", Words::from(claimed)),
        Some((None, name)) => format!("{}: {times}", Words::from(name)),
    }
}

fn audit(report: &Report) -> Vec<String> {
    report.audit.iter().map(|log| format!("  {}: {}", log.name, of_log(log))).collect()
}

/// How long an audit log is, and its last record.
pub(super) fn of_log(log: &Log) -> String {
    match (&log.broken, &log.head) {
        (Some(why), _) => format!("NOT what was written: {why}"),
        (None, None) => "there are no records".to_owned(),
        (None, Some(head)) => {
            format!(
                "{} without a break; the last is {} with the hash {}",
                number(log.lines, "record"),
                head.number,
                head.hash
            )
        }
    }
}

fn store(report: &Report) -> Vec<String> {
    report
        .store
        .iter()
        .map(|line| format!("  {:<8}  {}", line.verdict.word(), Words::from(&line.text)))
        .collect()
}

fn adversaries(report: &Report) -> Vec<String> {
    let adversaries = report.adversaries.iter();
    adversaries
        .map(|of| format!("  {} {}: {}\n    {}", of.letter, of.who, of.holds.word(), of.text))
        .collect()
}
