//! New files on their way to the store.
//!
//! Invariant: a file is counted here from before anything is looked up for it until it is stored, so that uploads in
//! parallel keep to the limits together.

use std::sync::Arc;

use pawl_policy::{Action, Caps, FileType, Grant, PrincipalName, Quota, RepositoryName, Role, Usage};
use pawl_store::body::Upload;

use super::gate::{Entered, Gate};
use super::promises::{Promise, Promises};
use super::reservations::{Reservations, Reserved};

/// Locks of one principal, or keys of all, in one repository.
type Group = (RepositoryName, FileType, Option<PrincipalName>);

/// All that are on their way.
#[derive(Debug, Default)]
pub(super) struct PendingUploads {
    /// New locks and keys.
    groups: Gate<Group>,
    in_repositories: Reservations<RepositoryName>,
    in_all: Reservations<PrincipalName>,
    on_disk: Promises,
}

/// A file that is counted until it is stored.
pub(super) struct PendingUpload {
    group: Option<Entered<Group>>,
    in_repository: Option<Reserved<RepositoryName>>,
    in_all: Option<Reserved<PrincipalName>>,
    on_disk: Option<Arc<Promise>>,
}

impl PendingUploads {
    /// Counts the file, if the action is to store one.
    pub(super) fn begin(
        &self,
        caps: &Caps,
        principal: &PrincipalName,
        grant: &Grant,
        action: &Action,
        declared_bytes: Option<u64>,
    ) -> PendingUpload {
        let bytes = counted_bytes(caps, grant, action, declared_bytes);
        let within = |quota: Quota| bytes.filter(|_| !quota.is_unlimited());
        PendingUpload {
            group: group(principal, action).map(|group| self.groups.enter(group)),
            in_repository: within(grant.quota)
                .map(|bytes| self.in_repositories.reserve(&grant.repository, bytes)),
            in_all: within(grant.total_quota).map(|bytes| self.in_all.reserve(principal, bytes)),
            on_disk: bytes.map(|bytes| Arc::new(self.on_disk.make(principal, bytes))),
        }
    }
}

/// What a new file counts against a quota. One that does not say how long it is may become as long as its type
/// allows; one that says it is longer is refused for that.
fn counted_bytes(caps: &Caps, grant: &Grant, action: &Action, declared_bytes: Option<u64>) -> Option<u64> {
    let Action::Create(create) = action else { return None };
    let most = *caps.sizes(&create.handle).end();
    // Who may not store anything gets no room promised that others then lack.
    let counts = create.handle.file_type() != Some(FileType::Locks) && grant.role != Role::Restore;
    counts.then(|| declared_bytes.unwrap_or(most).min(most))
}

fn group(principal: &PrincipalName, action: &Action) -> Option<Group> {
    let Action::Create(create) = action else {
        return None;
    };
    match create.handle.file_type()? {
        FileType::Locks => Some((create.repository.clone(), FileType::Locks, Some(principal.clone()))),
        FileType::Keys => Some((create.repository.clone(), FileType::Keys, None)),
        FileType::Data | FileType::Index | FileType::Snapshots => None,
    }
}

impl PendingUpload {
    /// How many of its group are on their way with it.
    pub(super) fn before(&self) -> u32 {
        self.group.as_ref().map_or(0, Entered::before)
    }

    /// What is on its way into the repository, this included.
    pub(super) fn usage(&self) -> Usage {
        self.in_repository.as_ref().map_or_else(Usage::default, Reserved::total)
    }

    /// What is on its way from the principal, this included.
    pub(super) fn total_usage(&self) -> Usage {
        self.in_all.as_ref().map_or_else(Usage::default, Reserved::total)
    }

    /// The room on the disk that it is promised; none if it needs no promise.
    pub(super) fn promise(&self) -> Option<&Promise> {
        self.on_disk.as_deref()
    }

    /// Promises no more what arrives of this upload.
    pub(super) fn follow(&self, upload: &mut Upload) {
        let Some(promise) = self.on_disk.as_ref().map(Arc::downgrade) else { return };
        upload.on_arrival(Box::new(move |bytes| {
            if let Some(promise) = promise.upgrade() {
                promise.arrived(bytes);
            }
        }));
    }
}
