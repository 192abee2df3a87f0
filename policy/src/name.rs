//! Names, parsed once and valid ever after.
//!
//! Invariant: no value of these types can name anything outside its repository, nor one of restic's own
//! directories, nor Pawl's state. Printing a name gives back exactly the text that was parsed.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// Longest segment of a repository name and longest principal name, in bytes. Well below `NAME_MAX` (255).
const SEGMENT_BYTES_MAX: usize = 64;
/// Most segments of a repository name: `site/team/host/purpose`.
const SEGMENTS_MAX: usize = 4;
/// A SHA-256 in hexadecimal.
const ID_HEX_LEN: usize = 64;

/// Why a text is not a name: what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidName {
    /// Not 1 to 4 segments.
    Segments,
    /// A segment, or a principal's name, is empty or longer than 64 bytes.
    Length,
    /// A character other than ASCII letters, digits and `. _ - @ +`.
    Character,
    /// A segment that starts with a dot or a dash.
    Start,
    /// A segment that is one of restic's own names, such as `data` or `config`.
    Reserved,
    /// Not 64 lower-case hexadecimal digits.
    Id,
    /// Not one of `data`, `index`, `keys`, `locks`, `snapshots`.
    FileType,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segments => "a repository name has 1 to 4 segments separated by '/'",
            Self::Length => "a name is 1 to 64 characters long (each segment of a repository name)",
            Self::Character => "a name consists of ASCII letters, digits and '.', '_', '-', '@', '+'",
            Self::Start => "a name does not start with '.' or '-'",
            Self::Reserved => {
                "'config', 'data', 'index', 'keys', 'locks' and 'snapshots' are restic's own names"
            }
            Self::Id => "a file id is 64 lower-case hexadecimal digits",
            Self::FileType => "a file type is one of data, index, keys, locks, snapshots",
        })
    }
}

impl core::error::Error for InvalidName {}

/// One restic repository: 1 to 4 segments, for example `web1` or `hosts/web1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

/// Who asks: a host or a person.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalName(String);

/// What every new ext4 file system has, for its owner root alone.
const LOST_AND_FOUND: &str = "lost+found";

impl RepositoryName {
    /// The name as it was parsed, segments separated by `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments in order; at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl PrincipalName {
    /// The name as it was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() || text.split('/').count() > SEGMENTS_MAX {
            return Err(InvalidName::Segments);
        }
        for segment in text.split('/') {
            check_segment(segment)?;
            if segment == "config" || segment == LOST_AND_FOUND || FileType::from_str(segment).is_ok() {
                return Err(InvalidName::Reserved);
            }
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for PrincipalName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        check_segment(text)?;
        Ok(Self(text.into()))
    }
}

fn check_segment(segment: &str) -> Result<(), InvalidName> {
    if segment.is_empty() || segment.len() > SEGMENT_BYTES_MAX {
        return Err(InvalidName::Length);
    }
    if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@+".contains(&b)) {
        return Err(InvalidName::Character);
    }
    if segment.starts_with(['.', '-']) {
        return Err(InvalidName::Start);
    }
    Ok(())
}

/// The directory a file lives in. `config`, which has no id, is not among them: see [`Handle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// Packs: the content of backups.
    Data,
    /// Which chunk lies in which pack.
    Index,
    /// Password-protected copies of the master key.
    Keys,
    /// Who is using the repository just now.
    Locks,
    /// One file for each backup.
    Snapshots,
}

impl FileType {
    /// All five, in the order in which restic documents them.
    pub const ALL: [Self; 5] = [Self::Data, Self::Index, Self::Keys, Self::Locks, Self::Snapshots];

    /// restic's name for the directory, on disk and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
            Self::Keys => "keys",
            Self::Locks => "locks",
            Self::Snapshots => "snapshots",
        }
    }
}

impl FromStr for FileType {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL.into_iter().find(|t| t.as_str() == text).ok_or(InvalidName::FileType)
    }
}

/// The SHA-256 of a file's content. Prints as 64 lower-case hexadecimal digits, the only form that parses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId([u8; 32]);

impl FileId {
    /// The id of content with this SHA-256.
    #[must_use]
    pub const fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The SHA-256 that the content must have.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for FileId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.as_bytes();
        if digits.len() != ID_HEX_LEN {
            return Err(InvalidName::Id);
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().try_fold(0, |value, digit| match digit {
                b'0'..=b'9' => Ok(value << 4 | (digit - b'0')),
                b'a'..=b'f' => Ok(value << 4 | (digit - b'a' + 10)),
                _ => Err(InvalidName::Id),
            })?;
        }
        Ok(Self(id))
    }
}

/// One file of a repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handle {
    /// The one file without an id: the repository's own parameters.
    Config,
    /// Every other file.
    File(FileType, FileId),
}

impl Handle {
    /// Whether what maintenance deleted under this name is never accepted again. Data is named by what is in it, and a host
    /// that sends it again needs it. The others could come back to do harm: a snapshot whose data was pruned makes the next
    /// prune fail, and a key lets in whom its removal was to keep out.
    #[must_use]
    pub const fn leaves_a_tombstone(&self) -> bool {
        matches!(self, Self::File(FileType::Snapshots | FileType::Index | FileType::Keys, _))
    }

    /// The directory it lives in; `None` for `config`, which lives in the repository itself.
    #[must_use]
    pub const fn file_type(&self) -> Option<FileType> {
        match self {
            Self::Config => None,
            Self::File(file_type, _) => Some(*file_type),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All at once: a listing prints millions.
        let mut hex = [0; ID_HEX_LEN];
        for (digits, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        f.write_str(core::str::from_utf8(&hex).map_err(|_| fmt::Error)?)
    }
}

const fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' + value - 10,
    }
}

/// `config`, or `type/id` as restic's own messages name a file.
impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::File(file_type, id) => write!(f, "{file_type}/{id}"),
        }
    }
}

impl FromStr for Handle {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == "config" {
            return Ok(Self::Config);
        }
        let (file_type, id) = text.split_once('/').ok_or(InvalidName::FileType)?;
        Ok(Self::File(file_type.parse()?, id.parse()?))
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
