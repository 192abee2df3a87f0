//! All that a report says, with the keys that its JSON has.
//!
//! Invariant: a key that is here stays, with its meaning; text and page say nothing that is not here.

use std::collections::BTreeSet;

use jiff::civil::Date;
use pawl_keeper::audit::{Break, Head};
use serde::Serialize;

use super::remembered::{AlreadyRead, Expected};
use super::words::{Moment, Words};
use crate::batch_list::Listed;
use crate::config::ConfigPresence;
use crate::doctor::{Adversary, Line};
use crate::record::{HeldSnapshot, Junk, Night, Step};
use crate::verify::finding::{Finding, Kind, Severity};

/// The form of the JSON, which changes if a key goes or means something else.
const FORM: u32 = 1;

/// A report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(rename = "pawl_report")]
    form: u32,
    pub(super) version: &'static str,
    pub(super) made: Moment,
    /// From when on refused attempts are told; from the beginning without.
    pub(super) since: Option<Moment>,
    pub(super) summary: Summary,
    pub(super) attention: Vec<Attention>,
    /// Of these, what came up while it was all looked at.
    #[serde(skip)]
    pub(super) troubles: Vec<Attention>,
    pub(super) compared: Option<Compared>,
    pub(super) repositories: Vec<Repository>,
    pub(super) frees: Vec<Frees>,
    pub(super) refused: Vec<Refused>,
    pub(super) audit: Vec<Log>,
    pub(super) store: Vec<Line>,
    pub(super) adversaries: Vec<Adversary>,
    pub(super) expected: Expected,
    /// What of the audit logs the next report need not read again.
    #[serde(skip)]
    pub(super) read: AlreadyRead,
    /// When the next night begins, for a repository that has not had one.
    #[serde(skip)]
    pub(super) first_night: String,
}

/// The whole in numbers: the last line of the text.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) exit: u8,
    pub(super) made: String,
    pub(super) repositories: usize,
    pub(super) snapshots: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) attention: usize,
    pub(super) missing: usize,
    pub(super) damaged: usize,
    pub(super) held: usize,
    pub(super) pending_batches: usize,
    pub(super) pending_bytes: u64,
    pub(super) refused: u64,
    pub(super) delivered: bool,
}

/// Something at which somebody should look.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Attention {
    pub(super) grade: Grade,
    pub(super) repository: Option<String>,
    pub(super) text: Words,
}

impl Attention {
    /// Something that may be wrong, perhaps of a repository.
    pub(super) fn look(repository: Option<&str>, text: impl Into<Words>) -> Self {
        Self { grade: Grade::Look, repository: repository.map(str::to_owned), text: text.into() }
    }
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// Something is gone or damaged, or the record of what was done is.
    Loss,
    /// Something may be wrong.
    Look,
}

impl Grade {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Look => "look",
        }
    }
}

/// What came of comparing with an earlier report.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    /// Where that one was.
    pub(super) with: String,
    /// When it was made.
    pub(super) made: Moment,
    pub(super) missing: Vec<Missing>,
    /// What is wrong with the audit logs, measured by their heads then.
    pub(super) logs: Vec<String>,
}

/// Snapshots of a repository that were there, and that nothing explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Missing {
    pub(super) repository: String,
    pub(super) snapshots: Vec<String>,
    /// Of how many that were there.
    pub(super) of: usize,
}

/// A repository.
#[derive(Debug, Default, Serialize)]
pub(super) struct Repository {
    #[serde(rename = "repository")]
    pub(super) name: String,
    /// Why nothing is known of what is there.
    pub(super) unreadable: Option<Words>,
    /// The last that was opened and found good; where nothing was ever opened, the last.
    pub(super) last_backup: Option<LastBackup>,
    /// The last of all, if that is another.
    pub(super) newest: Option<LastBackup>,
    /// Since when there is none that is good, where there are others.
    #[serde(skip)]
    pub(super) none_good_since: Option<Moment>,
    /// Whether verification ever saw its `config`.
    #[serde(skip)]
    pub(super) was_in_use: bool,
    /// Whether maintenance deleted all of it.
    #[serde(skip)]
    pub(super) is_retired: bool,
    /// When the first of what is there was received.
    #[serde(skip)]
    pub(super) began: Option<Moment>,
    /// Where its `config` is.
    #[serde(skip)]
    pub(super) config: ConfigPresence,
    pub(super) snapshots: u64,
    /// Locks do not count.
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// One for each day on which `pawl maintain run` was run.
    pub(super) growth: Vec<Grown>,
    pub(super) received: Received,
    pub(super) verified: Option<Verified>,
    pub(super) findings: Vec<Found>,
    pub(super) pending: Vec<Listed>,
    pub(super) held: Vec<HeldSnapshot>,
    pub(super) junk: Vec<Junk>,
    pub(super) last_run: Option<Night>,
    /// What else runs wrote down of when they did what.
    #[serde(skip)]
    pub(super) runs: Runs,
}

/// When runs ended, and their steps.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// When the last ended that did; without, when the first began as far as is known.
    pub(super) ended: Option<Moment>,
    /// When each step last ended well.
    pub(super) well: Vec<(Step, Moment)>,
}

/// A snapshot that was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LastBackup {
    pub(super) snapshot: String,
    pub(super) received: Moment,
    /// Who stored it, if that is known.
    pub(super) by: Option<String>,
    /// Whether maintenance opened it.
    pub(super) opened: bool,
}

/// A repository on one day.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Grown {
    pub(super) day: Date,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) snapshots: u64,
}

/// Bytes that arrived.
#[derive(Debug, Default, Serialize)]
pub(super) struct Received {
    /// `record`, as runs noted it each day; or `files`, of what is still there.
    pub(super) from: &'static str,
    pub(super) days: Vec<ReceivedDay>,
}

