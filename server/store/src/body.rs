//! What is uploaded, on its way to a store.
//!
//! Invariant: a [`VerifiedBody`] ends in an error unless its content hashes to the name it is to get, and it holds
//! its last chunk back until it knows. Since stores take nothing else, none can store what was not verified.
//! Memory is bounded: two chunks, whatever the size of the file and of the pieces it arrives in; none while it waits for
//! more of a length that was announced. Pieces of some size are handed on as they came, without a copy.

use std::ops::RangeInclusive;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use pawl_policy::{Caps, FileId, FileType, Handle};
use pawl_restic_format::key::{self, InvalidKey};
use sha2::{Digest, Sha256};

use pawl_config::pace::Pace;

/// Most bytes handed to a store at a time. Measured: larger writes cost more on ext4.
pub const CHUNK_BYTES: usize = 128 << 10;
/// Smaller pieces are put together first, to be worth a system call each.
const GATHER_BYTES: usize = 16 << 10;

/// The content as it arrives, in pieces of any size. An error says why it ended early.
pub type Source = Pin<Box<dyn Stream<Item = Result<Bytes, Cut>> + Send>>;

/// Why a body ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The connection broke, or sent less than it had announced.
    #[error("the body ended early: {0}")]
    Broken(String),
    /// Too little arrived for too long.
    #[error("the body stalled")]
    Stalled,
}

/// Why a body is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It did not arrive whole.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// The content's SHA-256 is not the file's name.
    #[error("the content does not hash to its name")]
    Mismatch,
    /// Longer than files of this kind may be.
    #[error("longer than the cap of {0} bytes for its type")]
    TooLong(u64),
    /// Shorter than any whole file of this kind.
    #[error("shorter than any whole file of its type ({0} bytes)")]
    TooShort(u64),
    /// It does not say how long it is, and is longer than what can wait in memory.
    #[error("longer than {0} bytes without a Content-Length, which this store needs")]
    LengthRequired(u64),
    /// Not a key file of restic.
    #[error(transparent)]
    NotAKey(#[from] InvalidKey),
}

/// A body that was announced: where it comes from, and how long it says it is.
pub struct Upload {
    source: Source,
    declared_bytes: Option<u64>,
    received_bytes: u64,
    ended: bool,
    pace: Pace,
    on_arrival: Option<OnArrival>,
}

/// Is told how many more bytes have arrived.
pub type OnArrival = Box<dyn FnMut(u64) + Send>;

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("declared_bytes", &self.declared_bytes)
            .field("received_bytes", &self.received_bytes)
            .finish_non_exhaustive()
    }
}

impl Upload {
    /// A body from `source`, of which the client said that it has `declared_bytes`.
    #[must_use]
    pub fn new(source: Source, declared_bytes: Option<u64>) -> Self {
        Self {
            source,
            declared_bytes,
            received_bytes: 0,
            ended: false,
            pace: Pace::default(),
            on_arrival: None,
        }
    }

    /// Lets the rest of the body arrive no faster than this.
    pub fn slow_down(&mut self, pace: &Pace) {
        self.pace = pace.clone();
    }

    /// Tells of what arrives from now on.
    pub fn on_arrival(&mut self, on_arrival: OnArrival) {
        self.on_arrival = Some(on_arrival);
    }

    /// How long the client said that the body is.
    #[must_use]
    pub const fn declared_bytes(&self) -> Option<u64> {
        self.declared_bytes
    }

