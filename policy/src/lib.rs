//! Who may do what to which file of a restic repository.
//!
//! Invariant: this crate performs no I/O, reads no clock and allocates only names. Every answer is a pure
//! function of its arguments, so the whole table can be enumerated, printed and reviewed.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod action;
mod batch_id;
mod context;
mod decide;
mod grant;
mod limits;
mod name;
mod network;
mod purge_permit;
pub mod retention;
mod table;

pub use action::{Action, Create, CreateRepository, Delete, DeleteRepository, List, Read, RemoveLock, Stat};
pub use batch_id::{BatchId, InvalidBatchId};
pub use context::{Audience, Context, FileState, RepositoryState, Room};
pub use decide::{Denial, Permit, Permitted, check_reach, decide, lock_has_expired, locks_are_suspended};
pub use grant::{FILE_BYTES_MIN, Grant, Quota, Role, Usage};
pub use limits::{
    CLEAN_UP_WITHIN_MS, Caps, KEYS_MAX, LIVE_LOCKS_MAX, LOCK_EXPIRES_AFTER_MS, LOCK_STALE_AFTER_MS,
    LOCKS_SUSPENDED_MAX_MS, RESERVE_BYTES_MAX, RESERVE_FILES_MAX, RESERVE_PARTS, SNAPSHOT_FLOOR_MS,
};
pub use name::{FileId, FileType, Handle, InvalidName, PrincipalName, RepositoryName};
pub use network::{InvalidNetwork, Network};
pub use purge_permit::{
    Age, Clock, DAY_MS, NotPurgeable, PURGE_DELAY_DAYS, PurgePermit, purge_permit, verify_interval_days_max,
};
pub use table::{table, table_for};
