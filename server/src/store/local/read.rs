//! Reading a stored file.
//!
//! Invariant: exactly the span that was asked for, or an error; one chunk in memory, and no thread is held while
//! the client takes its time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::join;
use crate::store::{Span, StoreError, StoredFile};

/// Bytes read at a time.
const CHUNK_BYTES: u64 = 128 << 10;

/// A stored file, open for reading.
#[derive(Debug)]
pub struct LocalFile {
    file: Arc<File>,
    size: u64,
}

impl LocalFile {
    pub(super) fn new(file: File) -> Result<Self, StoreError> {
        let size = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), size })
    }
}

impl StoredFile for LocalFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(self, span: Span) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
        stream::try_unfold((self.file, span), |(file, span)| async move {
            if span.len == 0 {
                return Ok(None);
            }
            let len = span.len.min(CHUNK_BYTES);
            let reading = Arc::clone(&file);
            let chunk =
                join(tokio::task::spawn_blocking(move || read_chunk(&reading, span.start, len)).await)?;
            let rest = Span { start: span.start.saturating_add(len), len: span.len.saturating_sub(len) };
            Ok(Some((chunk, (file, rest))))
        })
    }
}

fn read_chunk(file: &File, start: u64, len: u64) -> Result<Bytes, StoreError> {
    let mut chunk = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut chunk, start)?;
    Ok(chunk.into())
}