    /// Bytes that have arrived so far.
    #[must_use]
    pub const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Whether nothing more of the body can come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ended || self.declared_bytes == Some(self.received_bytes)
    }

    /// Reads and forgets up to `bytes_max` more bytes, so that an answer given early still arrives. Returns
    /// whether the body was read to its end.
    pub async fn drain(&mut self, bytes_max: u64) -> bool {
        let stop_at = self.received_bytes.saturating_add(bytes_max);
        while self.received_bytes <= stop_at {
            match self.piece().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Cut> {
        if self.ended {
            return Ok(None);
        }
        match self.source.next().await {
            Some(Ok(piece)) => {
                self.received_bytes = self.received_bytes.saturating_add(piece.len() as u64);
                if let Some(on_arrival) = &mut self.on_arrival {
                    on_arrival(piece.len() as u64);
                }
                self.pace.bytes(piece.len()).await;
                Ok(Some(piece))
            }
            Some(Err(cut)) => {
                self.ended = true;
                Err(cut)
            }
            None => {
                self.ended = true;
                match self.declared_bytes {
                    Some(declared) if declared != self.received_bytes => {
                        Err(Cut::Broken(format!("{} of {declared} bytes", self.received_bytes)))
                    }
                    _ => Ok(None),
                }
            }
        }
    }

    fn check_declared(&self, sizes: &RangeInclusive<u64>) -> Result<(), BodyError> {
        match self.declared_bytes {
            Some(declared) if declared > *sizes.end() => Err(BodyError::TooLong(*sizes.end())),
            Some(declared) if declared < *sizes.start() => Err(BodyError::TooShort(*sizes.start())),
            _ => Ok(()),
        }
    }
}

/// Content whose SHA-256 is its name, as a stream that fails otherwise.
#[derive(Debug)]
pub struct VerifiedBody<'a> {
    upload: &'a mut Upload,
    /// Whether the content must have the form of a key.
    must_be_key: bool,
    id: FileId,
    sizes: RangeInclusive<u64>,
    hash: Sha256,
    /// What of the last piece has not been taken over yet.
    rest: Bytes,
    /// Small pieces, put together.
    filling: BytesMut,
    /// A chunk, hashed and held back, for it may be the last one.
    held: Option<Bytes>,
    /// After verification: the last chunk.
    last: Option<Bytes>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Arriving,
    Verified,
    Failed(BodyError),
}

impl<'a> VerifiedBody<'a> {
    /// The body of the file `id` of this type, which must have one of the sizes that `caps` allows.
    pub fn new(
        upload: &'a mut Upload,
        file_type: FileType,
        id: FileId,
        caps: &Caps,
    ) -> Result<Self, BodyError> {
        let sizes = caps.sizes(&Handle::File(file_type, id));
        upload.check_declared(&sizes)?;
        Ok(Self {
            upload,
            must_be_key: file_type == FileType::Keys && caps.of_hosts,
            id,
            sizes,
            hash: Sha256::new(),
            rest: Bytes::new(),
            filling: BytesMut::new(),
            held: None,
            last: None,
            state: State::Arriving,
        })
    }

    /// The next chunk; `None` at the end of content that was verified. After an error the same error again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match &self.state {
                State::Failed(error) => return Err(error.clone()),
                State::Verified => return Ok(self.held.take().or_else(|| self.last.take())),
                State::Arriving => {
                    if let Some(chunk) = self.advance().await.inspect_err(|error| {
                        self.state = State::Failed(error.clone());
                    })? {
                        return Ok(Some(chunk));
                    }
                }
            }
        }
    }

    /// Reads the content to its end without keeping it.
    pub async fn verify(&mut self) -> Result<(), BodyError> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// Takes over one piece, or finishes. A chunk becomes free when it is known that another one follows.
    async fn advance(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.rest.is_empty() {
            let Some(piece) = self.upload.piece().await? else {
                self.finish()?;
                return Ok(None);
            };
            self.rest = piece;
            if self.upload.received_bytes() > *self.sizes.end() {
                return Err(BodyError::TooLong(*self.sizes.end()));
            }
        }
        let enough = self.gathered_bytes();
        if !self.filling.is_empty() || self.rest.len() < enough {
            if self.filling.capacity() == 0 {
                self.filling.reserve(self.expected_bytes().min(enough));
            }
            let free = enough.saturating_sub(self.filling.len());
            let taken = self.rest.split_to(free.min(self.rest.len()));
            self.filling.extend_from_slice(&taken);
            if self.filling.len() < enough {
                return Ok(None);
            }
            let chunk = std::mem::take(&mut self.filling).freeze();
            return Ok(self.hand_on(chunk));
        }
        let chunk = self.rest.split_to(self.rest.len().min(CHUNK_BYTES));
        Ok(self.hand_on(chunk))
    }

    /// Hashes a chunk and hands it on if it cannot be the last one; else holds it back instead of the one before.
    fn hand_on(&mut self, chunk: Bytes) -> Option<Bytes> {
        self.hash.update(&chunk);
        if self.held.is_none() && self.is_more_announced() { Some(chunk) } else { self.held.replace(chunk) }
    }

    /// Whether more must come: a body that ends short of its announced length is an error.
    fn is_more_announced(&self) -> bool {
        !self.rest.is_empty()
            || self.upload.declared_bytes.is_some_and(|declared| declared > self.upload.received_bytes)
    }

    /// A key is looked at as a whole; its cap is below one chunk.
    fn gathered_bytes(&self) -> usize {
        if self.must_be_key { CHUNK_BYTES } else { GATHER_BYTES }
    }

    /// A small file gets a small buffer, if it said so.
    fn expected_bytes(&self) -> usize {
        let declared = self.upload.declared_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        declared.unwrap_or(CHUNK_BYTES).max(1)
    }

    fn finish(&mut self) -> Result<(), BodyError> {
        let size = self.upload.received_bytes();
        if size < *self.sizes.start() {
            return Err(BodyError::TooShort(*self.sizes.start()));
        }
        let last = std::mem::take(&mut self.filling).freeze();
        self.hash.update(&last);
        let digest: [u8; 32] = std::mem::take(&mut self.hash).finalize().into();
        if digest != *self.id.sha256() {
            return Err(BodyError::Mismatch);
        }
        if self.must_be_key {
            key::check(&last)?;
        }
        self.last = Some(last).filter(|last| !last.is_empty());
        self.state = State::Verified;
        Ok(())
    }
}

