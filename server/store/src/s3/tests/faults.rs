//! What no server does on demand: conflicts, lost replies, silence, and pages that do not come.
//!
//! Invariant: what is answered is true, whatever the line does: an error is never taken for absence, nor an unknown end
//! for a known one.

use bytes::Bytes;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_policy::{FileType, Handle};

use super::*;
use crate::StoredFile;
use crate::body::Upload;
use crate::conformance::{Outcome, content, id_of, permit, repository, upload};

/// More than one chunk, so that it is streamed.
const LARGE: usize = 300_000;

fn index(content: &[u8]) -> Handle {
    Handle::File(FileType::Index, id_of(content))
}

fn data(content: &[u8]) -> Handle {
    Handle::File(FileType::Data, id_of(content))
}

async fn initialised() -> Fixture<S3Store, Place> {
    let f = behind_a_line().await;
    f.initialised().await;
    f
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_looked_up() {
    for len in [1000, LARGE] {
        let f = initialised().await;
        f.fail(Which::first("PUT", "/data/"), Fault::LoseAnswer);
        let content = content(1, len);
        assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored, "{len}");
        assert_eq!(f.place.line().faults(), 1);
        assert_eq!(f.read(FileType::Data, id_of(&content)).await, Some(content));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_answer_are_no_end() {
    let f = initialised().await;
    let small = content(1, 1000);
    for (method, target) in [("PUT", "/data/"), ("HEAD", "/data/"), ("GET", "list-type")] {
        f.fail(Which::first(method, target), Fault::Gibberish);
    }
    assert_eq!(f.create(FileType::Data, &small).await, Outcome::Stored);
    f.store.facts.forget(&f.store.layout.file(&repository(), &data(&small)));
    assert!(f.store.facts(&repository(), &data(&small)).await.unwrap().is_some());
    assert_eq!(f.list(FileType::Data).await.map(|files| files.len()), Some(1));
    assert_eq!(f.place.line().faults(), 3);
    // What was streamed is not sent a second time: the host does it.
    f.fail(Which::first("PUT", "/data/"), Fault::Gibberish);
    assert_eq!(f.create(FileType::Data, &content(2, LARGE)).await, Outcome::Failed);
    assert_eq!(f.create(FileType::Data, &content(2, LARGE)).await, Outcome::Stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_reach_the_store_is_not_said_to_be_stored() {
    let f = initialised().await;
    f.fail(Which::all("PUT", "/data/"), Fault::Cut);
    for len in [1000, LARGE] {
        assert_eq!(f.create(FileType::Data, &content(1, len)).await, Outcome::Failed, "{len}");
    }
    assert_eq!(f.list(FileType::Data).await, Some(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_an_error_unless_the_other_one_stored_the_same() {
    let f = initialised().await;
    f.fail(Which::all("PUT", "/data/"), Fault::Answer(409, "ConditionalRequestConflict"));
    let content = content(1, LARGE);
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::Failed);
    let key = f.store.layout.file(&repository(), &data(&content));
    f.place.line().heal();
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored);
    f.fail(Which::all("PUT", "/data/"), Fault::Answer(409, "ConditionalRequestConflict"));
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::AlreadyThere);
    assert_eq!(f.place.bucket.get(&key).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_is_asked_again_where_the_content_is_still_there() {
    let f = initialised().await;
    f.fail(Which::first("PUT", "/data/"), Fault::Answer(503, "SlowDown"));
    assert_eq!(f.create(FileType::Data, &content(1, 1000)).await, Outcome::Stored);
    f.place.line().heal();
    f.fail(Which::first("PUT", "/data/"), Fault::Answer(503, "SlowDown"));
    assert_eq!(f.create(FileType::Data, &content(2, LARGE)).await, Outcome::Failed);
    assert_eq!(f.create(FileType::Data, &content(2, LARGE)).await, Outcome::Stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_store_is_neither_absence_nor_a_hosts_fault() {
    let f = initialised().await;
    let content = content(1, 1000);
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored);
    for (status, code) in [(403, "AccessDenied"), (500, "InternalError"), (404, "NoSuchBucket")] {
        f.place.line().heal();
        for method in ["GET", "HEAD", "PUT"] {
            f.fail(Which::all(method, ""), Fault::Answer(status, code));
        }
        let facts = f.store.facts(&repository(), &data(&content)).await;
        assert!(matches!(facts, Err(StoreError::Unavailable(_))), "{code}: {facts:?}");
        let opened = f.open(FileType::Data, id_of(&content)).await;
        assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{code}: {opened:?}");
        let survey = f.store.survey(&repository(), &index(b"new")).await;
        assert!(matches!(survey, Err(StoreError::Unavailable(_))), "{code}: {survey:?}");
        let sent = f.create(FileType::Data, &conformance::content(2, 1000)).await;
        assert_eq!(sent, Outcome::Failed, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_known_while_the_store_is_away() {
    let f = initialised().await;
    let line = f.place.line();
    line.go_away();
    assert!(f.store.survey(&repository(), &index(b"new")).await.is_err());
    assert_eq!(f.create(FileType::Data, &content(1, LARGE)).await, Outcome::Failed);
    line.come_back();
    assert_eq!(f.create(FileType::Data, &content(1, LARGE)).await, Outcome::Stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_is_an_error_and_no_short_file() {
    let f = initialised().await;
    let content = content(1, LARGE);
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored);
    f.fail(Which::first("GET", "/data/"), Fault::CutAnswer(100_000));
    let file = f.open(FileType::Data, id_of(&content)).await.unwrap();
    let span = crate::Span { start: 0, len: file.size() };
    let read: Vec<_> = file.read(span).collect().await;
    assert!(matches!(read.last(), Some(Err(StoreError::Unavailable(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_host_is_not_taken_for_a_stalled_store() {
    let mut f = initialised().await;
    let shared = Arc::get_mut(&mut f.store.shared).unwrap();
    shared.clients.patience.taking = Duration::from_millis(1500);
    let content = content(1, 1 << 20);
    let pieces: Vec<_> = content.chunks(300_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let slowly = stream::iter(pieces).then(|piece| async {
        tokio::time::sleep(Duration::from_secs(2)).await; // longer than that
        piece
    });
    let slow = Upload::new(Box::pin(slowly), Some(content.len() as u64));
    assert_eq!(f.send(data(&content), slow).await, Outcome::Stored);

    f.fail(Which::all("PUT", "/data/"), Fault::Stall);
    // More than the line's and the kernel's buffers take.
    let content = conformance::content(2, 32 << 20);
    assert_eq!(f.send(data(&content), upload(&content)).await, Outcome::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_is_whole_or_an_error() {
    let f = initialised().await;
    let ids: Vec<_> = (0..2300_u32).map(|number| id_of(&number.to_le_bytes())).collect();
    let puts = ids.iter().map(|id| f.store.layout.file(&repository(), &Handle::File(FileType::Data, *id)));
    for key in puts {
        f.place.bucket.put(&key, b"x").unwrap();
    }
    let mut expected: Vec<_> = ids.iter().map(|id| (*id, 1)).collect();
    expected.sort_unstable();
    assert_eq!(f.list(FileType::Data).await, Some(expected));
    f.fail(Which::nth("GET", "/?list-type=2*data%2F", 3), Fault::Answer(403, "AccessDenied"));
    let action = pawl_policy::Action::List(List { repository: repository(), file_type: FileType::Data });
    let pawl_policy::Permit::List(permit) = permit(action, pawl_policy::FileState::Absent) else {
        unreachable!()
    };
    let listed: Result<Vec<_>, _> = f.store.list(permit).await.unwrap().try_collect().await;
    assert!(matches!(listed, Err(StoreError::Unavailable(_))));
    assert_eq!(f.place.line().faults(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_recorded_checksums_what_is_stored_is_read() {
    let f = initialised().await;
    f.fail(Which::all("HEAD", ""), Fault::StripAnswer("x-amz-checksum-"));
    let content = content(1, LARGE);
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored);
    assert_eq!(f.confirm(FileType::Data, &content).await, Outcome::AlreadyThere);
    let key = f.store.layout.file(&repository(), &data(&content));
    f.place.bucket.put(&key, &conformance::content(2, LARGE)).unwrap();
    assert_eq!(f.confirm(FileType::Data, &content).await, Outcome::Damaged);
}
