//! Where a `config` is, and what it has to hash to, as it has no name to match.
//!
//! Invariant: what verification noted when it first saw it good goes before what the store says of it, which somebody with
//! a key of the store may have written; until maintenance deletes that `config`.

use pawl_policy::{FileId, Handle, RepositoryName};

use pawl_store::StoreError;
use pawl_store::maintenance::{Batch, MaintenanceStore, Place, Reason, Version};

/// Where the `config` of a repository is, without which restic does nothing there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ConfigPresence {
    /// Where everybody sees it; or that was not looked up.
    #[default]
    Visible,
    /// Out of sight.
    OutOfSight,
    /// Nowhere: the repository was never initialised.
    Nowhere,
}

impl ConfigPresence {
    /// Looks it up.
    pub(super) async fn of<S: MaintenanceStore>(
        store: &S,
        repository: &RepositoryName,
    ) -> Result<Self, StoreError> {
        let versions = Box::pin(store.versions(repository, &Handle::Config)).await?;
        Ok(match &versions[..] {
            [] => Self::Nowhere,
            versions if versions.iter().any(|version| version.place == Place::Current) => Self::Visible,
            _ => Self::OutOfSight,
        })
    }
}

/// What was noted; else what was recorded of the visible copy, else of the one that was displaced last. `versions` come
/// in the order in which they are tried.
pub(super) fn expected(versions: &[Version], batches: &[Batch], noted: Option<FileId>) -> Option<FileId> {
    let is_in_batch = |version: &Version, reason| {
        matches!(&version.place, Place::Hidden(id)
            if batches.iter().any(|batch| batch.id == *id && batch.reason == reason))
    };
    // Another may have been made since.
    let was_deleted = versions.iter().any(|version| {
        is_in_batch(version, Reason::Deleted) && (version.recorded.is_none() || version.recorded == noted)
    });
    let visible = versions.iter().find(|version| version.place == Place::Current);
    let displaced = versions.iter().find(|version| is_in_batch(version, Reason::Damaged));
    let recorded = |version: Option<&Version>| version.and_then(|version| version.recorded);
    let noted_first = noted.filter(|_| !was_deleted);
    noted_first.or_else(|| recorded(visible)).or_else(|| recorded(displaced)).or(noted)
}

#[cfg(test)]
mod tests {
    use pawl_policy::{BatchId, Handle};
    use pawl_store::Facts;

    use super::*;

    fn id(byte: u8) -> FileId {
        FileId::from_sha256([byte; 32])
    }

    fn batch(reason: Reason) -> Batch {
        Batch {
            id: "20261121T014500Z-1a2b3c4d".parse().unwrap(),
            repository: "web1".parse().unwrap(),
            principal: "admin".parse().unwrap(),
            reason,
            began_ms: 0,
        }
    }

    fn version(place: Place, recorded: Option<FileId>) -> Version {
        let facts = Facts { creator: None, received_ms: 0, audience: pawl_policy::Audience::All };
        Version { place, bytes: Handle::Config.to_string().len() as u64, facts, recorded }
    }

    fn hidden(recorded: Option<FileId>) -> Version {
        let batch: BatchId = batch(Reason::Deleted).id;
        version(Place::Hidden(batch), recorded)
    }

    #[test]
    fn what_was_noted_goes_before_what_the_store_says_until_that_config_was_deleted() {
        let (good, forged, new) = (Some(id(1)), Some(id(2)), Some(id(3)));
        let current = |recorded| version(Place::Current, recorded);
        let (deleted, damaged) = ([batch(Reason::Deleted)], [batch(Reason::Damaged)]);
        assert_eq!(expected(&[current(forged)], &[], good), good);
        assert_eq!(expected(&[current(good)], &[], None), good);
        assert_eq!(expected(&[current(new), hidden(good)], &deleted, good), new);
        assert_eq!(expected(&[current(new), hidden(None)], &deleted, good), new);
        assert_eq!(expected(&[current(None), hidden(None)], &deleted, good), good);
        assert_eq!(expected(&[current(forged), hidden(good)], &damaged, good), good);
        assert_eq!(expected(&[hidden(good)], &damaged, None), good);
        assert_eq!(expected(&[], &[], None), None);
    }
}
