//! What a run says about locks.
//!
//! Invariant: a name in it is a principal's, as the store recorded it, and so has nothing in it that a terminal obeys.

use std::fmt::Write as _;

use serde::Serialize;

/// What was done about locks.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Report {
    /// Locks that nobody could hold any more, and that were removed.
    pub(super) stale_removed: u64,
    /// How long locks of others were waited for.
    pub(super) waited_seconds: u64,
    /// Whether the making of locks was suspended for the work.
    pub(super) suspended: bool,
    /// Who made that necessary, or came in between.
    pub(super) kept_by: Vec<KeptBy>,
}

/// Somebody who kept a repository locked.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct KeptBy {
    /// `None` if the store does not know.
    pub(super) principal: Option<String>,
    /// When the first of its locks was seen.
    pub(super) since: String,
    /// For how long locks of it were seen.
    pub(super) seconds: u64,
    /// Locks that came after those which were there at first.
    pub(super) renewals: u64,
    /// Locks that came in spite of the suspension.
    pub(super) in_spite: u64,
}

impl Report {
    /// Whether somebody should look at it.
    pub(crate) const fn is_suspicious(&self) -> bool {
        self.suspended
    }

    /// What there is to say, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// Lines for people; empty if there is nothing to say.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if self.stale_removed > 0 {
            let _ =
                writeln!(text, "Removed {} that nobody held any more.", count(self.stale_removed, "lock"));
        }
        if self.suspended {
            let _ = writeln!(
                text,
                "After {} new locks of hosts were suspended for this work.",
                count(self.waited_seconds, "second")
            );
        }
        for KeptBy { principal, since, seconds, renewals, in_spite } in &self.kept_by {
            let principal = principal.as_deref().unwrap_or("somebody unknown");
            let _ = write!(
                text,
                "{principal} kept it locked for {} from {since} on, with {}",
                count(*seconds, "second"),
                count(*renewals, "renewal")
            );
            if *in_spite > 0 {
                let _ = write!(
                    text,
                    ", and with {} in spite of the suspension: a frontend does not heed it, look at the server",
                    count(*in_spite, "lock")
                );
            }
            text.push_str(".\n");
        }
        text
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
