//! Reading a stored file.
//!
//! Invariant: exactly the span that was asked for, or an error; two chunks in memory, and no thread is held while the
//! client takes its time. What the disk has to be waited for is read where waiting is allowed.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use rustix::io::{Errno, ReadWriteFlags};

use super::join;
use crate::{Span, StoreError, StoredFile};

/// Bytes read at a time. Measured: what is copied twice stays in the processor's cache, and a system call costs little.
const CHUNK_BYTES: u64 = 64 << 10;
/// The magic number of tmpfs, whose files are memory.
const TMPFS: u64 = 0x0102_1994;

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
        let reading = Reading { file: self.file, span, way: Way::Cached, sent: None };
        stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|chunk| (chunk, reading)))
        })
    }
}

/// How the next chunk is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Here, if it is in memory already.
    Cached,
    /// Here, for the file system is memory.
    Memory,
    /// By a thread that may wait, since the file system cannot tell what is in memory.
    Waiting,
}

#[derive(Debug)]
struct Reading {
    file: Arc<File>,
    span: Span,
    way: Way,
    /// The last chunk, whose memory is used again when the client has taken it.
    sent: Option<Bytes>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.span.len == 0 {
            return Ok(None);
        }
        let len = self.span.len.min(CHUNK_BYTES);
        let mut chunk = self.memory(usize::try_from(len).unwrap_or_default());
        let read = self.read_here(&mut chunk)?;
        if read < chunk.len() {
            let (file, start) = (Arc::clone(&self.file), self.span.start);
            let waiting = tokio::task::spawn_blocking(move || {
                if let Some(rest) = chunk.get_mut(read..) {
                    file.read_exact_at(rest, start.saturating_add(read as u64))?;
                }
                Ok(chunk)
            });
            chunk = join(waiting.await)?;
        }
        self.span =
            Span { start: self.span.start.saturating_add(len), len: self.span.len.saturating_sub(len) };
        let chunk = chunk.freeze();
        self.sent = Some(chunk.clone());
        Ok(Some(chunk))
    }

    fn memory(&mut self, len: usize) -> BytesMut {
        match self.sent.take().map(Bytes::try_into_mut) {
            Some(Ok(mut memory)) if memory.capacity() >= len => {
                memory.resize(len, 0);
                memory
            }
            _ => BytesMut::zeroed(len),
        }
    }

    /// Reads what can be had at once, which may be nothing.
    fn read_here(&mut self, chunk: &mut [u8]) -> Result<usize, StoreError> {
        match self.way {
            Way::Cached => {}
            Way::Memory => {
                self.file.read_exact_at(chunk, self.span.start)?;
                return Ok(chunk.len());
            }
            Way::Waiting => return Ok(0),
        }
        let slices = &mut [IoSliceMut::new(chunk)];
        match rustix::io::preadv2(&self.file, slices, self.span.start, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                let file_system = rustix::fs::fstatfs(&self.file)?;
                let is_memory = u64::try_from(file_system.f_type).is_ok_and(|kind| kind == TMPFS);
                self.way = if is_memory { Way::Memory } else { Way::Waiting };
                if is_memory { self.read_here(chunk) } else { Ok(0) }
            }
            Err(error) => Err(error.into()),
        }
    }
}
