//! What a run says at its end.
//!
//! Invariant: the last line is for programs, whatever happened; its keys are those of the JSON.

use std::fmt::Write as _;

use pawl_config::hint;
use pawl_store::now_ms;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::repository_run::RepositoryRun;
use super::word;
use crate::batch_list::moment;
use crate::record::{Done, StepStatus};
use crate::report::need_attention;
use crate::stop::Why;

/// What begins the last line.
const LAST_LINE: &str = "pawl-run: ";

/// What came of a run.
#[derive(Debug)]
pub(super) struct Report {
    began_ms: u64,
    pub(super) resumed: bool,
    pub(super) ended_by: Option<Why>,
    /// Whether a report was handed to somebody.
    pub(super) delivered: bool,
    /// At how much somebody should look, as the report says, if one was made.
    pub(super) attention: Option<usize>,
    /// Repositories that the configuration names and that are not there.
    pub(super) unknown: Vec<String>,
    /// Why not everything was done that could have been.
    pub(super) error: Option<String>,
    pub(super) repository_runs: Vec<RepositoryRun>,
}

impl Report {
    pub(super) fn begin() -> Self {
        Self {
            began_ms: now_ms(),
            resumed: false,
            ended_by: None,
            delivered: false,
            attention: None,
            unknown: Vec::new(),
            error: None,
            repository_runs: Vec::new(),
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        if self.error.is_some() || self.repository_runs.iter().any(RepositoryRun::has_failed) {
            return 2;
        }
        let has_notice =
            self.repository_runs.iter().any(RepositoryRun::has_notice) || !self.unknown.is_empty();
        u8::from(has_notice || self.attention() > 0)
    }

    fn attention(&self) -> usize {
        self.attention.unwrap_or(0)
    }

    fn summary(&self) -> Value {
        let count = |is_meant: &dyn Fn(&RepositoryRun) -> bool| {
            self.repository_runs.iter().filter(|repository_run| is_meant(repository_run)).count()
        };
        json!({
            "exit": self.exit_code(),
            "repositories": self.repository_runs.len(),
            "well": count(&|repository_run| !repository_run.has_failed() && !repository_run.has_notice() && !repository_run.has_left()),
            "notices": count(&|repository_run| !repository_run.has_failed() && repository_run.has_notice()),
            "failed": count(&RepositoryRun::has_failed),
            "left": self.repository_runs.iter().map(RepositoryRun::left).sum::<u64>(),
            "ended_by": self.ended_by.map(word),
            "resumed": self.resumed,
            "delivered": self.delivered,
            "attention": self.attention,
            "began": moment(self.began_ms),
            "seconds": now_ms().saturating_sub(self.began_ms) / 1000,
            "unknown": self.unknown,
            "error": self.error,
        })
    }

    /// For people, and a last line for programs.
    pub(super) fn text(&self) -> String {
        let width = self
            .repository_runs
            .iter()
            .map(|repository_run| repository_run.repository.as_str().len())
            .max()
            .unwrap_or(0);
        let mut text = String::new();
        for name in &self.unknown {
            let _ =
                writeln!(text, "[maintenance.run.repositories.\"{name}\"]: there is no repository {name}");
        }
        for repository_run in &self.repository_runs {
            let mut name = repository_run.repository.as_str();
            let is_told = |done: &&Done| {
                !repository_run.is_emptied() || matches!(done.ended, StepStatus::Notice | StepStatus::Failed)
            };
            for done in repository_run.steps().filter(is_told) {
                let _ = write!(text, "{}", rows(name, width, done)); // writing to a String cannot fail
                name = "";
            }
        }
        if self.attention() > 0 {
            let items = need_attention(self.attention() as u64);
            let _ = writeln!(text, "{items}; see `{}`.", hint::pawl("maintain report"));
        }
        let _ = write!(text, "{LAST_LINE}{}", self.summary());
        text
    }
}

/// A step, a line for each sentence.
fn rows(name: &str, width: usize, done: &Done) -> String {
    let Done { step, ended, said, batch, took_ms } = done;
    let minutes = format!("{}:{:02}", took_ms / 60_000, took_ms / 1000 % 60);
    let undo =
        batch.iter().map(|batch| format!("to undo: {}", hint::pawl(format!("maintain undelete {batch}"))));
    let mut rows = String::new();
    let mut head = format!("{name:<width$}  {:<7}  {:<7}  {minutes:>6}", step.word(), ended.word());
    let indent = head.chars().count();
    for sentence in said.iter().cloned().chain(undo) {
        let _ = writeln!(rows, "{head}  {sentence}");
        head = " ".repeat(indent);
    }
    rows
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut whole = self.summary();
        let steps: Vec<_> = self
            .repository_runs
            .iter()
            .flat_map(|repository_run| {
                repository_run.steps().map(|done| {
                    json!({
                        "repository": repository_run.repository.as_str(),
                        "step": done.step,
                        "ended": done.ended,
                        "said": done.said,
                        "batch": done.batch,
                        "seconds": done.took_ms / 1000,
                    })
                })
            })
            .collect();
        if let Some(whole) = whole.as_object_mut() {
            whole.insert("steps".to_owned(), steps.into());
        }
        whole.serialize(serializer)
    }
}
