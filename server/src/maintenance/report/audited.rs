//! What the audit logs tell a report: whether they are whole, what was refused, what was purged.
//!
//! Invariant: what is told of a log that does not verify comes with the word that it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::model::{Attempts, Log, Refused};
use super::words::Moment;
use crate::audit::{self, Decision, Deed, Event, Head, Line};

/// The two logs, as [`audit::directories`] orders them.
const LOGS: [&str; 2] = ["hosts", "maintenance"];

/// Kinds of attempts that are told of one principal; what more there are counts in the total only.
const KINDS_MAX: usize = 20;

/// What was no action of restic's at all: a stranger chose its words.
const NO_ACTION: &str = "something that is no request of restic's";

/// What was tried, and the status with which it was answered.
type Kind = (String, u16);

/// How often, and what was said to the last.
#[derive(Debug, Default)]
struct Tried {
    number: u64,
    outcome: String,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Audited {
    pub(super) logs: Vec<Log>,
    /// Heads that were asked for and found, by log.
    found: BTreeSet<&'static str>,
    refused: BTreeMap<Option<String>, BTreeMap<Kind, Tried>>,
    /// Snapshots that were removed for good: repository and `snapshots/ID`.
    purged: BTreeSet<(String, String)>,
    /// What the last verification of a repository found, damage aside.
    pub(super) suspicious: BTreeMap<String, u64>,
}

impl Audited {
    /// Reads both logs of a data directory, looks for the heads, and counts what was refused since.
    pub(super) fn read(
        data: &Path,
        heads: &BTreeMap<String, Head>,
        since: Option<Moment>,
    ) -> std::io::Result<Self> {
        let mut audited = Self::default();
        for (name, directory) in LOGS.into_iter().zip(audit::directories(data)) {
            let files = audit::files(&directory)?;
            let head = heads.get(name);
            let mut lost = 0;
            let mut before = None;
            let verified = audit::verify_whole(&files, None, |line| {
                // Each line carries the hash of the one before.
                if head.is_some_and(|head| head.hash == line.previous && before == Some(head.number)) {
                    audited.found.insert(name);
                }
                before = Some(line.number);
                lost += audited.note(line, since);
            });
            audited.logs.push(match verified {
                Ok(verified) => {
                    let end = verified.head.map(|hash| Head { number: verified.number, hash });
                    if head.is_some() && end.as_ref() == head {
                        audited.found.insert(name);
                    }
                    Log { name, lines: verified.lines, head: end, broken: None, lost }
                }
                Err(broken) => Log {
                    name,
                    lines: before.unwrap_or(0),
                    head: None,
                    broken: Some(broken.to_string().into()),
                    lost,
                },
            });
        }
        Ok(audited)
    }

    /// Notes what a line tells; returns how many lines are lost there.
    fn note(&mut self, line: Line, since: Option<Moment>) -> u64 {
        // A line whose time cannot be read counts.
        let is_new = since.is_none_or(|since| {
            line.time
                .parse::<Timestamp>()
                .map_or(true, |time| time.as_millisecond().cast_unsigned() >= since.0)
        });
        match line.event {
            Event::Decision(decision) if is_new && is_refusal(decision.status) => self.note_refusal(decision),
            Event::Purged(Deed { repository, file: Some(file), .. }) if file.starts_with("snapshots/") => {
                self.purged.insert((repository, file));
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
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.number));
    let total = kinds.iter().map(|kind| kind.number).sum();
    kinds.truncate(KINDS_MAX);
    Refused { principal: principal.map(str::to_owned), total, attempts: kinds }
}

/// Whether a status refuses what was asked. 404 does not: restic asks whether a config is there before it makes one.
const fn is_refusal(status: u16) -> bool {
    matches!(status, 400..=499 | 507) && status != 404
}
