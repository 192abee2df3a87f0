//! What is known when a decision is made.
//!
//! Invariant: these are all the facts that a decision can name; none of them is looked up here.

use core::net::IpAddr;

use crate::grant::Usage;
use crate::limits::SNAPSHOT_FLOOR_MS;
use crate::name::PrincipalName;

/// How far a repository has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepositoryState {
    /// There is no such repository.
    Absent,
    /// It was created, but neither `config` nor a snapshot, an index or data ever existed in it.
    Draft,
    /// Initialised, which is for good.
    Initialised,
}

/// Who may see a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Every principal of the repository.
    All,
    /// Maintenance only; to all others it is as if absent.
    Maintenance,
}

/// What is stored under the name that an action is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// Nothing.
    Absent,
    /// A file, with what Pawl itself knows of it.
    Present {
        /// Who stored it; `None` if that was never recorded.
        creator: Option<PrincipalName>,
        /// How long ago Pawl received it, in milliseconds.
        age_ms: u64,
        /// Who may see it.
        audience: Audience,
    },
}

/// Whether the store has room for a file beside what is kept for locks and maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Room {
    /// There is room for the file and for all others on their way.
    Enough,
    /// There is, but it was promised to uploads that are on their way, or this principal was promised its share.
    Promised,
    /// There is none.
    Full,
}

/// The facts that a decision may name, looked up beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// From where the principal asks; `None` if not over a network.
    pub peer: Option<IpAddr>,
    /// The time, in Unix milliseconds.
    pub now_ms: u64,
    /// What the repository would hold with the file, and everything else that is on its way there.
    pub usage: Usage,
    /// What the principal would have stored in all repositories with the file, and with all others on their way.
    pub total_usage: Usage,
    /// Whether the store has room for the file.
    pub room: Room,
    /// How far the repository has come.
    pub repository: RepositoryState,
    /// What is stored under the action's handle; [`FileState::Absent`] for actions without one.
    pub file: FileState,
    /// Whether maintenance deleted a file of this name, so that it must not come back.
    pub tombstone: bool,
    /// Locks of this principal in the repository that have not expired.
    pub live_locks: u32,
    /// Until when hosts cannot lock the repository, because maintenance waits for it, in Unix milliseconds.
    pub locks_suspended_until_ms: Option<u64>,
    /// Key files in the repository.
    pub keys: u32,
    /// The age from which on maintenance may delete a snapshot, in milliseconds.
    pub snapshot_floor_ms: u64,
    /// Whether the principal was refused a young snapshot under the lock that it still holds. restic 0.18 goes on and
    /// prunes what only that snapshot needs.
    pub snapshot_kept: bool,
}

impl Context {
    /// Before anything is looked up: nothing is there, nothing is used up, and the floor is the usual one.
    pub const NOTHING_KNOWN: Self = Self {
        peer: None,
        now_ms: 0,
        usage: Usage { bytes: 0, files: 0 },
        total_usage: Usage { bytes: 0, files: 0 },
        room: Room::Enough,
        repository: RepositoryState::Absent,
        file: FileState::Absent,
        tombstone: false,
        live_locks: 0,
        locks_suspended_until_ms: None,
        keys: 0,
        snapshot_floor_ms: SNAPSHOT_FLOOR_MS,
        snapshot_kept: false,
    };
}
