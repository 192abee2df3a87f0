//! The audit log: what was asked, decided and done, as lines that hold each other in place.
//!
//! Invariant: each line carries the SHA-256 of the line before it, so that nothing can be changed, removed or moved
//! without every later line saying so. Only the end can be cut unseen, or hidden behind a zero byte as after a crash; a head
//! kept elsewhere shows that as well.

mod archive;
mod budget;
mod log;
mod verify;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use archive::{ArchiveError, Archived, archive};
pub use budget::{Budget, COUNTED_EVERY};
pub use log::{Checkpoint, LOGS, Log};
pub use verify::{Break, Broken, Past, ReadFiles, Verified, each_record, verify, verify_past, verify_whole};

/// What stands in place of the line before the first one.
pub const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Longest line in bytes. The keeper's messages of 2048 bytes bound what it writes, each of which JSON may write as six;
/// longer ones are none of its own.
pub const LINE_BYTES_MAX: u64 = 16 << 10;

/// What a file holds where bytes did not reach the disk before the power went, though later ones did. JSON has none of it.
pub(crate) const GAP: u8 = 0;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counts up by one, through all files.
    pub number: u64,
    /// The keeper's clock, RFC 3339 in UTC.
    pub time: String,
    /// SHA-256 of the line before, in hexadecimal.
    pub previous: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a line tells. Decisions are told by the frontend, all else by the keeper of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A request was answered.
    Decision(Decision),
    /// The keeper gave a file its name.
    Stored(Deed),
    /// The keeper kept good bytes of a file whose stored copy is damaged.
    Rescued(Deed),
    /// The keeper removed a lock.
    LockRemoved(Deed),
    /// The keeper made a repository, or set the half-made keys of a draft aside.
    RepositoryCreated(Deed),
    /// Maintenance took a deleted file out of sight, into a batch.
    Hidden(Deed),
    /// Maintenance took a damaged file out of sight, into a batch.
    Displaced(Deed),
    /// Maintenance brought a file back into sight.
    BroughtBack(Deed),
    /// Maintenance removed a file of a batch for good.
    Purged(Deed),
    /// Maintenance found a file that is not what its name says.
    FoundDamaged(Deed),
    /// Maintenance verified a repository.
    Verified(Verification),
    /// Maintenance showed a key to hosts.
    KeyExposed(Deed),
    /// Maintenance hid a key from hosts.
    KeyHidden(Deed),
    /// Maintenance vouched for a snapshot, or for the times of all that were there.
    Adopted(Deed),
    /// Maintenance took a repository out of service.
    Retired(Deed),
    /// Maintenance keeps hosts from locking a repository, or does so for longer.
    LocksSuspended(Suspension),
    /// Maintenance lets hosts lock again.
    LocksResumed(Deed),
    /// Maintenance changed when a file says that it was received, which was a time to come.
    ReceivedAmended(Deed),
    /// Maintenance moved old files of a log to another directory.
    Archived(Archival),
    /// The keeper began to serve.
    Started,
    /// The keeper ended in good order.
    Stopped,
    /// Lines are missing here, because they could not be written.
    Lost {
        /// How many.
        lines: u64,
    },
    /// Something that only a newer Pawl knows.
    #[serde(untagged)]
    Unknown(Unknown),
}

/// What this Pawl knows, by its word in the log. A line with one of these that lacks something is no record.
const KNOWN: [&str; 22] = [
    "decision",
    "stored",
    "rescued",
    "lock_removed",
    "repository_created",
    "hidden",
    "displaced",
    "brought_back",
    "purged",
    "found_damaged",
    "verified",
    "key_exposed",
    "key_hidden",
    "adopted",
    "retired",
    "locks_suspended",
    "locks_resumed",
    "received_amended",
    "archived",
    "started",
    "stopped",
    "lost",
];

/// A line of a kind that only a newer Pawl knows, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Unknown(serde_json::Map<String, serde_json::Value>);

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let line = serde_json::Map::deserialize(from)?;
        match line.get("event").and_then(serde_json::Value::as_str) {
            None => Err(serde::de::Error::missing_field("event")),
            Some(word) if KNOWN.contains(&word) => {
                Err(serde::de::Error::custom(format!("it is not what \"{word}\" tells")))
            }
            Some(_) => Ok(Self(line)),
        }
    }
}

impl Unknown {
    /// Its word, and all that it tells.
    #[must_use]
    pub fn words(&self) -> String {
        let tell = |(name, value): (&String, &serde_json::Value)| format!("{name}={value}");
        self.0.iter().map(tell).collect::<Vec<_>>().join(" ")
    }
}

/// A request and its answer, as the frontend tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who asked; with a question mark in front if it was not proved.
    pub principal: Option<String>,
    /// From where.
    pub peer: String,
    /// What, for example `create data`.
    pub action: String,
    /// Where.
    pub repository: Option<String>,
    /// Which file, for example `data/…`.
    pub file: Option<String>,
    /// How it ended, in words.
    pub outcome: String,
    /// How it ended, in HTTP's number.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
}

/// What a decision's numbers, and the lengths of its texts, take at most in a message.
const NUMBERS_BYTES_MAX: usize = 48;

impl Decision {
    /// Bytes that it takes at most in a message to the keeper.
    pub fn bytes(&self) -> usize {
        let optional = [&self.principal, &self.repository, &self.file];
        let texts = optional.into_iter().flatten().chain([&self.peer, &self.action, &self.outcome]);
        texts.map(String::len).sum::<usize>() + NUMBERS_BYTES_MAX
    }
}

/// Something that the keeper did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// For whom, by the frontend's word.
    pub principal: String,
    /// Where.
    pub repository: String,
    /// To which file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The file's size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// From or into which batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
}

/// What one run of verification found in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Who ran it.
    pub principal: String,
    /// Where.
    pub repository: String,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Files that are damaged.
    pub damaged: u64,
    /// Other findings at which somebody should look.
    pub suspicious: u64,
    /// When it ended, in Unix milliseconds: the line may have had to wait for other maintenance.
    pub ended_ms: u64,
}

/// New locks of hosts are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// For whom.
    pub principal: String,
    /// Where.
    pub repository: String,
    /// It ends by itself then, in Unix milliseconds, unless it is prolonged or ended before.
    pub until_ms: u64,
}

/// Old files of a log lie elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archival {
    /// Who moved them.
    pub principal: String,
    /// One of [`LOGS`].
    pub log: String,
    /// How many files were moved.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// The number of the last record in them.
    pub last: u64,
}

/// Number and hash of the last line, to be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The line's number.
    pub number: u64,
    /// Its SHA-256 in hexadecimal.
    pub hash: String,
}

/// What the next line must carry: the SHA-256 of this one, without its line feed.
#[must_use]
pub fn hash(line: &[u8]) -> String {
    hex::encode(Sha256::digest(line))
}

/// The directories of both logs in a data directory: that of the frontend, and that of maintenance.
#[must_use]
pub fn directories(data: &Path) -> [PathBuf; 2] {
    [data.join(".pawl/audit"), data.join(".pawl/maintenance/audit")]
}

/// The name of the file that begins with this line number; `again` counts those that were begun with it and hold only
/// a line that a crash cut. Names sort as the files follow each other.
#[must_use]
pub fn file_name(first_number: u64, again: u32) -> String {
    if again == 0 {
        format!("{first_number:016}.jsonl")
    } else {
        format!("{first_number:016}_{again:04}.jsonl")
    }
}
