//! Reading a stored file.
//!
//! Invariant: exactly the span that was asked for, or an error; the store is read no faster than the client takes, and
//! no further once it has gone.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{Stream, future, stream};
use pawl_policy::{Handle, Permitted, Read};
use tokio::time::timeout;

use super::S3Store;
use super::facts::size;
use super::failure::{Failure, failure, store_error};
use crate::{Part, Span, StoreError, StoredFile};

/// How long the store may take to begin.
const BEGIN_MAX: Duration = Duration::from_secs(30);

/// Where the bytes of a file lie.
#[derive(Debug, Clone)]
struct Place {
    bucket: String,
    key: String,
    version: Option<String>,
}

/// A stored file, of which a part may be on its way already.
#[derive(Debug)]
pub struct S3File {
    store: S3Store,
    place: Place,
    size: u64,
    begun: Option<Begun>,
}

/// An answer of the store whose bytes are still to be taken.
#[derive(Debug)]
struct Begun {
    span: Span,
    bytes: ByteStream,
}

/// Opens a file, and asks for the part that will be read in the same breath.
pub(super) async fn open(
    store: &S3Store,
    permit: &Permitted<Read>,
    part: Part,
) -> Result<S3File, StoreError> {
    let Read { repository, handle } = permit.action();
    if store.is_aside(repository, handle).await? {
        return Err(StoreError::NotFound);
    }
    let version = match handle {
        Handle::Config => store.true_config(repository).await?.ok_or(StoreError::NotFound)?,
        Handle::File(..) => None,
    };
    let place = Place {
        bucket: store.bucket(handle).to_owned(),
        key: store.layout.file(repository, handle),
        version,
    };
    let range = match part {
        Part::Whole => None,
        Part::From { start, end: Some(end) } if end > start => Some(format!("bytes={start}-{}", end - 1)),
        Part::From { start, .. } => Some(format!("bytes={start}-")),
        Part::Unknown => return just_size(store, place).await,
    };
    match get(store, &place, range).await? {
        Some((begun, size)) => Ok(S3File { store: store.clone(), place, size, begun: Some(begun) }),
        None => just_size(store, place).await, // the part lies behind the end
    }
}

/// Opens what lies under a name in the bucket, and asks for all of it in the same breath; the version that is shown unless
/// one is named.
pub(super) async fn open_version(
    store: &S3Store,
    bucket: &str,
    key: &str,
    version: Option<String>,
) -> Result<S3File, StoreError> {
    let place = Place { bucket: bucket.to_owned(), key: key.to_owned(), version };
    let (begun, size) = get(store, &place, None).await?.ok_or_else(cut)?;
    Ok(S3File { store: store.clone(), place, size, begun: Some(begun) })
}

async fn just_size(store: &S3Store, place: Place) -> Result<S3File, StoreError> {
    let head = store.clients.quick.head_object().bucket(&place.bucket).key(&place.key);
    let head = head.set_version_id(place.version.clone()).send().await;
    let size = size(head.map_err(|error| store_error("HEAD", &error))?.content_length());
    Ok(S3File { store: store.clone(), place, size, begun: None })
}

/// Begins to read; `None` if the range lies behind the end. Returns the file's size as well.
async fn get(
    store: &S3Store,
    place: &Place,
    range: Option<String>,
) -> Result<Option<(Begun, u64)>, StoreError> {
    let get = store.clients.quick.get_object().bucket(&place.bucket).key(&place.key);
    let get = get.set_version_id(place.version.clone()).set_range(range).send();
    let answer = match timeout(BEGIN_MAX, get).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if failure(&error) == Failure::Range => return Ok(None),
        Ok(Err(error)) => return Err(store_error("GET", &error)),
        Err(_) => return Err(StoreError::Unavailable("GET: the store does not answer".to_owned())),
    };
    if answer.content_length().is_none() {
        return Err(StoreError::Unavailable("GET: the store does not say how much it sends".to_owned()));
    }
    let len = size(answer.content_length());
    let (start, whole) = match answer.content_range() {
        None => (0, len),
        Some(range) => content_range(range)
            .ok_or_else(|| StoreError::Unavailable(format!("GET: the store sent '{range}' for a range")))?,
    };
    Ok(Some((Begun { span: Span { start, len }, bytes: answer.body }, whole)))
}

