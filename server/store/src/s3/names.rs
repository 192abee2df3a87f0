//! Listing names in the bucket.
//!
//! Invariant: one page in memory at a time; an error ends the stream, and is never taken for the end of the list.

use std::pin::Pin;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_objects_v2::{ListObjectsV2Error, ListObjectsV2Output};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::S3Store;
use super::facts::{millis, size};
use super::failure::{Failure, failure, store_error};
use crate::StoreError;

/// Why a page was not to be had.
pub(super) type ListFailed = SdkError<ListObjectsV2Error, HttpResponse>;

/// One name in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) modified_ms: u64,
    pub(super) etag: Option<String>,
}

/// The names that begin with `prefix`, in pages.
#[expect(clippy::result_large_err, reason = "the SDK's own error")]
pub(super) fn pages(
    store: &S3Store,
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<String>,
) -> Pin<Box<dyn Stream<Item = Result<ListObjectsV2Output, ListFailed>> + Send>> {
    let list = store
        .clients
        .quick
        .list_objects_v2()
        .bucket(bucket)
        .prefix(prefix)
        .set_delimiter(delimiter.map(str::to_owned))
        .set_start_after(after);
    let mut pages = list.into_paginator().send();
    let pages = stream::poll_fn(move |context| Pin::new(&mut pages).poll_next(context));
    Box::pin(pages.map(|page| page.and_then(whole)))
}

/// A page that promises more and does not say how to get it would end the list as if it were complete.
#[expect(clippy::result_large_err, reason = "the SDK's own error")]
fn whole(page: ListObjectsV2Output) -> Result<ListObjectsV2Output, ListFailed> {
    let next = page.next_continuation_token().filter(|next| !next.is_empty());
    if page.is_truncated() == Some(true) && (next.is_none() || next == page.continuation_token()) {
        return Err(SdkError::construction_failure(
            "the store promises more names and does not say how to get them",
        ));
    }
    Ok(page)
}

/// The beginning of a list.
#[derive(Debug)]
pub(super) struct FirstPage {
    pub(super) objects: Vec<Object>,
    /// Whether there is nothing more.
    pub(super) is_all: bool,
}

/// As many of the objects whose names begin with `prefix` as the store gives at once.
pub(super) async fn first_page(store: &S3Store, bucket: &str, prefix: &str) -> Result<FirstPage, StoreError> {
    let list = store.clients.quick.list_objects_v2().bucket(bucket).prefix(prefix);
    let page = list.send().await.map_err(|error| failed(&format!("cannot list {prefix}"), &error))?;
    let is_all = page.is_truncated() != Some(true);
    Ok(FirstPage {
        objects: page.contents.unwrap_or_default().into_iter().filter_map(object).collect(),
        is_all,
    })
}

/// The objects whose names begin with `prefix`, page by page.
pub(super) fn objects(
    store: &S3Store,
    bucket: &str,
    prefix: &str,
    after: Option<String>,
) -> impl Stream<Item = Result<Vec<Object>, StoreError>> + Send + Unpin + use<> {
    let what = format!("cannot list {prefix}");
    pages(store, bucket, prefix, None, after).map(move |page| match page {
        Ok(page) => Ok(page.contents.unwrap_or_default().into_iter().filter_map(object).collect()),
        Err(error) => Err(failed(&what, &error)),
    })
}

/// All objects whose names begin with `prefix`. For lists that are short.
pub(super) async fn all(store: &S3Store, bucket: &str, prefix: &str) -> Result<Vec<Object>, StoreError> {
    let mut all = Vec::new();
    let mut pages = objects(store, bucket, prefix, None);
    while let Some(page) = pages.next().await {
        all.extend(page?);
    }
    Ok(all)
}

/// "Not found" of a listing is the bucket, which is no answer for a host.
pub(super) fn failed(what: &str, error: &ListFailed) -> StoreError {
    match failure(error) {
        Failure::Absent => StoreError::Unavailable(format!("{what}: there is no such bucket")),
        _ => match store_error(what, error) {
            StoreError::NotFound => StoreError::Unavailable(format!("{what}: there is no such bucket")),
            other => other,
        },
    }
}

fn object(object: aws_sdk_s3::types::Object) -> Option<Object> {
    let (size, modified_ms) = (size(object.size), millis(object.last_modified()));
    Some(Object { key: object.key?, size, modified_ms, etag: object.e_tag })
}
