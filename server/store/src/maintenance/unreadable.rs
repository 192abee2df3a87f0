//! Batches whose headers cannot be read: each is named, and keeps nobody from the others.
//!
//! Invariant: what such a batch holds stays where it is.

use pawl_policy::BatchId;

/// A batch whose header cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableBatch {
    /// Its name.
    pub id: BatchId,
    /// Where its header is, what is wrong with it, and what can be done.
    pub why: String,
}

impl UnreadableBatch {
    /// The batch of this name, whose header lies here.
    pub(crate) fn new(id: BatchId, header: &str, cause: &dyn std::fmt::Display) -> Self {
        let why = format!(
            "batch {id} cannot be used: its header {header} cannot be read: {cause}; all that it holds stays there. Update \
             Pawl if a newer version wrote it, or else restore the header"
        );
        Self { id, why }
    }
}
