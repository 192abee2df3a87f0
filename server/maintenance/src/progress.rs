//! How far long work has come, for whoever looks on.
//!
//! Invariant: shown on a terminal only, on standard error; a pipe or a journal gets none of it.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TICK: Duration = Duration::from_millis(200);

/// A bar for bytes, whose number is told to it later.
pub(super) fn of_bytes(verb: &'static str) -> ProgressBar {
    let template =
        "{msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    shown(0, template).with_message(verb)
}

/// A bar for this many files.
pub(super) fn bar(files: u64, verb: &'static str) -> ProgressBar {
    shown(files, "{msg} {wide_bar} {pos} of {len} files, {eta} left").with_message(verb)
}

/// Something that goes on, of which nobody knows how far it has come.
pub(super) fn spinner(what: String) -> ProgressBar {
    let spinner = shown(0, "{spinner} {msg} {elapsed}").with_message(what);
    spinner.enable_steady_tick(TICK);
    spinner
}

fn shown(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
