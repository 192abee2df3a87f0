//! The attributes of directories that hold usage, as text.
//!
//! Invariant: each begins with the number of its format. One that cannot be read is [`Errno::BADMSG`], never nothing,
//! which would lift a quota.

use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;

use pawl_policy::Usage;
use rustix::io::Errno;

use crate::facts::{attribute, remove, set};

const FORMAT: &str = "1";

/// What the keeper of the hosts has counted: `1 BYTES FILES`. Without a number of its format it is of Pawl before 0.1.
const OWN: &str = "user.pawl.usage";
/// What maintenance has added and taken away: `1 BYTES FILES BYTES FILES`. Both only grow.
const MAINTAINED: &str = "user.pawl.maintained";
/// What a principal has stored elsewhere than beneath DATA: `1 BYTES FILES`.
pub(super) const TALLIED: &str = "user.pawl.tallied";
/// On `.pawl/usage`, while no keeper of the hosts runs: `1 MILLISECONDS MILLISECONDS`.
const MARK: &str = "user.pawl.clean";

/// What the keeper of the hosts has counted. Less than nothing where files that maintenance had added are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Net {
    bytes: i64,
    files: i64,
}

/// What maintenance has changed, ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Maintained {
    pub added: Usage,
    pub taken: Usage,
}

/// The last end of a keeper of the hosts that left nothing unwritten, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub ended_ms: u64,
    /// When all files were last counted.
    pub counted_ms: u64,
}

const fn signed(number: u64) -> i64 {
    if number > i64::MAX.cast_unsigned() { i64::MAX } else { number.cast_signed() }
}

impl Net {
    pub(crate) const fn plus(self, usage: Usage) -> Self {
        let bytes = self.bytes.saturating_add(signed(usage.bytes));
        Self { bytes, files: self.files.saturating_add(signed(usage.files)) }
    }

    pub(crate) const fn minus(self, usage: Usage) -> Self {
        let bytes = self.bytes.saturating_sub(signed(usage.bytes));
        Self { bytes, files: self.files.saturating_sub(signed(usage.files)) }
    }

    /// What there is with what maintenance has changed.
    pub(crate) fn seen(self, maintained: Maintained) -> Usage {
        let Self { bytes, files } = self.plus(maintained.added).minus(maintained.taken);
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        Usage { bytes: unsigned(bytes), files: unsigned(files) }
    }

    /// What the keeper must have counted for this to be seen.
    pub(crate) const fn for_seen(seen: Usage, maintained: Maintained) -> Self {
        Self { bytes: signed(seen.bytes), files: signed(seen.files) }
            .minus(maintained.added)
            .plus(maintained.taken)
    }
}

pub(super) fn own(directory: impl AsFd) -> rustix::io::Result<Option<Net>> {
    let Some(text) = attribute(directory, OWN)? else { return Ok(None) };
    let [bytes, files] = numbers(&text).or_else(|_| numbers(&format!("{FORMAT} {text}")))?;
    Ok(Some(Net { bytes, files }))
}

pub(super) fn write_own(directory: impl AsFd, Net { bytes, files }: Net) -> rustix::io::Result<()> {
    set(directory, OWN, &format!("{FORMAT} {bytes} {files}"))
}

pub(super) fn maintained(directory: impl AsFd) -> rustix::io::Result<Maintained> {
    let Some(text) = attribute(directory, MAINTAINED)? else { return Ok(Maintained::default()) };
    let [added_bytes, added_files, taken_bytes, taken_files] = numbers(&text)?;
    Ok(Maintained {
        added: Usage { bytes: added_bytes, files: added_files },
        taken: Usage { bytes: taken_bytes, files: taken_files },
    })
}

pub(super) fn write_maintained(
    directory: impl AsFd,
    Maintained { added, taken }: Maintained,
) -> rustix::io::Result<()> {
    let (Usage { bytes, files }, Usage { bytes: taken_bytes, files: taken_files }) = (added, taken);
    set(directory, MAINTAINED, &format!("{FORMAT} {bytes} {files} {taken_bytes} {taken_files}"))
}

pub(super) fn tallied(directory: impl AsFd) -> rustix::io::Result<Usage> {
    let Some(text) = attribute(directory, TALLIED)? else { return Ok(Usage::default()) };
    let [bytes, files] = numbers(&text)?;
    Ok(Usage { bytes, files })
}

pub(super) fn write_tallied(directory: impl AsFd, Usage { bytes, files }: Usage) -> rustix::io::Result<()> {
    set(directory, TALLIED, &format!("{FORMAT} {bytes} {files}"))
}

/// Takes the mark away, so that no crash from now on looks like a clean end.
pub(super) fn take_mark(home: BorrowedFd<'_>) -> rustix::io::Result<Option<Mark>> {
    let Some(text) = attribute(home, MARK)? else { return Ok(None) };
    remove(home, MARK)?;
    rustix::fs::fsync(home)?;
    Ok(numbers(&text).ok().map(|[ended_ms, counted_ms]| Mark { ended_ms, counted_ms }))
}

pub(super) fn write_mark(
    home: BorrowedFd<'_>,
    Mark { ended_ms, counted_ms }: Mark,
) -> rustix::io::Result<()> {
    set(home, MARK, &format!("{FORMAT} {ended_ms} {counted_ms}"))?;
    rustix::fs::fsync(home)
}

/// The numbers behind that of the format.
fn numbers<T: FromStr, const N: usize>(text: &str) -> rustix::io::Result<[T; N]> {
    let numbers = text.strip_prefix(FORMAT).and_then(|rest| rest.strip_prefix(' ')).ok_or(Errno::BADMSG)?;
    let numbers: Result<Vec<T>, _> = numbers.split(' ').map(str::parse).collect();
    numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or(Errno::BADMSG)
}
