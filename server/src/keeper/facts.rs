//! What Pawl itself knows of a file, kept with it in `user.pawl.*` attributes.
//!
//! Invariant: facts are written before a file has a name, and a missing or unreadable fact never makes a file
//! look younger or more widely visible than it is: the inode's birth time stands in for `received`.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pawl_policy::{Audience, PrincipalName};
use rustix::fs::{AtFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;

const CREATOR: &str = "user.pawl.creator";
const RECEIVED: &str = "user.pawl.received";
const AUDIENCE: &str = "user.pawl.audience";
const CONTENT: &str = "user.pawl.sha256";
const INITIALISED: &str = "user.pawl.initialised";
/// On a lock that maintenance holds.
const MAINTENANCE: &str = "user.pawl.maintenance";

/// Longer values are none of ours.
const VALUE_BYTES_MAX: usize = 128;

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
            remove(file, name)?;
        }
    }
    if let Some(creator) = &known.creator {
        set(file, CREATOR, creator.as_str())?;
    }
    if known.audience != Audience::All {
        write_audience(file, known.audience)?;
    }
    set(file, RECEIVED, &known.received_ms.to_string())
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

pub(super) fn set(file: impl AsFd, name: &str, value: &str) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(file, name, value.as_bytes(), XattrFlags::empty())
}

pub(super) fn remove(file: impl AsFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::fremovexattr(file, name) {
        Ok(()) | Err(Errno::NODATA) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn attribute(file: impl AsFd, name: &str) -> rustix::io::Result<Option<String>> {
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
