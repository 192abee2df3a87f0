//! Text that somebody else could have written: a host, a thief of one, whoever has the store.
//!
//! Invariant: it is shown without anything that could steer a terminal or turn letters around; JSON has it as it is,
//! escaped as JSON does.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use crate::batch_list::moment;

/// Longest text that is shown, in characters: a line is a line.
const SHOWN_MAX: usize = 600;

/// Such text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(super) struct Words(String);

impl Words {
    /// As it is, to become part of another such text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Words {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in self.0.chars().enumerate() {
            if at >= SHOWN_MAX {
                return f.write_char('…');
            }
            // What escape_debug escapes cannot be seen, save for quotation marks and the backslash.
            if matches!(letter, '"' | '\'') {
                f.write_char(letter)?;
            } else {
                write!(f, "{}", letter.escape_debug())?;
            }
        }
        Ok(())
    }
}

/// A moment in Unix milliseconds, as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&moment(self.0))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How long ago something was, in one unit.
pub(super) fn ago(then: Moment, now: Moment) -> String {
    const UNITS: [(&str, u64); 3] = [("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000)];
    let ms = now.0.saturating_sub(then.0);
    let unit = UNITS.into_iter().find(|(_, unit_ms)| ms >= *unit_ms);
    unit.map_or_else(
        || "just now".to_owned(),
        |(unit, unit_ms)| format!("{} ago", number(ms / unit_ms, unit)),
    )
}

/// A number with its noun.
pub(crate) fn number(number: u64, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !noun.ends_with("ay") => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// A size.
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// How many items need attention.
pub(crate) fn need_attention(items: u64) -> String {
    let verb = if items == 1 { "needs" } else { "need" };
    format!("{} {verb} attention", number(items, "item"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_or_turns_letters_around_is_shown() {
        let words = Words::from("a\"b' é\u{1b}[31m\u{202e}\u{9b}\n\\");
        assert_eq!(words.to_string(), "a\"b' é\\u{1b}[31m\\u{202e}\\u{9b}\\n\\\\");
        assert_eq!(Words::from("x".repeat(700)).to_string().chars().count(), 601);
        assert_eq!(serde_json::to_string(&words).unwrap(), "\"a\\\"b' é\\u001b[31m\u{202e}\u{9b}\\n\\\\\"");
    }

    #[test]
    fn numbers_have_their_nouns() {
        assert_eq!(
            [number(1, "day"), number(2, "day"), number(3, "repository")],
            ["1 day", "2 days", "3 repositories"]
        );
        assert_eq!(
            [need_attention(1), need_attention(2)],
            ["1 item needs attention", "2 items need attention"]
        );
        let hour = 3_600_000;
        assert_eq!(ago(Moment(0), Moment(49 * hour)), "2 days ago");
        assert_eq!(ago(Moment(0), Moment(1)), "just now");
    }
}
