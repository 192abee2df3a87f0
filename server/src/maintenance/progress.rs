//! How far long work has come, for whoever looks on.
//!
//! Invariant: shown on a terminal only, on standard error; a pipe or a journal gets none of it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for this many files.
pub(super) fn bar(files: u64, verb: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(files), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len} files, {eta} left") {
        bar.set_style(style);
    }
    bar.with_message(verb)
}
