//! What was found out about where repositories lie.
//!
//! Invariant: what was not tried is not known, and is told apart from what was found wrong.

/// What was found out about the store.
#[derive(Debug)]
pub(super) enum Store {
    Directory,
    Bucket {
        keeps_versions: bool,
        /// Whether the frontend's credential can do more than it should, if it was tried.
        powerful: Option<bool>,
        noncurrent_days: Option<u32>,
        /// Whether the bucket's lifecycle rules could be read.
        knows_rules: bool,
    },
}

impl Store {
    /// Whether what was deleted or overwritten can be brought back at all.
    pub(super) const fn keeps_what_is_deleted(&self) -> bool {
        matches!(self, Self::Directory | Self::Bucket { keeps_versions: true, .. })
    }

    /// What helps against whoever has the frontend's credential of a bucket.
    pub(super) fn against_its_credential(&self) -> String {
        let policy = "give the frontend the policy of `pawl policy s3`";
        (if self.keeps_what_is_deleted() { policy } else { WITHOUT_VERSIONS }).to_owned()
    }
}

/// What helps where a bucket keeps no versions.
pub(super) const WITHOUT_VERSIONS: &str = "switch versioning on; if the store has none, use one that has (AWS, Ceph RGW, \
                                           Backblaze B2) or a directory";
