//! Files to be sent: all of one size share all but their ends, so that a thousand cost no more memory than one.
//!
//! Invariant: no two have the same content, in this run or another.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bytes in which one file differs from the next.
const END_BYTES: usize = 16;

/// All files of one size.
#[derive(Debug)]
pub(crate) struct Contents {
    start: Bytes,
    hash: Sha256,
    seed: u64,
    next: u64,
}

/// A file that can be sent.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
}

impl Contents {
    pub(crate) fn new(size: u64) -> Result<Self, String> {
        let len = usize::try_from(size).ok().and_then(|len| len.checked_sub(END_BYTES));
        let len = len.ok_or_else(|| format!("expected files of at least {END_BYTES} bytes, found {size}"))?;
        let mut start = Vec::with_capacity(len + 32);
        // Noise, in case a file system compresses.
        for block in 0u64.. {
            if start.len() >= len {
                break;
            }
            start.extend(Sha256::digest(block.to_le_bytes()));
        }
        start.truncate(len);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = u64::try_from(since_epoch.as_nanos()).unwrap_or_default();
        Ok(Self { hash: Sha256::new_with_prefix(&start), start: start.into(), seed, next: 0 })
    }

    /// A file that was never there.
    pub(crate) fn file(&mut self) -> File {
        let mut end = self.seed.to_le_bytes().to_vec();
        end.extend(self.next.to_le_bytes());
        self.next += 1;
        let id = hex::encode(self.hash.clone().chain_update(&end).finalize());
        File { id, start: self.start.clone(), end: end.into() }
    }
}

impl File {
    pub(crate) fn len(&self) -> u64 {
        (self.start.len() + self.end.len()) as u64
    }
}
