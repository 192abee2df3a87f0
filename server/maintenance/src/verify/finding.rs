//! What verification can find, and how grave it is.
//!
//! Invariant: what can be repaired is damage, and only damage is handed to `pawl maintain restore`.

use std::fmt;

use pawl_policy::Handle;
use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The content does not hash to the name, or to what was recorded.
    Damaged,
    /// The store cannot give the bytes back.
    Unreadable,
    /// It was there, and nothing explains that it is not.
    Missing,
    /// The store keeps a version or a mark that no batch explains.
    Unexplained,
    /// Maintenance deleted it, and it is visible again.
    Revived,
    /// A process has it open for writing.
    BeingWritten,
    /// No file of restic's.
    Foreign,
    /// There are keys, and hosts see none of them.
    NoKeyForHosts,
    /// Bytes that were not read for longer than the configuration promises.
    Overdue,
    /// It says that it was received at a time that is still to come.
    Ahead,
    /// Its content is right, and its size is not one that such a file has.
    OddSize,
    /// Not as Pawl leaves its files.
    Unusual,
    /// Its damaged copy was set aside, and the index was repaired: restic does not miss it any more.
    SetAside,
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Something stored is not what it was. `pawl maintain restore` repairs it where a good copy is.
    Damage,
    /// Another hand than Pawl's may have been at work, or verification falls behind: somebody should look.
    Suspicion,
    /// Worth knowing; it does not count as a finding.
    Note,
}

impl Kind {
    /// Whether a file that was deleted may still be needed because of it. What restic never reads, and what was not read
    /// lately, says nothing about that.
    pub(crate) const fn speaks_against_purge(self) -> bool {
        match self {
            Self::Damaged | Self::Unreadable | Self::Missing | Self::Unexplained => true,
            Self::Revived | Self::BeingWritten | Self::NoKeyForHosts => true,
            Self::Foreign | Self::Overdue | Self::Ahead => false,
            Self::OddSize | Self::Unusual | Self::SetAside => false,
        }
    }

    /// How grave it is.
    pub(crate) const fn severity(self) -> Severity {
        match self {
            Self::Damaged | Self::Unreadable | Self::Missing | Self::Unexplained => Severity::Damage,
            Self::Revived | Self::BeingWritten | Self::Foreign | Self::NoKeyForHosts => Severity::Suspicion,
            Self::Overdue | Self::Ahead => Severity::Suspicion,
            Self::OddSize | Self::Unusual | Self::SetAside => Severity::Note,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
            Self::Missing => "missing",
            Self::Unexplained => "unexplained",
            Self::Revived => "visible again",
            Self::BeingWritten => "being written",
            Self::Foreign => "foreign",
            Self::NoKeyForHosts => "no key for hosts",
            Self::Overdue => "overdue",
            Self::Ahead => "ahead of time",
            Self::OddSize => "odd size",
            Self::Unusual => "unusual",
            Self::SetAside => "set aside",
        })
    }
}

/// One thing that verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The file as restic names it, or the path of what is none; nothing if it is about the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// What is wrong.
    pub(crate) kind: Kind,
    /// What was expected and what was found.
    pub(crate) detail: String,
    /// The snapshots that need it, where that could be found out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) snapshots: Vec<String>,
}

impl Finding {
    /// About a file of restic's.
    pub(super) fn of(handle: &Handle, kind: Kind, detail: impl Into<String>) -> Self {
        Self { file: Some(handle.to_string()), kind, detail: detail.into(), snapshots: Vec::new() }
    }

    /// About something else that lies in the repository.
    pub(super) fn of_path(path: String, kind: Kind, detail: impl Into<String>) -> Self {
        Self { file: Some(path), kind, detail: detail.into(), snapshots: Vec::new() }
    }

    /// About the repository.
    pub(super) fn of_repository(kind: Kind, detail: impl Into<String>) -> Self {
        Self { file: None, kind, detail: detail.into(), snapshots: Vec::new() }
    }

    /// The file, if it is one of restic's.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.file.as_deref()?.parse().ok()
    }
}