/// Content of `config`, which has no name to match: complete, and small enough to be held in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigBody(Bytes);

impl ConfigBody {
    /// Reads the whole body.
    pub async fn read(upload: &mut Upload, caps: &Caps) -> Result<Self, BodyError> {
        let sizes = caps.sizes(&Handle::Config);
        upload.check_declared(&sizes)?;
        let mut content = BytesMut::new();
        while let Some(piece) = upload.piece().await? {
            if upload.received_bytes() > *sizes.end() {
                return Err(BodyError::TooLong(*sizes.end()));
            }
            content.extend_from_slice(&piece);
        }
        if upload.received_bytes() < *sizes.start() {
            return Err(BodyError::TooShort(*sizes.start()));
        }
        Ok(Self(content.freeze()))
    }

    /// The content.
    #[must_use]
    pub const fn content(&self) -> &Bytes {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;

    fn arriving(pieces: &[usize], declared: bool) -> (Upload, Vec<u8>) {
        let content: Vec<u8> =
            (0..pieces.iter().sum()).map(|at: usize| u8::try_from(at % 251).unwrap()).collect();
        let mut rest = Bytes::from(content.clone());
        let pieces: Vec<_> = pieces.iter().map(|len| Ok(rest.split_to(*len))).collect();
        let declared = declared.then_some(content.len() as u64);
        (Upload::new(Box::pin(stream::iter(pieces)), declared), content)
    }

    async fn handed_on(upload: &mut Upload, id: FileId) -> (usize, Option<BodyError>) {
        let mut body = VerifiedBody::new(upload, FileType::Data, id, &Caps::default()).unwrap();
        let mut bytes = 0;
        loop {
            match body.next().await {
                Ok(Some(chunk)) => bytes += chunk.len(),
                Ok(None) => return (bytes, None),
                Err(error) => return (bytes, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_hash_to_its_name_is_never_handed_on_to_its_end() {
        for pieces in [
            &[40][..],
            &[70_000],
            &[300_000],
            &[65_536, 65_536, 65_536],
            &[65_536, 1],
            &[100, 200_000, 100],
            &[16_384, 16_384, 0],
            &[131_072, 131_072],
        ] {
            for declared in [true, false] {
                let (mut upload, content) = arriving(pieces, declared);
                let good = FileId::from_sha256(Sha256::digest(&content).into());
                assert_eq!(handed_on(&mut upload, good).await, (content.len(), None), "{pieces:?}");
                let (mut upload, content) = arriving(pieces, declared);
                let (bytes, error) = handed_on(&mut upload, FileId::from_sha256([7; 32])).await;
                assert_eq!(error, Some(BodyError::Mismatch), "{pieces:?}");
                assert!(bytes < content.len(), "{pieces:?}, length declared: {declared}");
            }
        }
    }

    #[test]
    fn nothing_is_held_back_while_more_is_announced() {
        for (declared, expected) in [(Some(1 << 20), Some(65_536)), (Some(65_536), None), (None, None)] {
            let piece = Ok(Bytes::from(vec![0; 65_536]));
            let source = stream::iter([piece]).chain(stream::pending());
            let mut upload = Upload::new(Box::pin(source), declared);
            let id = FileId::from_sha256([7; 32]);
            let mut body = VerifiedBody::new(&mut upload, FileType::Data, id, &Caps::default()).unwrap();
            let first = body.next().now_or_never().map(|chunk| chunk.unwrap().unwrap().len());
            assert_eq!(first, expected, "declared: {declared:?}");
        }
    }
}
