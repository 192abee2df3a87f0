//! What was added, as the log tells it.
//!
//! Invariant: a file counts once, whether the keeper tells of it, the frontend, or both. Into a bucket it is the frontend that
//! stores, so that the keeper tells nothing.

use std::collections::{BTreeMap, HashSet};

use pawl_keeper::audit::{Decision, Deed, Event, Line};

/// How many files of which size.
#[derive(Debug, Default)]
struct Sum {
    files: u64,
    bytes: u64,
}

/// What was added.
#[derive(Debug, Default)]
pub(super) struct Added {
    /// By repository and type.
    sums: BTreeMap<(String, String), Sum>,
    /// In words, one by one.
    snapshots: Vec<String>,
    /// Files of which the keeper has told, and the frontend not yet.
    told: HashSet<(String, String)>,
}

impl Added {
    /// Counts what this line tells.
    pub(super) fn note(&mut self, line: &Line) {
        match &line.event {
            Event::Stored(Deed { repository, file: Some(file), bytes, .. }) => {
                self.told.insert((repository.clone(), file.clone()));
                self.add(&line.time, repository, file, bytes.unwrap_or(0));
            }
            Event::Decision(Decision {
                repository: Some(repository),
                file: Some(file),
                outcome,
                bytes_in,
                ..
            }) if outcome == "stored" && !self.told.remove(&(repository.clone(), file.clone())) => {
                self.add(&line.time, repository, file, *bytes_in);
            }
            _ => {}
        }
    }

    fn add(&mut self, time: &str, repository: &str, file: &str, bytes: u64) {
        let kind = file.split('/').next().unwrap_or_default();
        let sum = self.sums.entry((repository.to_owned(), kind.to_owned())).or_default();
        sum.files += 1;
        sum.bytes = sum.bytes.saturating_add(bytes);
        if let Some(id) = file.strip_prefix("snapshots/") {
            self.snapshots.push(format!("{time}  {} in {repository}", id.get(..8).unwrap_or(id)));
        }
    }

    /// The whole in words.
    pub(super) fn summary(&self, refused: u64) -> String {
        let mut lines = vec![String::new()];
        for ((repository, kind), Sum { files, bytes }) in &self.sums {
            let size = bytesize::ByteSize(*bytes);
            lines.push(format!("added to {repository}: {files} of {kind}, {size}"));
        }
        lines.push(format!("refused: {refused}"));
        lines.push(format!("snapshots among what was added: {}", self.snapshots.len()));
        lines.extend(self.snapshots.iter().map(|snapshot| format!("  {snapshot}")));
        lines.join("\n")
    }
}
