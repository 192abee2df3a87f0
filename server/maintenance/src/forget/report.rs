//! What a run says.
//!
//! Invariant: what a host could have written (its name, paths, tags) reaches no terminal unescaped.

use std::fmt::Write as _;

use pawl_config::hint;
use pawl_policy::RepositoryName;
use pawl_policy::retention::{Cause, Group, Held, Judged, Verdict};
use serde::Serialize;

use crate::locks;

/// Digits of an id that are shown.
const ID_SHOWN: usize = 8;

/// What came of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) repository: String,
    pub(super) dry_run: bool,
    pub(crate) kept: usize,
    /// Or would be, in a dry run.
    pub(crate) removed: usize,
    pub(crate) held: usize,
    /// Of these, those that somebody should look at.
    pub(crate) suspicious: usize,
    /// Deletions that Pawl refused to restic.
    pub(crate) refused: u64,
    /// Why nothing of a group is removed, if too much would have been.
    #[serde(skip)]
    pub(crate) too_many: Option<String>,
    /// What to undo.
    pub(crate) batch: Option<String>,
    /// What there was to do about locks.
    pub(crate) locks: locks::Report,
    pub(crate) snapshots: Vec<Line>,
}

/// A snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) host: Option<String>,
    paths: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    claimed: Option<String>,
    pub(crate) received: String,
    effective: String,
    verdict: &'static str,
    pub(crate) reason: String,
    /// Whether it is held, and somebody should look at it.
    pub(crate) suspicious: bool,
    /// What it is held for, if it is.
    #[serde(skip)]
    pub(crate) cause: Cause,
}

impl Report {
    pub(super) fn new(repository: &RepositoryName, dry_run: bool, judged: &[Judged<'_>]) -> Self {
        let count =
            |is_meant: fn(&Verdict) -> bool| judged.iter().filter(|judged| is_meant(&judged.verdict)).count();
        Self {
            repository: repository.to_string(),
            dry_run,
            kept: count(|verdict| matches!(verdict, Verdict::Keep(_))),
            removed: count(|verdict| matches!(verdict, Verdict::Remove)),
            held: count(|verdict| matches!(verdict, Verdict::Held(_))),
            suspicious: count(|verdict| matches!(verdict, Verdict::Held(held) if held.is_suspicious())),
            refused: 0,
            too_many: judged.iter().find_map(too_many),
            batch: None,
            locks: locks::Report::default(),
            snapshots: judged.iter().map(Line::new).collect(),
        }
    }

    /// 1 if somebody should look at something.
    pub(super) fn exit_code(&self) -> u8 {
        u8::from(self.suspicious > 0 || self.refused > 0 || self.locks.is_suspicious())
    }

    /// The table: of a dry run all snapshots, else those that were not simply kept.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut group = None;
        for line in self.snapshots.iter().filter(|line| self.dry_run || line.verdict != "keep") {
            if group.replace(line.group()) != Some(line.group()) {
                let _ = writeln!(text, "{}", line.group()); // writing to a String cannot fail
                let _ = writeln!(text, "{HEAD}");
            }
            let _ = writeln!(text, "{}", line.text());
        }
        text.push_str(&self.locks.text());
        if self.refused > 0 {
            let _ = writeln!(
                text,
                "{} deletions were refused; the audit log of maintenance says why.",
                self.refused
            );
        }
        let _ = match (self.dry_run, &self.batch) {
            (true, _) => write!(text, "Would remove {} of", self.removed),
            (false, None) => write!(text, "Removed nothing of"),
            (false, Some(_)) => write!(text, "Removed {} of", self.removed),
        };
        let _ = write!(text, " {}; kept {}, held {}.", self.repository, self.kept, self.held);
        if let Some(batch) = &self.batch {
            let _ = write!(text, " To undo: {}", hint::pawl(format!("maintain undelete {batch}")));
        }
        if self.suspicious > 0 {
            let _ = write!(
                text,
                "\n{} held should be looked at; `{}` says that one is good.",
                self.suspicious,
                hint::pawl(format!("maintain trust {} ID", self.repository))
            );
        }
        text
    }
}

const HEAD: &str = "  snapshot  claimed                    received                   effective                  verdict  reason";

fn too_many(judged: &Judged<'_>) -> Option<String> {
    match &judged.verdict {
        Verdict::Held(held @ Held::TooMany { .. }) => Some(held.to_string()),
        _ => None,
    }
}

impl Line {
    fn new(judged: &Judged<'_>) -> Self {
        let (verdict, reason) = match &judged.verdict {
            Verdict::Keep(rules) => ("keep", rules.join(", ")),
            Verdict::Remove => ("remove", "no rule keeps it".to_owned()),
            Verdict::Held(held) => ("held", held.to_string()),
        };
        let Group { host, paths, tags } = judged.group.clone();
        let held = if let Verdict::Held(held) = &judged.verdict { Some(held) } else { None };
        Self {
            id: judged.snapshot.id.to_string(),
            host,
            paths,
            tags,
            claimed: judged.snapshot.claimed.map(|claimed| claimed.to_string()),
            received: judged.snapshot.received().to_string(),
            effective: judged.effective.to_string(),
            verdict,
            reason,
            suspicious: held.is_some_and(Held::is_suspicious),
            cause: held.map(Held::cause).unwrap_or_default(),
        }
    }

    /// Whether it is held.
    pub(crate) fn is_held(&self) -> bool {
        self.verdict == "held"
    }

    /// What the group has in common.
    fn group(&self) -> String {
        let host = self.host.iter().cloned();
        let paths = self.paths.iter().flatten().cloned();
        let tags = self.tags.iter().flatten().map(|tag| format!("[{tag}]"));
        let words: Vec<_> = host.chain(paths).chain(tags).collect();
        let words = if words.is_empty() { "all".to_owned() } else { words.join(" ") };
        words.escape_debug().to_string()
    }

    fn text(&self) -> String {
        let Self { id, claimed, received, effective, verdict, reason, .. } = self;
        let id = id.get(..ID_SHOWN).unwrap_or(id);
        let claimed = claimed.as_deref().unwrap_or("none");
        format!("  {id}  {claimed:<25}  {received:<25}  {effective:<25}  {verdict:<7}  {reason}")
    }
}
