//! What `pawl maintain verify` says.
//!
//! Invariant: text and JSON say the same; what is damaged comes first.

use bytesize::ByteSize;
use serde::Serialize;
use serde_json::{Value, json};

use super::finding::{Finding, Severity};
use super::run::Outcome;
use super::state;

use pawl_config::hint;

/// Notes of one kind that are told one by one.
const NOTES_TOLD: usize = 3;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Report {
    outcomes: Vec<Outcome>,
    continued: bool,
}

impl Report {
    pub(super) const fn new(outcomes: Vec<Outcome>, continued: bool) -> Self {
        Self { outcomes, continued }
    }

    pub(super) fn repositories(&self) -> &[Outcome] {
        &self.outcomes
    }

    pub(super) fn repositories_mut(&mut self) -> &mut [Outcome] {
        &mut self.outcomes
    }

    fn count(&self, severity: Severity) -> usize {
        let findings = self.outcomes.iter().flat_map(|outcome| &outcome.findings);
        findings.filter(|finding| finding.kind.severity() == severity).count()
    }

    /// How many repositories could not be looked at.
    fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.failed.is_some()).count()
    }

    /// 0 if all is well, 2 if not everything could be looked at.
    pub(super) fn exit_code(&self) -> u8 {
        if self.failed() > 0 {
            return 2;
        }
        u8::from(self.count(Severity::Damage) + self.count(Severity::Suspicion) > 0)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.continued {
            lines.push("Went on with a run that was cut.".to_owned());
        }
        lines.extend(self.outcomes.iter().map(summary));
        for outcome in &self.outcomes {
            for severity in [Severity::Damage, Severity::Suspicion, Severity::Note] {
                lines.extend(told(outcome, severity));
            }
        }
        lines.push(self.verdict());
        match self.failed() {
            0 => {}
            1 => lines.push("1 repository could not be looked at.".to_owned()),
            failed => lines.push(format!("{failed} repositories could not be looked at.")),
        }
        lines.join("\n")
    }

    fn verdict(&self) -> String {
        match (self.count(Severity::Damage), self.count(Severity::Suspicion)) {
            (0, 0) => "Nothing is damaged.".to_owned(),
            (0, 1) => "Nothing is damaged. 1 finding needs attention.".to_owned(),
            (0, several) => format!("Nothing is damaged. {several} findings need attention."),
            (damaged, _) => {
                let files =
                    if damaged == 1 { "1 file is".to_owned() } else { format!("{damaged} files are") };
                let restore = hint::pawl("maintain restore --dry-run");
                format!("{files} damaged. `{restore}` says what can be repaired.")
            }
        }
    }
}

fn summary(outcome: &Outcome) -> String {
    if let Some(why) = &outcome.failed {
        return format!("{}: cannot be looked at: {why}", outcome.repository);
    }
    let oldest = match outcome.oldest_read_ms {
        Some(ms) => format!("all was read since {}", state::text(ms)),
        None => "some of it was never read yet".to_owned(),
    };
    format!(
        "{}: {} files, {}; looked at all, checked {} ({} read); {oldest}; keys: {} for all, {} for maintenance",
        outcome.repository,
        outcome.files,
        size(outcome.bytes),
        outcome.files_checked,
        size(outcome.bytes_read),
        outcome.keys.0,
        outcome.keys.1
    )
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// The findings of one severity, a line each; of notes the first of each kind.
fn told(outcome: &Outcome, severity: Severity) -> Vec<String> {
    let findings: Vec<_> =
        outcome.findings.iter().filter(|finding| finding.kind.severity() == severity).collect();
    if severity != Severity::Note {
        return findings.iter().map(|finding| line(outcome, finding)).collect();
    }
    let mut lines = Vec::new();
    for same in findings.chunk_by(|a, b| a.kind == b.kind) {
        lines.extend(same.iter().take(NOTES_TOLD).map(|finding| line(outcome, finding)));
        if let (Some(first), true) = (same.first(), same.len() > NOTES_TOLD) {
            lines.push(format!("{}: {} more: {}", outcome.repository, first.kind, same.len() - NOTES_TOLD));
        }
    }
    lines
}

fn line(outcome: &Outcome, finding: &Finding) -> String {
    let file = finding.file.as_ref().map(|file| format!("/{file}")).unwrap_or_default();
    let snapshots = match &finding.snapshots[..] {
        [] => String::new(),
        some => format!(" (snapshots affected: {})", some.join(", ")),
    };
    format!("{}{file}: {}: {}{snapshots}", outcome.repository, finding.kind, finding.detail)
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let repositories: Vec<_> = self.outcomes.iter().map(repository).collect();
        let findings: Vec<_> =
            self.outcomes.iter().flat_map(|of| of.findings.iter().map(|one| finding(of, one))).collect();
        let whole = json!({
            "clean": self.exit_code() == 0,
            "continued": self.continued,
            "damaged": self.count(Severity::Damage),
            "suspicious": self.count(Severity::Suspicion),
            "repositories": repositories,
            "findings": findings,
        });
        whole.serialize(serializer)
    }
}

fn repository(outcome: &Outcome) -> Value {
    json!({
        "repository": outcome.repository.as_str(),
        "files": outcome.files,
        "bytes": outcome.bytes,
        "files_checked": outcome.files_checked,
        "bytes_read": outcome.bytes_read,
        "keys_for_all": outcome.keys.0,
        "keys_for_maintenance": outcome.keys.1,
        "all_read_since": outcome.oldest_read_ms.map(state::text),
        "failed": outcome.failed,
    })
}

fn finding(outcome: &Outcome, finding: &Finding) -> Value {
    json!({
        "repository": outcome.repository.as_str(),
        "file": finding.file,
        "kind": finding.kind,
        "severity": finding.kind.severity(),
        "detail": finding.detail,
        "snapshots": finding.snapshots,
    })
}
