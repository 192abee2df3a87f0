//! What Pawl itself knows of a file, kept with it in `user.pawl.*` attributes.
//!
//! Invariant: facts are written before a file has a name, and a missing or unreadable fact never makes a file
//! look younger or more widely visible than it is: the inode's birth time stands in for `received`.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pawl_policy::{Audience, PrincipalName, Usage};
use rustix::fs::{AtFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;

const CREATOR: &str = "user.pawl.creator";
const RECEIVED: &str = "user.pawl.received";
const AUDIENCE: &str = "user.pawl.audience";
const CONTENT: &str = "user.pawl.sha256";
const USAGE: &str = "user.pawl.usage";
const ADDED: &str = "user.pawl.added";
const INITIALISED: &str = "user.pawl.initialised";
/// On a lock that maintenance holds.
const MAINTENANCE: &str = "user.pawl.maintenance";

/// Longer values are none of ours.
const VALUE_BYTES_MAX: usize = 128;

/// By how much a time of receipt may be ahead of the clock by which it is judged, in milliseconds, and be believed.
pub(crate) const AHEAD_MAX_MS: u64 = 60 * 60 * 1000;

/// What Pawl itself knows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Who stored it; `None` if that was never recorded.
    pub creator: Option<PrincipalName>,
    /// When Pawl first stored it, by its own clock, in Unix milliseconds.
    pub received_ms: u64,
    /// Who may see it.
    pub audience: Audience,
}

impl Facts {
    /// How long ago the file was received, in milliseconds; 0 if the clock stands before that.
    #[must_use]
    pub const fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.received_ms)
    }

    /// Whether it says of a moment to come that it was received then: the clock was ahead, or stands back now.
    pub(crate) const fn is_ahead(&self, now_ms: u64) -> bool {
        self.received_ms > now_ms.saturating_add(AHEAD_MAX_MS)
    }

    /// What is known of a file that only the keeper may read.
    pub(crate) const fn of_hidden() -> Self {
        Self { creator: None, received_ms: 0, audience: Audience::Maintenance }
    }

    /// Reads the facts of an open file.
    pub(crate) fn read(file: impl AsFd) -> rustix::io::Result<Self> {
        let file = file.as_fd();
        let creator = attribute(file, CREATOR)?.and_then(|name| name.parse().ok());
        let received_ms = match attribute(file, RECEIVED)?.and_then(|text| text.parse().ok()) {
            Some(received_ms) => received_ms,
            None => birth_ms(file)?,
        };
        let audience = match attribute(file, AUDIENCE)?.as_deref() {
            None | Some("all") => Audience::All,
            Some(_) => Audience::Maintenance, // an unknown word hides the file
        };
        Ok(Self { creator, received_ms, audience })
    }
}

