//! Commands that an error, a notice or a report tells somebody to run.
//!
//! Invariant: what is shown works where it is pasted. It names the data directory or the configuration on which this
//! process works, by its absolute path.

use std::path::Path;
use std::sync::OnceLock;

/// The options that name the place; none in a process that works on no place.
static OPTIONS: OnceLock<String> = OnceLock::new();

/// Notes on which data directory or configuration this process works. A process works on one.
pub(crate) fn note(data: Option<&Path>, config: Option<&Path>) {
    let words = [("--data", data), ("--config", config)].into_iter().filter_map(|(option, path)| {
        let path = path?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Some(format!(" {option} {}", quoted(&path.to_string_lossy())))
    });
    let _ = OPTIONS.set(words.collect()); // it is noted
}

/// `pawl` with these words, on this place.
pub fn pawl(words: impl AsRef<str>) -> String {
    format!("pawl {}{}", words.as_ref(), OPTIONS.get().map_or("", String::as_str))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:,@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(quoted("/srv/pawl-data"), "/srv/pawl-data");
        assert_eq!(quoted("/srv/my backups"), "'/srv/my backups'");
        assert_eq!(quoted("/srv/it's"), r"'/srv/it'\''s'");
    }
}
