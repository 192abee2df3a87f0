//! By which word a refusal is counted.
//!
//! Invariant: every word is one of Pawl's own, and all of them are known from the beginning.

use pawl_policy::{Action, Denial, FileType, Handle};
use pawl_store::body::BodyError;
use pawl_store::deletions::DeletionError;
use pawl_store::{CreateError, StoreError};

use crate::http::respond::Refusal;

pub(super) const fn would_destroy(action: &Action) -> bool {
    match action {
        Action::DeleteRepository(_) => true,
        Action::Delete(delete) => !matches!(delete.handle, Handle::File(FileType::Locks, _)),
        _ => false,
    }
}

/// What [`reason`] can say beside the policy's own reasons.
pub(super) const OTHER_REASONS: [&str; 5] =
    ["config_differs", "not_a_key", "size_not_allowed", "too_many_requests", "no_space"];

pub(super) fn reason(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Denied(denial) => Some(denied(*denial)),
        Refusal::Deletion(DeletionError::NotHere) => Some(denied(Denial::Role)),
        Refusal::Create(CreateError::Differs) => Some("config_differs"),
        Refusal::Create(CreateError::Body(BodyError::NotAKey(_))) => Some("not_a_key"),
        Refusal::Create(CreateError::Body(BodyError::TooLong(_) | BodyError::TooShort(_))) => {
            Some("size_not_allowed")
        }
        Refusal::TooManyRequests => Some("too_many_requests"),
        Refusal::Store(StoreError::Full) | Refusal::Create(CreateError::Store(StoreError::Full)) => {
            Some("no_space")
        }
        _ => None, // answers such as "not found", and failures, of which the status tells
    }
}

pub(super) const fn denied(denial: Denial) -> &'static str {
    match denial {
        Denial::NotGranted => "not_granted",
        Denial::Network => "network",
        Denial::Expired => "expired",
        Denial::Quota => "quota",
        Denial::TotalQuota => "total_quota",
        Denial::Room => "room",
        Denial::RoomPromised => "room_promised",
        Denial::CleanUp => "clean_up",
        Denial::Role => "role",
        Denial::Hidden => "hidden",
        Denial::NoRepository => "no_repository",
        Denial::AlreadyInitialised => "already_initialised",
        Denial::KeysNotGranted => "keys_not_granted",
        Denial::TooManyKeys => "too_many_keys",
        Denial::TooManyLocks => "too_many_locks",
        Denial::LocksSuspended { .. } => "locks_suspended",
        Denial::LockOfAnother { .. } => "lock_of_another",
        Denial::Tombstone => "tombstone",
        Denial::SnapshotKept => "snapshot_kept",
        Denial::SnapshotTooYoung => "snapshot_too_young",
    }
}
