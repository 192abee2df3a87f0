//! A snapshot as restic lists it, and as it is remembered.
//!
//! Invariant: an id that is none is an error when it is read, not later.

use pawl_policy::FileId;
use serde::{Deserialize, Serialize};

/// A snapshot as `restic snapshots --json` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) id: FileIdText,
    pub(super) time: String,
    #[serde(default)]
    pub(super) tree: Option<String>,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) paths: Option<Vec<String>>,
    #[serde(default)]
    pub(super) tags: Option<Vec<String>>,
}

/// An id as text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct FileIdText(pub(super) FileId);

impl Listed {
    /// The name of its file.
    pub(super) const fn id(&self) -> FileId {
        self.id.0
    }
}

impl From<FileIdText> for String {
    fn from(id: FileIdText) -> Self {
        id.0.to_string()
    }
}

impl TryFrom<String> for FileIdText {
    type Error = pawl_policy::InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}
