//! Listing packs in several ranges of names at once.
//!
//! Invariant: each name lies in exactly one range, and a range ends only where the store has named something behind it,
//! or nothing more. A store that lists out of order is refused: where it ends could not be told.

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use pawl_policy::FileType;

use crate::StoreError;
use crate::s3::names::{self, Object};
use crate::s3::{S3Store, layout};

/// Ranges of one repository's `data` at a time. Each has one page in memory, which is some 400 KiB of XML.
const PARALLEL: u32 = 8;
/// Places to which names are told apart here: by their first two bytes. They are hashes, and so spread evenly.
const PLACES: u32 = 1 << 16;

/// Names after one, until another.
#[derive(Debug)]
struct Range {
    after: String,
    /// None for the last range.
    until: Option<String>,
}

/// All packs whose names come after `last`, the last of the first page, page by page, in no order.
pub(super) fn rest(
    store: &S3Store,
    bucket: &str,
    files: &str,
    last: String,
) -> impl Stream<Item = Result<Vec<Object>, StoreError>> + Send + use<> {
    let (store, bucket, prefix) = (store.clone(), bucket.to_owned(), files.to_owned());
    stream::iter(ranges(files, last))
        .map(move |range| {
            let pages = names::objects(&store, &bucket, &prefix, Some(range.after.clone()));
            Box::pin(within(range, pages))
        })
        .flatten_unordered(PARALLEL as usize)
}

/// What comes after `last`, in as many ranges as pages are expected, and one more: then it is seldom that chance makes one
/// a little longer than a page.
fn ranges(files: &str, last: String) -> Vec<Range> {
    let seen = place(files, &last);
    let ahead = PLACES - seen;
    let count = (ahead.div_ceil(seen.max(1)) + 1).min(PARALLEL);
    let bounds = (1..count).map(|number| beginning(files, seen + ahead * number / count));
    let mut ranges = Vec::new();
    let mut after = last;
    for until in bounds {
        if until > after {
            ranges.push(Range { after: std::mem::replace(&mut after, until.clone()), until: Some(until) });
        }
    }
    ranges.push(Range { after, until: None });
    ranges
}

/// How far a name is from the first to the last. What is no pack's counts as the first.
fn place(files: &str, key: &str) -> u32 {
    let id = layout::id_in(key, files, FileType::Data);
    id.map_or(0, |id| {
        let [first, second, ..] = *id.sha256();
        u32::from(u16::from_be_bytes([first, second]))
    })
}

/// What the names at a place begin with.
fn beginning(files: &str, place: u32) -> String {
    let [.., first, second] = place.to_be_bytes();
    format!("{files}{first:02x}/{first:02x}{second:02x}")
}

/// Of the pages that follow what the range comes after, as much as belongs to it.
fn within(
    range: Range,
    pages: impl Stream<Item = Result<Vec<Object>, StoreError>> + Send + Unpin,
) -> impl Stream<Item = Result<Vec<Object>, StoreError>> + Send {
    stream::try_unfold(Some((range, pages)), |state| async move {
        let Some((mut range, mut pages)) = state else { return Ok(None) };
        let Some(mut page) = pages.try_next().await? else { return Ok(None) };
        for object in &page {
            if object.key <= range.after {
                let cause =
                    format!("the store lists names out of order: {} after {}", object.key, range.after);
                return Err(StoreError::Unavailable(cause));
            }
            range.after.clone_from(&object.key);
        }
        let is_over = range.until.as_ref().is_some_and(|until| range.after > *until);
        page.retain(|object| range.until.as_ref().is_none_or(|until| object.key <= *until));
        Ok(Some((page, (!is_over).then_some((range, pages)))))
    })
}

#[cfg(test)]
mod tests {
    use pawl_policy::FileId;
    use sha2::{Digest, Sha256};

    use super::*;

    const FILES: &str = "p/r/data/";

    fn object(key: impl Into<String>) -> Object {
        Object { key: key.into(), size: 1, modified_ms: 0, etag: None }
    }

    fn keys(count: u32) -> Vec<String> {
        let ids = (0..count).map(|number| FileId::from_sha256(Sha256::digest(number.to_le_bytes()).into()));
        let mut keys: Vec<_> = ids.map(|id| format!("{FILES}{}/{id}", &id.to_string()[..2])).collect();
        keys.extend(["", "00", "zz/else"].map(|foreign| format!("{FILES}{foreign}")));
        keys.extend((0..=u16::MAX).step_by(97).map(|place| beginning(FILES, place.into())));
        keys.sort_unstable();
        keys
    }

    async fn listed(keys: &[String], page_len: usize) -> Result<(Vec<String>, usize), StoreError> {
        let (first, rest) = keys.split_at(page_len.min(keys.len()));
        let (mut all, mut pages_read) = (first.to_vec(), 0);
        for range in ranges(FILES, first.last().unwrap().clone()) {
            let begin = rest.partition_point(|key| *key <= range.after);
            let pages: Vec<_> = rest[begin..].chunks(page_len).collect();
            let pages = pages.into_iter().map(|page| Ok(page.iter().map(object).collect()));
            let pages = stream::iter(pages).inspect(|_| pages_read += 1);
            let pages: Vec<_> = within(range, pages).try_collect().await?;
            all.extend(pages.into_iter().flatten().map(|object| object.key));
        }
        all.sort_unstable();
        Ok((all, pages_read))
    }

    #[tokio::test]
    async fn each_name_is_in_one_range_whatever_the_first_page_ends_with() {
        let keys = keys(3000);
        for page_len in [1, 2, 3, 10, 100, 700, 1000, keys.len() - 1, keys.len()] {
            let (all, pages_read) = listed(&keys, page_len).await.unwrap();
            assert!(all == keys, "{page_len}");
            let needed = (keys.len() - page_len).div_ceil(page_len);
            assert!(pages_read <= needed + PARALLEL as usize, "{page_len}: {pages_read} pages, not {needed}");
        }
    }

    #[tokio::test]
    async fn a_list_out_of_order_is_an_error() {
        for wrong in [["b", "a"], ["b", "b"], ["", "a"]] {
            let range = Range { after: String::new(), until: Some("c".to_owned()) };
            let pages = stream::iter([Ok(wrong.map(object).to_vec())]);
            let pages: Result<Vec<_>, _> = within(range, pages).try_collect().await;
            assert!(matches!(pages, Err(StoreError::Unavailable(_))), "{wrong:?}");
        }
    }
}
