//! What Pawl itself knows of a file, kept with it in attributes: `user.pawl`, and for a few files `user.pawl.*`.
//!
//! Invariant: facts are written before a file has a name, and a missing or unreadable fact never makes a file
//! look younger or more widely visible than it is: the inode's birth time stands in for `received`.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pawl_policy::{Audience, PrincipalName};
use rustix::fs::{AtFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;

/// `1 RECEIVED CREATOR`, or without a creator that was never recorded; the first number is that of this format. One
/// attribute with a short name, because an inode of 256 bytes on ext4 has room for 68 bytes of its value: those of a creator
/// of 52 bytes. What is longer takes a block of 4 KiB for each file.
const FACTS: &str = "user.pawl";
const FORMAT: &str = "1 ";
/// Earlier versions of Pawl kept these facts in two attributes, which are still read.
const CREATOR: &str = "user.pawl.creator";
const RECEIVED: &str = "user.pawl.received";
const AUDIENCE: &str = "user.pawl.audience";
const CONTENT: &str = "user.pawl.sha256";
const INITIALISED: &str = "user.pawl.initialised";
/// On a lock that maintenance holds.
const MAINTENANCE: &str = "user.pawl.maintenance";

/// Longer values are none of ours.
const VALUE_BYTES_MAX: usize = 128;

/// By how much a time of receipt may be ahead of the clock by which it is judged, in milliseconds, and be believed.
pub const AHEAD_MAX_MS: u64 = 60 * 60 * 1000;

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
    #[must_use]
    pub const fn is_ahead(&self, now_ms: u64) -> bool {
        self.received_ms > now_ms.saturating_add(AHEAD_MAX_MS)
    }

    /// What is known of a file that only the keeper may read.
    #[must_use]
    pub const fn of_hidden() -> Self {
        Self { creator: None, received_ms: 0, audience: Audience::Maintenance }
    }

    /// Reads the facts of an open file.
    pub fn read(file: impl AsFd) -> rustix::io::Result<Self> {
        let file = file.as_fd();
        let (received_ms, creator) = recorded(file)?;
        let received_ms = received_ms.map_or_else(|| birth_ms(file), Ok)?;
        let audience = match attribute(file, AUDIENCE)?.as_deref() {
            None | Some("all") => Audience::All,
            Some(_) => Audience::Maintenance, // an unknown word hides the file
        };
        Ok(Self { creator, received_ms, audience })
    }
}

/// Writes what is known to a file that has no name yet, and removes what else may stand there: whoever filled the file
/// could write attributes as well.
pub fn write(file: impl AsFd, known: &Facts) -> rustix::io::Result<()> {
    let file = file.as_fd();
    if has_attributes(file)? {
        for name in [CREATOR, RECEIVED, AUDIENCE, CONTENT, MAINTENANCE] {
            remove(file, name)?;
        }
    }
    if known.audience != Audience::All {
        write_audience(file, known.audience)?;
    }
    write_recorded(file, known.received_ms, known.creator.as_ref())
}

/// Writes when a file was received. Who stored it stays.
pub fn write_received(file: impl AsFd, received_ms: u64) -> rustix::io::Result<()> {
    let (_, creator) = recorded(file.as_fd())?;
    write_recorded(file, received_ms, creator.as_ref())
}

fn write_recorded(
    file: impl AsFd,
    received_ms: u64,
    creator: Option<&PrincipalName>,
) -> rustix::io::Result<()> {
    let creator = creator.map(|creator| format!(" {}", creator.as_str())).unwrap_or_default();
    set(file, FACTS, &format!("{FORMAT}{received_ms}{creator}"))
}

/// When a file was received, and who stored it, as far as that was recorded and can be read.
fn recorded(file: BorrowedFd<'_>) -> rustix::io::Result<(Option<u64>, Option<PrincipalName>)> {
    let (received, creator) = match attribute(file, FACTS)? {
        Some(text) => {
            let facts = text.strip_prefix(FORMAT).unwrap_or_default();
            let (received, creator) = facts.split_once(' ').unwrap_or((facts, ""));
            (Some(received.to_owned()), Some(creator.to_owned()))
        }
        None => (attribute(file, RECEIVED)?, attribute(file, CREATOR)?),
    };
    Ok((received.and_then(|text| text.parse().ok()), creator.and_then(|name| name.parse().ok())))
}

/// Whether any attribute is there, which is seldom so. The kernel says how long the list of all is.
fn has_attributes(file: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    rustix::fs::flistxattr_query(file).map(|bytes| bytes > 0)
}

/// Writes who may see a file.
pub fn write_audience(file: impl AsFd, audience: Audience) -> rustix::io::Result<()> {
    let word = match audience {
        Audience::All => "all",
        Audience::Maintenance => "maintenance",
    };
    set(file, AUDIENCE, word)
}

/// The SHA-256 that was recorded of a `config`, in hexadecimal.
pub fn content_hash(file: impl AsFd) -> rustix::io::Result<Option<String>> {
    attribute(file, CONTENT)
}

/// Whether the time at which a file was received was recorded, and not merely derived.
pub fn is_recorded(file: impl AsFd) -> rustix::io::Result<bool> {
    Ok(recorded(file.as_fd())?.0.is_some())
}