/// Writes what is known to a file that has no name yet, and removes what else may stand there: whoever filled the file
/// could write attributes as well.
pub(super) fn write(file: impl AsFd, known: &Facts) -> rustix::io::Result<()> {
    let file = file.as_fd();
    if has_attributes(file)? {
        for name in [CREATOR, AUDIENCE, CONTENT, MAINTENANCE] {
            match rustix::fs::fremovexattr(file, name) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
    }
    if let Some(creator) = &known.creator {
        set(file, CREATOR, creator.as_str())?;
    }
    if known.audience != Audience::All {
        write_audience(file, known.audience)?;
    }
    write_received(file, known.received_ms)
}

/// Writes when a file was received.
pub(crate) fn write_received(file: impl AsFd, received_ms: u64) -> rustix::io::Result<()> {
    set(file, RECEIVED, &received_ms.to_string())
}

/// Whether any attribute is there, which is seldom so. The kernel says how long the list of all is.
fn has_attributes(file: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let nothing: &mut [u8] = &mut [];
    rustix::fs::flistxattr(file, nothing).map(|bytes| bytes > 0)
}

/// Writes who may see a file.
pub(crate) fn write_audience(file: impl AsFd, audience: Audience) -> rustix::io::Result<()> {
    let word = match audience {
        Audience::All => "all",
        Audience::Maintenance => "maintenance",
    };
    set(file, AUDIENCE, word)
}

/// The SHA-256 that was recorded of a `config`, in hexadecimal.
pub(crate) fn content_hash(file: impl AsFd) -> rustix::io::Result<Option<String>> {
    attribute(file, CONTENT)
}

/// Whether the time at which a file was received was recorded, and not merely derived.
pub(crate) fn is_recorded(file: impl AsFd) -> rustix::io::Result<bool> {
    Ok(attribute(file, RECEIVED)?.is_some_and(|text| text.parse::<u64>().is_ok()))
}

/// Records the SHA-256 of a `config`, which has no name to match, in hexadecimal.
pub(super) fn write_content_hash(file: impl AsFd, sha256: &str) -> rustix::io::Result<()> {
    set(file, CONTENT, sha256)
}

/// Marks a lock as one that maintenance holds.
pub(super) fn mark_of_maintenance(file: impl AsFd) -> rustix::io::Result<()> {
    set(file, MAINTENANCE, "1")
}

/// Whether it is so marked.
pub(crate) fn is_of_maintenance(file: impl AsFd) -> rustix::io::Result<bool> {
    attribute(file, MAINTENANCE).map(|mark| mark.is_some())
}

/// Whether a repository's directory carries the mark of having been initialised.
pub(super) fn is_initialised(directory: impl AsFd) -> rustix::io::Result<bool> {
    attribute(directory, INITIALISED).map(|mark| mark.is_some())
}

/// Marks a repository as initialised, for good.
pub(super) fn mark_initialised(directory: impl AsFd) -> rustix::io::Result<()> {
    set(directory, INITIALISED, "1")
}

/// A repository's usage, `BYTES FILES`; `None` if it was never counted.
pub(super) fn usage(directory: impl AsFd) -> rustix::io::Result<Option<Usage>> {
    Ok(attribute(directory, USAGE)?.and_then(|text| parse_usage(&text)))
}

/// What a principal has stored; nothing if that was never noted. What cannot be read is an error: taken for nothing, it
/// would lift the quota.
pub(super) fn total_usage(directory: impl AsFd) -> rustix::io::Result<Usage> {
    match attribute(directory, USAGE)? {
        None => Ok(Usage::default()),
        Some(text) => parse_usage(&text).ok_or(Errno::BADMSG),
    }
}

/// All that was ever added to a repository, for a count that is going on meanwhile; it never falls.
pub(super) fn added(directory: impl AsFd) -> rustix::io::Result<Usage> {
    Ok(attribute(directory, ADDED)?.and_then(|text| parse_usage(&text)).unwrap_or_default())
}

/// Writes all that was ever added.
pub(super) fn write_added(directory: impl AsFd, added: Usage) -> rustix::io::Result<()> {
    set(directory, ADDED, &usage_text(added))
}

fn usage_text(usage: Usage) -> String {
    format!("{} {}", usage.bytes, usage.files)
}

fn parse_usage(text: &str) -> Option<Usage> {
    let (bytes, files) = text.split_once(' ')?;
    Some(Usage { bytes: bytes.parse().ok()?, files: files.parse().ok()? })
}

/// Writes a repository's usage.
pub(super) fn write_usage(directory: impl AsFd, usage: Usage) -> rustix::io::Result<()> {
    set(directory, USAGE, &usage_text(usage))
}

/// Whether the file system under `file` keeps attributes at all.
pub(super) fn are_supported(file: impl AsFd) -> rustix::io::Result<bool> {
    match set(file, "user.pawl.probe", "1") {
        // Where attributes need room of their own, a full disk says that it would keep them.
        Ok(()) | Err(Errno::NOSPC | Errno::DQUOT) => Ok(true),
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Now, in Unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

fn set(file: impl AsFd, name: &str, value: &str) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(file, name, value.as_bytes(), XattrFlags::empty())
}

fn attribute(file: impl AsFd, name: &str) -> rustix::io::Result<Option<String>> {
    let mut value = Vec::with_capacity(VALUE_BYTES_MAX);
    match rustix::fs::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value)) {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => Ok(Some(String::new())), // too long to be ours, but there
        Err(error) => Err(error),
    }
}

fn birth_ms(file: impl AsFd) -> rustix::io::Result<u64> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME | StatxFlags::MTIME)?;
    let birth = if stat.stx_mask & StatxFlags::BTIME.bits() == 0 { stat.stx_mtime } else { stat.stx_btime };
    let seconds = u64::try_from(birth.tv_sec).unwrap_or(0);
    Ok(seconds.saturating_mul(1000).saturating_add(u64::from(birth.tv_nsec) / 1_000_000))
}
