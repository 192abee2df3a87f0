//! Listings as restic reads them.
//!
//! Invariant: the first byte is sent at once, one batch is in memory at a time, and the closing bracket is sent
//! only after the last file: a listing that fails is cut, for restic would take a short one for complete.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::HeaderMap;
use hyper::body::Frame;
use hyper::header::ACCEPT;
use pawl_store::{Entry, StoreError};

use super::respond::Body;

/// The two forms of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Names only.
    V1,
    /// Names and sizes.
    V2,
}

impl Version {
    /// The form that the client asks for. Anything but version 2 means version 1 (restic `doc/REST_backend.rst`).
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let mut kinds = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let v2 = kinds.any(|kinds| kinds.split(',').any(|kind| kind.trim() == Self::V2.content_type()));
        if v2 { Self::V2 } else { Self::V1 }
    }

    /// restic takes anything but exactly this for version 1.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/vnd.x.restic.rest.v1",
            Self::V2 => "application/vnd.x.restic.rest.v2",
        }
    }
}

/// The JSON array of all entries, made as they arrive.
pub(super) fn body(
    batches: impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + 'static,
    version: Version,
) -> Body {
    let mut first = true;
    let middle = batches.map_ok(move |batch| render(&batch, version, &mut first));
    let opening = stream::iter([Ok(Bytes::from_static(b"["))]);
    let closing = stream::iter([Ok(Bytes::from_static(b"]"))]);
    let pieces = Box::pin(opening.chain(middle).chain(closing));
    // Ends for good at the first error, before the closing bracket.
    let until_error = stream::try_unfold(pieces, |mut pieces| async move {
        Ok(pieces.try_next().await?.map(|piece| (piece, pieces)))
    });
    StreamBody::new(until_error.map_ok(Frame::data)).boxed_unsync()
}

fn render(batch: &[Entry], version: Version, first: &mut bool) -> Bytes {
    let mut text = String::with_capacity(batch.len() * 96);
    for Entry { id, size } in batch {
        if !std::mem::take(first) {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = match version {
            Version::V1 => write!(text, "\"{id}\""),
            Version::V2 => write!(text, "{{\"name\":\"{id}\",\"size\":{size}}}"),
        };
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use pawl_policy::FileId;

    use super::*;

    fn entry(first: u8) -> Entry {
        Entry { id: FileId::from_sha256([first; 32]), size: u64::from(first) }
    }

    async fn collected(
        batches: Vec<Result<Vec<Entry>, StoreError>>,
        version: Version,
    ) -> Result<String, String> {
        let collected =
            body(stream::iter(batches), version).collect().await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(collected.to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn batches_become_one_array() {
        let text =
            collected(vec![Ok(vec![entry(1), entry(2)]), Ok(vec![entry(3)])], Version::V2).await.unwrap();
        let json: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let sizes: Vec<_> = json.iter().map(|entry| entry["size"].as_u64().unwrap()).collect();
        assert_eq!(sizes, [1, 2, 3]);
        let text = collected(vec![Ok(vec![entry(1)])], Version::V1).await.unwrap();
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), [entry(1).id.to_string()]);
        assert_eq!(collected(vec![], Version::V2).await.unwrap(), "[]");
    }

    #[tokio::test]
    async fn a_listing_that_fails_midway_is_never_closed() {
        let batches = vec![Ok(vec![entry(1)]), Err(StoreError::Unavailable("disk".to_owned()))];
        let mut body = body(stream::iter(batches), Version::V2);
        let mut sent = Vec::new();
        let error = loop {
            match body.frame().await {
                Some(Ok(frame)) => sent.extend_from_slice(frame.data_ref().unwrap()),
                Some(Err(error)) => break error,
                None => unreachable!("the listing must end in an error"),
            }
        };
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert!(sent.starts_with(b"[{") && !sent.ends_with(b"]"));
    }

    #[test]
    fn only_the_exact_kind_is_version_2() {
        for (accept, version) in [
            ("application/vnd.x.restic.rest.v2", Version::V2),
            ("application/vnd.x.restic.rest.v1, application/vnd.x.restic.rest.v2", Version::V2),
            ("application/vnd.x.restic.rest.v1", Version::V1),
            ("application/vnd.x.restic.rest.v22", Version::V1),
            ("*/*", Version::V1),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Version::accepted(&headers), version, "{accept}");
        }
        assert_eq!(Version::accepted(&HeaderMap::new()), Version::V1);
    }
}
