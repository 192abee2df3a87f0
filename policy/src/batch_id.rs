//! The name of a batch of deletions.
//!
//! Invariant: names sort as the batches followed each other, and none can name anything outside its directory.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// A batch of deletions, as in `20261121T014500Z-1a2b3c4d`: the second in which it began, and what tells it from
/// others of that second.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(String);

/// `d`: a digit, `x`: a digit of a hexadecimal number; all else stands for itself.
const FORM: &[u8] = b"ddddddddTddddddZ-xxxxxxxx";

impl BatchId {
    /// The name as it was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The second in which it began, as in `20261121T014500Z`.
    #[must_use]
    pub fn second(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }
}

/// The text does not name a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidBatchId;

impl fmt::Display for InvalidBatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch has a name such as 20261121T014500Z-1a2b3c4d")
    }
}

impl core::error::Error for InvalidBatchId {}

impl FromStr for BatchId {
    type Err = InvalidBatchId;

    fn from_str(text: &str) -> Result<Self, InvalidBatchId> {
        let fits = |(form, byte): (&u8, u8)| match form {
            b'd' => byte.is_ascii_digit(),
            b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            other => byte == *other,
        };
        if text.len() == FORM.len() && FORM.iter().zip(text.bytes()).all(fits) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidBatchId)
        }
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