/// Bytes that arrived on one day.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct ReceivedDay {
    pub(super) day: Date,
    pub(super) bytes: u64,
}

/// How far verification has come.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    /// Of the 256 parts by the first byte of their names, those that were read within `within_days`.
    pub(super) parts: u16,
    /// The same as a share of 1.
    pub(super) share: f64,
    pub(super) within_days: u64,
    /// When the part was read that was read longest ago; nothing if one never was.
    pub(super) oldest: Option<Moment>,
    /// Whether it falls behind.
    pub(super) late: bool,
    /// Number of parts by their age in whole days.
    pub(super) ages: Vec<Aged>,
    /// Parts that were never read.
    pub(super) never: u16,
    /// Findings of the last verification at which somebody should look, damage aside.
    pub(super) suspicious: u64,
}

/// Parts of one age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Aged {
    pub(super) days: u64,
    pub(super) parts: u16,
}

/// A finding of verification that still stands.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) file: Option<Words>,
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    pub(super) detail: Words,
    /// The snapshots that need it, where that could be found out.
    pub(super) snapshots: Vec<Words>,
}

impl From<Finding> for Found {
    fn from(Finding { file, kind, detail, snapshots }: Finding) -> Self {
        Self {
            file: file.map(Words::from),
            kind,
            severity: kind.severity(),
            detail: detail.into(),
            snapshots: snapshots.into_iter().map(Words::from).collect(),
        }
    }
}

/// Space that will be free once a day's batches are final.
#[derive(Debug, Serialize)]
pub(super) struct Frees {
    /// The day in UTC.
    pub(super) day: String,
    pub(super) bytes: u64,
    pub(super) batches: usize,
}

/// What was refused to somebody.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    /// Who; with a question mark in front if it was not proved, and nothing if nobody known.
    pub(super) principal: Option<String>,
    pub(super) total: u64,
    pub(super) attempts: Vec<Attempts>,
    /// Of all, the kinds that were forbidden rather than wrong, and how often.
    #[serde(skip)]
    pub(super) forbidden: (usize, u64),
}

/// Attempts of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Attempts {
    pub(super) action: Words,
    pub(super) status: u16,
    pub(super) number: u64,
    /// What the last of them was told.
    pub(super) outcome: Words,
}

/// How grave an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gravity {
    /// It was wrong: a bad password, or no request at all.
    Other,
    /// It was forbidden, or too much.
    Forbidden,
    /// Something was to be deleted.
    Deletion,
}

impl Attempts {
    /// How grave they are.
    pub(super) fn gravity(&self) -> Gravity {
        match self.status {
            // `restic unlock` removes locks of 30 minutes, and Pawl those of an hour.
            403 if self.action.as_str() == "delete locks" => Gravity::Other,
            403 if self.action.as_str().starts_with("delete") => Gravity::Deletion,
            403 | 507 => Gravity::Forbidden,
            _ => Gravity::Other,
        }
    }
}

/// One of the two audit logs.
#[derive(Debug, Serialize)]
pub(super) struct Log {
    /// `hosts` or `maintenance`.
    #[serde(rename = "log")]
    pub(super) name: &'static str,
    pub(super) lines: u64,
    pub(super) head: Option<Head>,
    /// Why it is not what was written.
    pub(super) broken: Option<Words>,
    /// Places at which it is not, and of which somebody said that they have looked.
    pub(super) seen: Vec<Words>,
    /// Lines since the last report that could not be written.
    pub(super) lost: u64,
    /// Its last line, whether it is what was written or not.
    #[serde(skip)]
    pub(super) end: Option<Head>,
    /// All places at which it is not what was written.
    #[serde(skip)]
    pub(super) breaks: BTreeSet<Break>,
}

impl Report {
    /// A report in which nothing stands yet.
    pub(super) fn new(made: Moment, expected: Expected) -> Self {
        Self {
            form: FORM,
            version: env!("CARGO_PKG_VERSION"),
            made,
            since: None,
            summary: Summary::default(),
            attention: Vec::new(),
            troubles: Vec::new(),
            compared: None,
            repositories: Vec::new(),
            frees: Vec::new(),
            refused: Vec::new(),
            audit: Vec::new(),
            store: Vec::new(),
            adversaries: Vec::new(),
            expected,
            read: AlreadyRead::default(),
            first_night: String::new(),
        }
    }

    /// Adds it all up.
    pub(super) fn add_up(&mut self) {
        let of = |number: fn(&Repository) -> u64| self.repositories.iter().map(number).sum();
        let pending = || self.repositories.iter().flat_map(|repository| &repository.pending);
        let findings = self.repositories.iter().flat_map(|repository| &repository.findings);
        let missing = self.compared.iter().flat_map(|compared| &compared.missing);
        self.summary = Summary {
            exit: u8::from(!self.attention.is_empty()),
            made: self.made.to_string(),
            repositories: self.repositories.len(),
            snapshots: of(|repository| repository.snapshots),
            files: of(|repository| repository.files),
            bytes: of(|repository| repository.bytes),
            attention: self.attention.len(),
            missing: missing.map(|missing| missing.snapshots.len()).sum(),
            damaged: findings.filter(|finding| finding.severity == Severity::Damage).count(),
            held: self.repositories.iter().map(|repository| repository.held.len()).sum(),
            pending_batches: pending().count(),
            pending_bytes: pending().map(|batch| batch.bytes).sum(),
            refused: self.refused.iter().map(|refused| refused.total).sum(),
            delivered: false,
        };
    }
}

impl Summary {
    /// Notes whether it was delivered.
    pub(super) fn note_delivery(&mut self, delivered: bool) {
        self.delivered = delivered;
        if !delivered {
            self.exit = 2;
        }
    }
}