/// First byte and size of the file, from `bytes 0-9/100`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, size.parse().ok()?))
}

impl StoredFile for S3File {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(self, span: Span) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
        stream::try_unfold(Reading::new(self, span), Reading::next)
    }
}

/// What is still to be sent.
struct Reading {
    file: Option<S3File>,
    bytes: Option<ByteStream>,
    span: Span,
    patience: Duration,
}

impl Reading {
    fn new(mut file: S3File, span: Span) -> Self {
        let begun = file.begun.take();
        let fits = |begun: &Begun| begun.span.start == span.start && begun.span.len >= span.len;
        let bytes = begun.filter(fits).map(|begun| begun.bytes);
        let patience = file.store.clients.patience.silence;
        Self { file: Some(file), bytes, span, patience }
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        if self.span.len == 0 {
            return Ok(None);
        }
        let mut bytes = match (self.bytes.take(), self.file.take()) {
            (Some(bytes), _) => bytes,
            (None, Some(file)) => begin(&file, self.span).await?,
            (None, None) => return Err(cut()),
        };
        let chunk = loop {
            match timeout(self.patience, bytes.next()).await {
                Ok(Some(Ok(chunk))) if chunk.is_empty() => {}
                Ok(Some(Ok(chunk))) => break chunk,
                Ok(Some(Err(error))) => return Err(StoreError::Unavailable(format!("GET: {error}"))),
                Ok(None) => return Err(cut()),
                Err(_) => return Err(StoreError::Unavailable("GET: the store has fallen silent".to_owned())),
            }
        };
        let wanted = usize::try_from(self.span.len).unwrap_or(usize::MAX).min(chunk.len());
        let len = wanted as u64;
        let span =
            Span { start: self.span.start.saturating_add(len), len: self.span.len.saturating_sub(len) };
        Ok(Some((
            chunk.slice(..wanted),
            Self { file: None, bytes: Some(bytes), span, patience: self.patience },
        )))
    }
}

async fn begin(file: &S3File, span: Span) -> Result<ByteStream, StoreError> {
    let last = span.start.saturating_add(span.len).saturating_sub(1);
    let (begun, _) =
        get(&file.store, &file.place, Some(format!("bytes={}-{last}", span.start))).await?.ok_or_else(cut)?;
    if begun.span == span { Ok(begun.bytes) } else { Err(cut()) }
}

fn cut() -> StoreError {
    StoreError::Unavailable("GET: the store sent less than was asked for".to_owned())
}

impl S3Store {
    /// The content under a name, at most `bytes_max` bytes of it.
    pub(super) async fn read_small(
        &self,
        bucket: &str,
        key: &str,
        version: Option<String>,
        bytes_max: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let file = open_version(self, bucket, key, version).await?;
        let span = Span { start: 0, len: file.size.min(bytes_max) };
        let mut content = Vec::new();
        futures_util::TryStreamExt::try_for_each(file.read(span), |chunk| {
            content.extend_from_slice(&chunk);
            future::ready(Ok(()))
        })
        .await?;
        Ok(content)
    }

    /// The bytes of a file from its beginning to its end.
    pub(super) async fn read_whole(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static + use<>, StoreError> {
        let file = open_version(self, bucket, key, None).await?;
        let len = file.size;
        Ok(file.read(Span { start: 0, len }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_understood() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 100)));
        for text in ["bytes 5-9/*", "5-9/100", "bytes */100", "bytes 5/100", ""] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
