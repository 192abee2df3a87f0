//! What runs did at a repository, remembered for the next run and for the report.
//!
//! Invariant: it is safe to lose. A run without it begins its portions anew, and the report has less history to show.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::civil::Date;
use pawl_config::files::{self, FileError};
use pawl_policy::RepositoryName;
use pawl_policy::retention::Cause;
use serde::{Deserialize, Serialize};

use crate::config::ConfigPresence;
use crate::state_file;

/// Days of which a line is kept: a year and a month, so that a year can be compared with the one before.
const DAYS_MAX: usize = 400;

/// What is remembered of a repository.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// The last run, perhaps unfinished.
    pub(crate) last: Option<Night>,
    /// When the first run began here, in Unix milliseconds.
    pub(crate) first_ms: Option<u64>,
    /// When it last was this repository's turn, in Unix milliseconds, whatever came of it.
    pub(crate) tended_ms: Option<u64>,
    /// When the last run ended that did, in Unix milliseconds.
    pub(crate) last_ended_ms: Option<u64>,
    /// When each step last ended well, in Unix milliseconds.
    pub(crate) well_ms: BTreeMap<Step, u64>,
    /// When `restic check` last ended well, in Unix milliseconds; nothing if it failed since.
    pub(crate) checked_ms: Option<u64>,
    /// What `restic check` last looked at; nothing if that is not known.
    pub(crate) checked: Option<CheckedFiles>,
    /// When restic last pruned, in Unix milliseconds.
    pub(crate) pruned_ms: Option<u64>,
    /// Whether the last run left steps for which there was no time, other than that of verifying.
    pub(crate) left_to_act: bool,
    /// What the last verification says about making deletions final; nothing if there was none.
    pub(crate) verified: Option<Verified>,
    /// The portion that `restic check --read-data-subset` reads next, from 1.
    pub(crate) next_portion: u32,
    /// One line for each day on which a run was made.
    pub(crate) days: BTreeMap<Date, Day>,
    /// Bytes that arrived on each day and were seen by a run; pruning takes nothing off.
    pub(crate) received: BTreeMap<Date, u64>,
    /// Snapshots that `forget` held back when it last judged.
    pub(crate) held: Vec<HeldSnapshot>,
    /// Junk that was hidden, the newest last; as many as were in the last run that found some.
    pub(crate) junk: Vec<Junk>,
    /// Batches of junk at which nobody has looked yet.
    pub(crate) unseen: BTreeSet<String>,
}

/// All files of a repository in which `restic check` found no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckedFiles {
    /// SHA-256 of their names, locks apart, in order and each followed by a line feed, in hexadecimal.
    pub(crate) names: String,
    /// When it ended, in Unix milliseconds.
    pub(crate) at_ms: u64,
}

/// One run at a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Night {
    /// When it began, in Unix milliseconds.
    pub(crate) began_ms: u64,
    /// When it ended; nothing if it was cut.
    pub(crate) ended_ms: Option<u64>,
    /// What was done, in order.
    pub(crate) steps: Vec<Done>,
}

/// One step of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) step: Step,
    pub(crate) ended: StepStatus,
    /// What there is to say, a sentence each.
    pub(crate) said: Vec<String>,
    /// What to undo.
    pub(crate) batch: Option<String>,
    pub(crate) took_ms: u64,
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// What the last report left with is compared with what is there.
    Compare,
    /// New indexes, snapshots, locks and keys are opened, and junk is hidden.
    Examine,
    /// Everything is looked at, and the portion of the day is read.
    Verify,
    /// Good copies replace what is damaged.
    Restore,
    /// Locks that are in the way are waited for.
    #[value(skip)]
    Locks,
    /// What is due is removed for good.
    Purge,
    /// The keep rules are applied.
    Forget,
    /// restic prunes.
    Prune,
    /// restic checks.
    Check,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepStatus {
    Well,
    /// It did its work, and somebody should look at what it says.
    Notice,
    /// What it needs was not configured, or its time was over.
    Skipped,
    /// A surprise: nothing that comes after it was done, unless it is that of purging.
    Failed,
}

impl Step {
    /// Whether there can be anything to do for it: restic, and what opens what restic wrote, need a `config`.
    pub(crate) const fn is_possible(self, config: ConfigPresence) -> bool {
        match config {
            ConfigPresence::Visible => true,
            ConfigPresence::OutOfSight => {
                !matches!(self, Self::Examine | Self::Forget | Self::Prune | Self::Check)
            }
            ConfigPresence::Nowhere => false,
        }
    }

    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Examine => "examine",
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::Locks => "locks",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Check => "check",
            Self::Purge => "purge",
        }
    }
}

impl StepStatus {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Notice => "notice",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// What a verification says about making deletions final.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verified {
    /// When the files were read that were read longest ago, in Unix milliseconds; nothing if some never were.
    pub(crate) read_ms: Option<u64>,
    /// What it found for which a deleted file may still be needed.
    pub(crate) against: Option<String>,
}

/// A repository on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Day {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) snapshots: u64,
    /// Parts, of the 256 by the first byte of their names, that were read within `verify_interval_days`.
    pub(crate) parts_verified: u16,
}

/// A snapshot that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldSnapshot {
    pub(crate) id: String,
    pub(crate) host: Option<String>,
    pub(crate) received: String,
    pub(crate) reason: String,
    /// Whether somebody should look at it; otherwise it is only too young.
    pub(crate) suspicious: bool,
    /// What it is held for.
    #[serde(default, with = "CauseWord")]
    pub(crate) cause: Cause,
}

impl HeldSnapshot {
    /// Whether it is held as suspicious for what it is, not for what the rules would do to its group.
    pub(crate) fn is_of_itself(&self) -> bool {
        self.suspicious && self.cause == Cause::Itself
    }
}

/// The word for a [`Cause`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Cause", rename_all = "snake_case")]
enum CauseWord {
    Itself,
    Rules,
    Silence,
    Age,
}

/// A file that was hidden because restic would choke on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Junk {
    /// `TYPE/ID`.
    pub(crate) file: String,
    /// Who stored it, if that is known.
    pub(crate) creator: Option<String>,
    pub(crate) reason: String,
    pub(crate) batch: String,
}

impl Record {
    /// What is remembered; nothing if it was lost.
    pub(crate) fn load(data: &Path, repository: &RepositoryName) -> Result<Self, FileError> {
        state_file::load(&path(data, repository)).map(Option::unwrap_or_default)
    }

    /// What is remembered; that it cannot be understood is an error.
    pub(crate) fn understand(data: &Path, repository: &RepositoryName) -> Result<Self, FileError> {
        state_file::understand(&path(data, repository)).map(Option::unwrap_or_default)
    }

    /// Writes it down, without what is too old.
    pub(crate) fn save(&mut self, data: &Path, repository: &RepositoryName) -> Result<(), FileError> {
        while self.days.len() > DAYS_MAX {
            self.days.pop_first();
        }
        while self.received.len() > DAYS_MAX {
            self.received.pop_first();
        }
        files::make_directory(&directory(data), 0o700)?;
        state_file::save(&path(data, repository), self)
    }
}

fn directory(data: &Path) -> PathBuf {
    state_file::directory(data).join("run")
}

fn path(data: &Path, repository: &RepositoryName) -> PathBuf {
    directory(data).join(state_file::file_name(repository))
}
