//! What the audit logs tell a report: whether they are whole, what was refused, what was purged.
//!
//! Invariant: what is told of a log that does not verify comes with the word that it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use pawl_keeper::audit::{self, Break, Decision, Deed, Event, Head, LOGS, Line, Past, ReadFiles};
use pawl_policy::Denial;

use super::model::{Attempts, Gravity, Log, Refused};
use super::remembered::AlreadyRead;
use super::words::Moment;

/// Kinds of attempts that are told of one principal; what more there are counts in the total only.
const KINDS_MAX: usize = 20;

/// What was no action of restic's at all: a stranger chose its words.
const NO_ACTION: &str = "something that is no request of restic's";

const CONFIG: &str = "config";

/// What was tried, and the status with which it was answered.
type Kind = (String, u16);

/// How often, and what was said to the last.
#[derive(Debug, Default)]
struct Tried {
    number: u64,
    outcome: String,
}

/// From when on something is new.
#[derive(Debug, Clone, Default)]
pub(super) struct Since {
    /// Nothing if everything is.
    pub(super) moment: Option<Moment>,
    /// The last records that were told, by log.
    pub(super) told: BTreeMap<String, u64>,
}

impl Since {
    /// Whether a line is new: by its number, which no clock changes, or by its time, as in a log that was begun anew. One
    /// whose time cannot be read is.
    fn is_before(&self, log: &str, line: &Line) -> bool {
        let Some(since) = self.moment else { return true };
        let is_later = || {
            let time = line.time.parse::<Timestamp>();
            time.map_or(true, |time| time.as_millisecond().cast_unsigned() >= since.0)
        };
        self.told.get(log).is_some_and(|told| line.number > *told) || is_later()
    }

    /// Whether all lines up to this number were told.
    fn has_told(&self, log: &str, number: u64) -> bool {
        self.moment.is_some() && self.told.get(log).is_some_and(|told| *told >= number)
    }
}

/// What is known of the logs' ends from before, by log.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownEnds<'a> {
    /// The last records.
    pub(super) heads: &'a BTreeMap<String, Head>,
    /// Breaks at which somebody has looked.
    pub(super) breaks: &'a BTreeMap<String, BTreeSet<Break>>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Audited {
    pub(super) logs: Vec<Log>,
    /// Heads that were asked for and found, by log.
    found: BTreeSet<&'static str>,
    /// The last records that were archived, by log.
    pub(super) archived: BTreeMap<&'static str, Head>,
    /// Files that the next report need not read again, by log.
    files: BTreeMap<String, ReadFiles>,
    refused: BTreeMap<Option<String>, BTreeMap<Kind, Tried>>,
    /// Snapshots that were removed for good after the expected heads, and perhaps before: repository and `snapshots/ID`.
    purged: BTreeSet<(String, String)>,
    /// Repositories whose config maintenance deleted, which it does last of all.
    pub(super) retired: BTreeSet<String>,
    /// What the last verification of a repository found, damage aside.
    pub(super) suspicious: BTreeMap<String, u64>,
}

impl Audited {
    /// Reads both logs of a data directory, looks for the heads that are expected, and counts what was refused since; without
    /// `since`, nothing is counted. Of what the logs told before the expected heads, only retirements and findings are known.
    pub(super) fn read(
        data: &Path,
        expected: Option<KnownEnds<'_>>,
        since: Option<&Since>,
        before: AlreadyRead,
    ) -> std::io::Result<Self> {
        let AlreadyRead { mut files, retired, suspicious } = before;
        let mut audited = Self { retired, suspicious, ..Self::default() };
        for (name, directory) in LOGS.into_iter().zip(audit::directories(data)) {
            let log = audit::Log::open(&directory)?;
            let head = expected.and_then(|expected| expected.heads.get(name));
            let seen = expected.and_then(|expected| expected.breaks.get(name)).cloned().unwrap_or_default();
            let is_past = |read: &ReadFiles| {
                head.is_some_and(|head| head.number >= read.head.number)
                    && since.is_none_or(|since| since.has_told(name, read.head.number))
            };
            let before = files.remove(name).filter(is_past).filter(|before| before.are_unchanged(&log));
            if head.is_some() && before.as_ref().map(|before| &before.head) == head {
                audited.found.insert(name);
            }
            let mut lost = 0_u64;
            let Past { lines, head: end, breaks, broken, archived, read } =
                audit::verify_past(&log, &seen, before, |line, hash| {
                    if head.is_some_and(|head| head.number == line.number && head.hash == hash) {
                        audited.found.insert(name);
                    }
                    let is_new = since.is_some_and(|since| since.is_before(name, &line));
                    lost = lost.saturating_add(audited.note(line, is_new));
                });
            if head.is_some() && archived.as_ref() == head {
                audited.found.insert(name);
            }
            audited.files.extend(read.map(|read| (name.to_owned(), read)));
            audited.archived.extend(archived.map(|last| (name, last)));
            let known = seen.intersection(&breaks).map(|known| known.to_string().into()).collect();
            let broken = broken.map(|broken| broken.to_string().into());
            let head = if broken.is_some() { None } else { end.clone() };
            audited.logs.push(Log { name, lines, head, broken, seen: known, lost, end, breaks });
        }
        Ok(audited)
    }

