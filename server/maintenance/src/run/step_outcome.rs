//! What a step says when it has ended.
//!
//! Invariant: what restic or a host could have written reaches no terminal and no record with characters that steer it or
//! turn letters around, nor at any length.

use crate::record::StepStatus;

/// Characters of one sentence; the audit log, restic and `pawl maintain verify` say more.
const CHARS_MAX: usize = 1000;

/// What came of a step.
#[derive(Debug)]
pub(super) struct StepOutcome {
    pub(super) ended: StepStatus,
    pub(super) sentences: Vec<String>,
    /// What to undo.
    pub(super) batch: Option<String>,
}

impl StepOutcome {
    /// All is well.
    pub(super) fn well(text: impl Into<String>) -> Self {
        Self::new(StepStatus::Well, text)
    }

    /// Somebody should look.
    pub(super) fn notice(text: impl Into<String>) -> Self {
        Self::new(StepStatus::Notice, text)
    }

    /// It was not done.
    pub(super) fn skipped(text: impl Into<String>) -> Self {
        Self::new(StepStatus::Skipped, text)
    }

    /// A surprise.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::new(StepStatus::Failed, text)
    }

    fn new(ended: StepStatus, text: impl Into<String>) -> Self {
        Self { ended, sentences: vec![printable(&text.into())], batch: None }
    }

    /// With more to say.
    pub(super) fn and(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.sentences.extend(more.into_iter().map(|text| printable(&text)));
        self
    }

    /// With what to undo.
    pub(super) fn undone_by(mut self, batch: Option<String>) -> Self {
        self.batch = batch;
        self
    }
}

/// One line of it.
fn printable(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut printable = String::new();
    for (count, character) in lines.join("; ").chars().enumerate() {
        if count >= CHARS_MAX {
            printable.push('…');
            break;
        }
        // What escape_debug escapes cannot be seen, or turns other letters around; save for these, which it quotes.
        if matches!(character, '"' | '\'' | '\\') {
            printable.push(character);
        } else {
            printable.extend(character.escape_debug());
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_printable_line_of_some_length() {
        let said = StepOutcome::failed("Fatal: \u{1b}[31mno\n\n  'second'\tline \u{202e}gnp.exe\n").sentences;
        assert_eq!(said, ["Fatal: \\u{1b}[31mno; 'second'\\tline \\u{202e}gnp.exe"]);
        assert_eq!(StepOutcome::well("x".repeat(5000)).sentences[0].chars().count(), CHARS_MAX + 1);
    }
}