/// Records the SHA-256 of a `config`, which has no name to match, in hexadecimal.
pub fn write_content_hash(file: impl AsFd, sha256: &str) -> rustix::io::Result<()> {
    set(file, CONTENT, sha256)
}

/// Marks a lock as one that maintenance holds.
pub fn mark_of_maintenance(file: impl AsFd) -> rustix::io::Result<()> {
    set(file, MAINTENANCE, "1")
}

/// Whether it is so marked.
pub fn is_of_maintenance(file: impl AsFd) -> rustix::io::Result<bool> {
    attribute(file, MAINTENANCE).map(|mark| mark.is_some())
}

/// Whether a repository's directory carries the mark of having been initialised.
pub fn is_initialised(directory: impl AsFd) -> rustix::io::Result<bool> {
    attribute(directory, INITIALISED).map(|mark| mark.is_some())
}

/// Marks a repository as initialised, for good.
pub fn mark_initialised(directory: impl AsFd) -> rustix::io::Result<()> {
    set(directory, INITIALISED, "1")
}

/// Whether the file system under `file` keeps attributes at all.
pub fn are_supported(file: impl AsFd) -> rustix::io::Result<bool> {
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

/// Sets a user attribute.
pub fn set(file: impl AsFd, name: &str, value: &str) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(file, name, value.as_bytes(), XattrFlags::empty())
}

/// Removes a user attribute, if it is there.
pub fn remove(file: impl AsFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::fremovexattr(file, name) {
        Ok(()) | Err(Errno::NODATA) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The value of a user attribute; nothing if it is not there.
pub fn attribute(file: impl AsFd, name: &str) -> rustix::io::Result<Option<String>> {
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use super::*;

    fn file() -> (tempfile::TempDir, File) {
        let place = tempfile::tempdir().unwrap();
        let file = File::create_new(place.path().join("file")).unwrap();
        (place, file)
    }

    fn known(creator: Option<&str>) -> Facts {
        let creator = creator.map(|name| name.parse().unwrap());
        Facts { creator, received_ms: 1_764_468_744_123, audience: Audience::All }
    }

    #[test]
    fn facts_are_read_as_they_were_written() {
        for known in [known(None), known(Some("web1"))] {
            let (_place, file) = file();
            write(&file, &known).unwrap();
            assert_eq!(Facts::read(&file).unwrap(), known);
            assert!(is_recorded(&file).unwrap());
        }
    }

    #[test]
    fn facts_in_two_attributes_are_read_and_give_way() {
        let (_place, file) = file();
        set(&file, CREATOR, "web1").unwrap();
        set(&file, RECEIVED, "1764468744123").unwrap();
        assert_eq!(Facts::read(&file).unwrap(), known(Some("web1")));
        assert!(is_recorded(&file).unwrap());
        write(&file, &known(None)).unwrap();
        assert_eq!(Facts::read(&file).unwrap(), known(None));
    }

    #[test]
    fn what_else_stands_in_attributes_is_removed() {
        let (_place, file) = file();
        let planted = [CREATOR, RECEIVED, AUDIENCE, CONTENT, MAINTENANCE];
        for name in planted {
            set(&file, name, "1").unwrap();
        }
        write(&file, &known(None)).unwrap();
        assert_eq!(planted.map(|name| attribute(&file, name).unwrap()), [const { None }; 5]);
    }

    #[test]
    fn a_newer_format_is_a_file_of_nobody_that_was_received_when_it_was_made() {
        let (_place, file) = file();
        set(&file, FACTS, "2 1 web1").unwrap();
        let Facts { creator, received_ms, .. } = Facts::read(&file).unwrap();
        assert_eq!(creator, None);
        assert_eq!(received_ms, birth_ms(file.as_fd()).unwrap());
        assert!(!is_recorded(&file).unwrap());
    }

    fn succeed(program: &str, arguments: &[&str]) {
        let status = Command::new(program).args(arguments).stdout(std::process::Stdio::null()).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }

    #[test]
    #[ignore = "needs root and loop devices"]
    fn a_file_of_a_creator_of_52_bytes_takes_no_block_for_its_facts() {
        let place = tempfile::tempdir().unwrap();
        let (disk, mounted) = (place.path().join("disk"), place.path().join("mounted"));
        std::fs::create_dir(&mounted).unwrap();
        File::create_new(&disk).unwrap().set_len(16 << 20).unwrap();
        succeed("mkfs.ext4", &["-q", "-I", "256", disk.to_str().unwrap()]);
        succeed("mount", &["-o", "loop", disk.to_str().unwrap(), mounted.to_str().unwrap()]);
        let blocks = [1, 52, 53, 64].map(|length| {
            let file = File::create_new(mounted.join(length.to_string())).unwrap();
            write(&file, &known(Some(&"x".repeat(length)))).unwrap();
            file.metadata().unwrap().blocks()
        });
        succeed("umount", &[mounted.to_str().unwrap()]);
        assert_eq!(blocks.map(|blocks| blocks > 0), [false, false, true, true], "{blocks:?}");
    }
}