    /// Notes what a line tells; returns how many lines are lost there.
    fn note(&mut self, line: Line, is_new: bool) -> u64 {
        match line.event {
            Event::Decision(decision) if is_new && is_refusal(&decision) => self.note_refusal(decision),
            Event::Decision(decision) if is_new => return lost(&decision),
            Event::Purged(Deed { repository, file: Some(file), .. }) if file.starts_with("snapshots/") => {
                self.purged.insert((repository, file));
            }
            Event::Hidden(Deed { repository, file: Some(file), .. }) if file == CONFIG => {
                self.retired.insert(repository);
            }
            Event::BroughtBack(Deed { repository, file: Some(file), .. }) if file == CONFIG => {
                self.retired.remove(&repository);
            }
            Event::Verified(run) => {
                self.suspicious.insert(run.repository, run.suspicious);
            }
            Event::Lost { lines } if is_new => return lines,
            _ => {}
        }
        0
    }

    fn note_refusal(&mut self, decision: Decision) {
        let Decision { principal, repository, action, outcome, status, .. } = decision;
        let action = if repository.is_some() { action } else { NO_ACTION.to_owned() };
        let attempts = self.refused.entry(principal).or_default();
        let tried = attempts.entry((action, status)).or_default();
        *tried = Tried { number: tried.number.saturating_add(1), outcome };
    }

    /// What the next report need not read again.
    pub(super) fn already_read(&self) -> AlreadyRead {
        let (files, retired) = (self.files.clone(), self.retired.clone());
        AlreadyRead { files, retired, suspicious: self.suspicious.clone() }
    }

    /// Whether this log still has the record that was once its last.
    pub(super) fn has_head(&self, log: &str) -> bool {
        self.found.contains(log)
    }

    /// Whether maintenance removed a snapshot for good.
    pub(super) fn was_purged(&self, repository: &str, id: &str) -> bool {
        self.purged.contains(&(repository.to_owned(), format!("snapshots/{id}")))
    }

    /// What was refused, by principal; who tried most comes first.
    pub(super) fn refused(&self) -> Vec<Refused> {
        let mut refused: Vec<_> =
            self.refused.iter().map(|(principal, attempts)| told(principal.as_deref(), attempts)).collect();
        refused.sort_by_key(|refused| std::cmp::Reverse(refused.total));
        refused
    }
}

fn told(principal: Option<&str>, attempts: &BTreeMap<Kind, Tried>) -> Refused {
    let mut kinds: Vec<_> = attempts
        .iter()
        .map(|((action, status), Tried { number, outcome })| Attempts {
            action: action.clone().into(),
            status: *status,
            number: *number,
            outcome: outcome.clone().into(),
        })
        .collect();
    kinds.sort_by_key(|kind| (std::cmp::Reverse(kind.gravity()), std::cmp::Reverse(kind.number)));
    let total = kinds.iter().map(|kind| kind.number).sum();
    let forbidden = kinds.iter().filter(|kind| kind.gravity() > Gravity::Other);
    let forbidden = (forbidden.clone().count(), forbidden.map(|kind| kind.number).sum());
    kinds.truncate(KINDS_MAX);
    Refused { principal: principal.map(str::to_owned), total, attempts: kinds, forbidden }
}

/// How many decisions a server says that found no room: it can tell that as a decision of nobody's only.
fn lost(decision: &Decision) -> u64 {
    let Decision { principal: None, repository: None, action, outcome, status: 0, .. } = decision else {
        return 0;
    };
    if action != "audit" {
        return 0;
    }
    outcome.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// Whether what was asked was refused. 404 is no refusal: restic asks whether a config is there before it makes one. Nor
/// is the deletion of what is not there, or was just stored: restic cleans up like this after an upload. Nor is what a lock
/// got while maintenance waits for the repository.
fn is_refusal(decision: &Decision) -> bool {
    let status = decision.status;
    let is_nothing = decision.outcome.starts_with(&Denial::CleanUp.to_string());
    let is_suspended = decision.outcome.starts_with(Denial::LOCKS_SUSPENDED);
    matches!(status, 400..=499 | 507) && status != 404 && !is_nothing && !is_suspended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(action: &str, status: u16, outcome: &str) -> Decision {
        Decision {
            principal: None,
            peer: String::new(),
            action: action.to_owned(),
            repository: None,
            file: None,
            outcome: outcome.to_owned(),
            status,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    fn line(event: Event) -> Line {
        Line { number: 1, time: String::new(), previous: String::new(), event }
    }

    #[test]
    fn decisions_that_found_no_room_are_lost() {
        let mut audited = Audited::default();
        let mut note = |decision, is_new| audited.note(line(Event::Decision(decision)), is_new);
        let lost = "12 decisions found no room and are missing here";
        assert_eq!(note(decision("audit", 0, lost), true), 12);
        assert_eq!(note(decision("audit", 0, lost), false), 0);
        assert_eq!(note(decision("audit", 0, "some"), true), 1);
        assert_eq!(note(decision("create data", 0, lost), true), 0);
        assert_eq!(note(decision("audit", 200, lost), true), 0);
    }

    #[test]
    fn deletions_come_first_however_much_else_was_refused() {
        let mut attempts = BTreeMap::new();
        let mut tried = |action: String, status, number| {
            attempts.insert((action, status), Tried { number, outcome: String::new() });
        };
        for kind in 0..100 {
            tried(format!("read {kind}"), 400, 1000);
        }
        tried("create data".to_owned(), 507, 50);
        tried("delete snapshots".to_owned(), 403, 1);
        let told = told(Some("web1"), &attempts);
        let first: Vec<_> = told.attempts.iter().take(2).map(|kind| kind.action.as_str()).collect();
        assert_eq!(first, ["delete snapshots", "create data"]);
        assert_eq!((told.attempts.len(), told.forbidden, told.total), (KINDS_MAX, (2, 51), 100_051));
    }
}
