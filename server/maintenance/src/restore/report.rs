//! What `pawl maintain restore` says.
//!
//! Invariant: text and JSON say the same, for a dry run as for the real one.

use pawl_config::hint;
use pawl_policy::Handle;
use pawl_store::maintenance::Place;
use serde::Serialize;

use super::apply::Done;
use super::plan::{Step, Task};

/// What came of a run, or would.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) dry_run: bool,
    pub(super) repositories: Vec<Part>,
}

/// What came of one repository.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Part {
    pub(super) repository: String,
    pub(super) files: Vec<Line>,
    /// What was added since the moment that was asked for.
    pub(super) added: Vec<Line>,
    /// Where the damaged copies are now.
    pub(crate) batches: Vec<String>,
    /// What is lost for good, as far as is known here, in words.
    pub(super) lost: Vec<String>,
    /// What is left to do, in words.
    pub(super) left: Vec<String>,
}

impl Part {
    /// Whether there is nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.added.is_empty() && self.lost.is_empty() && self.left.is_empty()
    }

    /// How many files were restored.
    pub(crate) fn restored(&self) -> usize {
        self.files.iter().filter(|line| line.outcome == "restored").count()
    }

    /// What is not right, in words.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let left = self.files.iter().filter(|line| line.is_left());
        let said = left.map(|line| match &line.detail {
            Some(detail) => format!("{}: {}: {detail}", line.file, line.outcome),
            None => format!("{}: {}", line.file, line.outcome),
        });
        said.chain(self.lost.iter().cloned()).collect()
    }
}

/// What came of one file.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    file: String,
    outcome: &'static str,
    /// Where the right copy comes from, or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Line {
    pub(super) fn new(handle: &Handle, outcome: &'static str, detail: Option<String>) -> Self {
        Self { file: handle.to_string(), outcome, detail }
    }

    /// What was done.
    pub(super) fn done(task: &Task, done: &Done, source: Option<&str>) -> Self {
        let (outcome, detail) = match done {
            Done::Right => ("right", None),
            Done::Restored => ("restored", origin(&task.step, source)),
            Done::SetAside => ("set aside", Some("there is no good copy".to_owned())),
            Done::NoGoodCopy => ("not restored", Some(want(task))),
            Done::Failed(why) => ("not restored", Some(why.clone())),
        };
        Self::new(&task.handle, outcome, detail)
    }

    /// What would be done.
    pub(super) fn planned(task: &Task, source: Option<&str>, set_aside: bool) -> Self {
        let (outcome, detail) = match &task.step {
            Step::Right | Step::PutBack(Place::Current) => ("right", None),
            Step::PutBack(_) | Step::PutIn { .. } => ("would be restored", origin(&task.step, source)),
            Step::NoGoodCopy if set_aside && (task.wrong_one_there || task.displaced) => {
                ("would be set aside", Some("there is no good copy".to_owned()))
            }
            Step::NoGoodCopy => ("cannot be restored", Some(want(task))),
        };
        Self::new(&task.handle, outcome, detail)
    }

    fn is_left(&self) -> bool {
        matches!(self.outcome, "not restored" | "cannot be restored" | "not deleted")
    }
}

fn want(task: &Task) -> String {
    match task.expected {
        Some(_) => "there is no good copy; name another store with --from".to_owned(),
        None => "its hash was never recorded, so that no copy can be proved right".to_owned(),
    }
}

/// Where the right copy is.
fn origin(step: &Step, source: Option<&str>) -> Option<String> {
    match step {
        Step::PutBack(Place::Hidden(batch)) => Some(format!("from batch {batch}")),
        Step::PutBack(Place::Rescued) => Some("from good bytes that a host sent again".to_owned()),
        Step::PutBack(Place::Aside(_)) => Some("from keys that were set aside".to_owned()),
        Step::PutBack(Place::Noncurrent(version)) => Some(format!("from version {version}")),
        Step::PutIn { .. } => source.map(|name| format!("from {name}")),
        Step::PutBack(Place::Current) | Step::Right | Step::NoGoodCopy => None,
    }
}

impl Report {
    /// 0 if nothing is left that is not right, and nothing is lost.
    pub(super) fn exit_code(&self) -> u8 {
        let mut lines = self.repositories.iter().flat_map(|part| part.files.iter().chain(&part.added));
        let is_lost = self.repositories.iter().any(|part| !part.lost.is_empty());
        u8::from(is_lost || lines.any(Line::is_left))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        for part in &self.repositories {
            for line in part.files.iter().chain(&part.added) {
                let detail = line.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
                lines.push(format!("{}/{}: {}{detail}", part.repository, line.file, line.outcome));
            }
            for batch in &part.batches {
                lines.push(format!("{}: the damaged copies are in batch {batch}", part.repository));
            }
            lines.extend(part.lost.iter().map(|lost| format!("{}: {lost}", part.repository)));
            lines.extend(part.left.iter().map(|left| format!("{}: {left}", part.repository)));
        }
        let all = || self.repositories.iter().flat_map(|part| &part.files);
        let count = |outcome: &str| all().filter(|line| line.outcome == outcome).count();
        lines.push(match (all().count(), self.dry_run) {
            (0, _) if self.repositories.iter().any(|part| !part.lost.is_empty()) => {
                "Nothing was restored.".to_owned()
            }
            (0, _) => {
                let verify = hint::pawl("maintain verify --all");
                format!("Nothing is known to be damaged. `{verify}` reads everything.")
            }
            (all, true) => format!("{} of {all} files would be restored.", count("would be restored")),
            (all, false) => format!("Restored {} of {all} files.", count("restored")),
        });
        lines.join("\n")
    }
}
