//! Bounds on what a host can add, each with its reason.
//!
//! Invariant: every kind of file has a finite range of sizes.

use core::ops::RangeInclusive;

use crate::name::{FileType, Handle};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A lock that was not replaced for this long has expired: restic refreshes every 5 minutes by writing a new
/// file, and itself calls a lock stale after 30.
pub const LOCK_EXPIRES_AFTER_MS: u64 = 60 * 60 * 1000;

/// A lock that was not replaced for this long is stale by restic's own rule: its client refreshes every 5 minutes and, from
/// 0.15 on, gives its work up by itself once it was refused that for 22.5.
pub const LOCK_STALE_AFTER_MS: u64 = 30 * 60 * 1000;

/// A host that asks to delete what it stored less than this long ago is not suspected. restic retries an upload for 15
/// minutes, and removes the file before each retry. The last attempt may take as long again.
pub const CLEAN_UP_WITHIN_MS: u64 = 30 * 60 * 1000;

/// The furthest ahead that a suspension of locks can end: the 30 minutes in which locks go stale, and 10 for clocks that
/// differ and for the work to begin. One that claims to last longer is none, so that what a killed run left behind is soon
/// over.
pub const LOCKS_SUSPENDED_MAX_MS: u64 = 40 * 60 * 1000;

/// Live locks that one principal can hold in a repository. One restic process holds one or, while it
/// refreshes, two; a listing of more would slow every other client.
pub const LIVE_LOCKS_MAX: u32 = 64;

/// Key files that a host can bring a repository to. restic gives up after trying 20.
pub const KEYS_MAX: u32 = 16;

/// Kept free for locks, without which nobody could restore, and for maintenance, which writes before it frees: a 50th
/// of the file system in bytes and in inodes, and of a large one no more than this.
pub const RESERVE_BYTES_MAX: u64 = 1 << 30;
/// The reserve of a small file system is one of so many parts.
pub const RESERVE_PARTS: u64 = 50;
/// As many inodes as there are files of 64 KiB in the most bytes that are kept free.
pub const RESERVE_FILES_MAX: u64 = RESERVE_BYTES_MAX >> 16;

/// Youngest snapshot, by received time, that maintenance can delete: 7 days.
pub const SNAPSHOT_FLOOR_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What restic encrypts carries 16 bytes of nonce and 16 of MAC, and a key file is longer still, so nothing
/// shorter can be whole. `config` has a cap only, and what lies in `data` is left to restic.
const BYTES_MIN: u64 = 32;

/// The largest file of each kind, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// restic's packs are at most 4 GiB plus their header.
    pub data_bytes_max: u64,
    /// restic writes indexes of up to some 10 MiB; old versions wrote larger ones.
    pub index_bytes_max: u64,
    /// One JSON document that lists paths, tags and a tree.
    pub snapshots_bytes_max: u64,
    /// One small JSON document.
    pub locks_bytes_max: u64,
    /// One small JSON document.
    pub keys_bytes_max: u64,
    /// One small JSON document.
    pub config_bytes_max: u64,
    /// Whether hosts send what is stored: then nothing is shorter than what restic encrypts, and a key has a key's form.
    pub of_hosts: bool,
}

impl Caps {
    /// `config` and `keys` are held in memory while they are checked, so their caps cannot be raised past this.
    pub const IN_MEMORY_BYTES_MAX: u64 = 64 * KIB;

    /// Checks an admin's upload: admins may store any bytes, as restic's own tests of a server do.
    #[must_use]
    pub const fn for_maintenance(self) -> Self {
        Self { of_hosts: false, ..self }
    }

    /// The sizes that a file of this kind may have.
    #[must_use]
    pub const fn sizes(&self, handle: &Handle) -> RangeInclusive<u64> {
        let least = if self.of_hosts { BYTES_MIN } else { 0 };
        match handle {
            Handle::Config => 1..=self.config_bytes_max,
            Handle::File(FileType::Data, _) => 0..=self.data_bytes_max,
            Handle::File(FileType::Index, _) => least..=self.index_bytes_max,
            Handle::File(FileType::Snapshots, _) => least..=self.snapshots_bytes_max,
            Handle::File(FileType::Locks, _) => least..=self.locks_bytes_max,
            Handle::File(FileType::Keys, _) => least..=self.keys_bytes_max,
        }
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            data_bytes_max: 4198 * MIB, // 4.1 GiB
            index_bytes_max: 256 * MIB,
            snapshots_bytes_max: 64 * MIB,
            locks_bytes_max: 64 * KIB,
            keys_bytes_max: 16 * KIB,
            config_bytes_max: 64 * KIB,
            of_hosts: true,
        }
    }
}
