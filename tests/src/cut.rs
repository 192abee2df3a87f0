//! Cutting a program at one of the steps by which it writes to the disk.
//!
//! Invariant: only the program itself is killed, not what it starts.

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::process::Command;

use crate::shared::made_once;

/// The variables with which the process that has this word on its command line is killed before its step of this number: it
/// syncs, renames, links or removes a file.
#[must_use]
pub fn before_step(number: u32, word: &str) -> Vec<(String, String)> {
    let library = made_once("cut.so", |path| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cut/cut.c");
        let compiled = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(path).arg(source).status();
        assert!(compiled.is_ok_and(|status| status.success()), "gcc is missing: run scripts/setup");
    });
    let library = library.to_str().expect("a path in UTF-8");
    [("LD_PRELOAD", library), ("CUT_BEFORE", &number.to_string()), ("CUT_WORD", word)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}
