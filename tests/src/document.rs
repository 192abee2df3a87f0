//! The documents, as they stand in the repository.
//!
//! Invariant: nothing is run here.

#![expect(clippy::panic, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};

/// The folder of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a page, such as `docs/hosts.md`.
///
/// # Panics
///
/// When there is no such page.
#[must_use]
pub fn page(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks between ```` ```KIND ```` and ```` ``` ```` of a page, in their order.
#[must_use]
pub fn blocks(path: &str, kind: &str) -> Vec<String> {
    let opening = format!("\n```{kind}\n");
    let page = page(path);
    let block = |rest: &str| rest.split_once("\n```").map_or(rest, |(block, _)| block).to_owned();
    page.split(opening.as_str()).skip(1).map(block).collect()
}

/// `README.md`, and all pages below `docs`, in order of their paths.
///
/// # Panics
///
/// When a folder cannot be read.
#[must_use]
pub fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/architecture"] {
        let entries =
            std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        pages.extend(
            names
                .filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "md"))
                .map(|name| format!("{folder}/{name}")),
        );
    }
    pages.sort();
    pages
}
