//! What the content of a copy hashes to.
//!
//! Invariant: every byte of the copy was read, at the pace that was asked for, or it is an error.

use futures_util::TryStreamExt;
use indicatif::ProgressBar;
use pawl_config::pace::Pace;
use pawl_policy::FileId;
use sha2::{Digest, Sha256};

use pawl_store::{Span, StoreError, StoredFile};

/// Reads a copy to its end.
pub(super) async fn sha256<F: StoredFile>(
    file: F,
    pace: &Pace,
    bar: &ProgressBar,
) -> Result<FileId, StoreError> {
    let span = Span { start: 0, len: file.size() };
    let mut chunks = std::pin::pin!(file.read(span));
    let mut hash = Sha256::new();
    while let Some(chunk) = chunks.try_next().await? {
        pace.bytes(chunk.len()).await;
        hash.update(&chunk);
        bar.inc(chunk.len() as u64);
    }
    Ok(FileId::from_sha256(hash.finalize().into()))
}
