//! What every store must do. A store joins with one line: `conformance::suite!(name, fixture)`.
//!
//! Invariant: nothing here knows which store it tests.

mod fixture;
pub(crate) mod maintenance;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pawl_policy::{Audience, FILE_BYTES_MIN, FileType, Handle, RepositoryState, Usage};

pub(crate) use fixture::{Fixture, Outcome, content, id_of, key, permit, principal, repository, upload};

use super::{AppendStore, Span, now_ms};
use crate::body::{Cut, Upload};

pub(crate) async fn a_stored_file_reads_back_whole_and_in_parts<S: AppendStore, P>(f: Fixture<S, P>) {
    f.initialised().await;
    for len in [0, 1, 31, 1000, 128 << 10, (128 << 10) + 1, (1 << 20) + 7] {
        let content = content(3, len);
        let handle = Handle::File(FileType::Data, id_of(&content));
        assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored, "{len}");
        assert_eq!(f.size(handle).await, Some(len as u64));
        assert_eq!(f.read_handle(handle, None).await.as_deref(), Some(&content[..]));
        let (start, end) = (len / 3, len - len / 4);
        let span = Span { start: start as u64, len: (end - start) as u64 };
        assert_eq!(f.read_handle(handle, Some(span)).await.as_deref(), Some(&content[start..end]));
    }
}

pub(crate) async fn nothing_is_stored_of_content_that_does_not_hash_to_its_name<S: AppendStore, P>(
    f: Fixture<S, P>,
) {
    f.initialised().await;
    for len in [100, 1 << 20] {
        let handle = Handle::File(FileType::Data, id_of(b"something else"));
        assert_eq!(f.send(handle, upload(&content(1, len))).await, Outcome::BadBody);
        assert_eq!(f.size(handle).await, None);
    }
    assert_eq!(f.list(FileType::Data).await, Some(vec![]));
}

pub(crate) async fn nothing_is_stored_of_a_body_that_is_cut<S: AppendStore, P>(f: Fixture<S, P>) {
    f.initialised().await;
    let content = content(1, 1 << 20);
    let handle = Handle::File(FileType::Data, id_of(&content));
    let pieces = vec![Ok(Bytes::copy_from_slice(&content[..1 << 19])), Err(Cut::Stalled)];
    let broken = Upload::new(Box::pin(stream::iter(pieces)), Some(1 << 20));
    assert_eq!(f.send(handle, broken).await, Outcome::BadBody);
    let short = Upload::new(Box::pin(stream::iter([Ok(Bytes::from(content.clone()))])), Some((1 << 20) + 1));
    assert_eq!(f.send(handle, short).await, Outcome::BadBody);
    assert_eq!((f.size(handle).await, f.list(FileType::Data).await), (None, Some(vec![])));
}

pub(crate) async fn sizes_beyond_the_caps_are_refused<S: AppendStore, P>(f: Fixture<S, P>) {
    f.initialised().await;
    for (file_type, len) in
        [(FileType::Locks, 31), (FileType::Locks, (64 << 10) + 1), (FileType::Keys, 17 << 10)]
    {
        let content = content(1, len);
        assert_eq!(f.create(file_type, &content).await, Outcome::BadBody);
        let handle = Handle::File(file_type, id_of(&content));
        let chunked = Upload::new(Box::pin(stream::iter([Ok(Bytes::from(content))])), None);
        assert_eq!(f.send(handle, chunked).await, Outcome::BadBody);
        assert_eq!(f.list(file_type).await, Some(vec![]));
    }
}

pub(crate) async fn a_key_is_stored_only_if_it_is_shaped_like_one<S: AppendStore, P>(f: Fixture<S, P>) {
    f.create_repository().await;
    for junk in [&content(1, 500)[..], br#"{"kdf":"scrypt","N":32768,"r":8,"p":5,"salt":"","data":"AAAA"}"#] {
        assert_eq!(f.create(FileType::Keys, junk).await, Outcome::BadBody);
    }
    assert_eq!(f.create(FileType::Keys, &key()).await, Outcome::Stored);
}

pub(crate) async fn the_same_file_again_is_already_there<S: AppendStore, P>(f: Fixture<S, P>) {
    f.initialised().await;
    let content = content(1, 300_000);
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored);
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::AlreadyThere);
    assert_eq!(f.confirm(FileType::Data, &content).await, Outcome::AlreadyThere);
    assert_eq!(f.read(FileType::Data, id_of(&content)).await, Some(content.clone()));
    assert_eq!(f.list(FileType::Data).await, Some(vec![(id_of(&content), 300_000)]));
}

pub(crate) async fn there_is_one_config_for_good<S: AppendStore, P>(f: Fixture<S, P>) {
    f.create_repository().await;
    assert_eq!(f.send(Handle::Config, upload(b"first")).await, Outcome::Stored);
    assert_eq!(f.send(Handle::Config, upload(b"second")).await, Outcome::Differs);
    assert_eq!(f.send(Handle::Config, upload(b"first")).await, Outcome::AlreadyThere);
    assert_eq!(f.read_handle(Handle::Config, None).await.as_deref(), Some(&b"first"[..]));
}

pub(crate) async fn of_many_that_send_one_name_at_once_one_stores<S: AppendStore, P>(f: Fixture<S, P>) {
    f.initialised().await;
    let content = content(1, 200_000);
    let sent = futures_util::future::join_all((0..16).map(|_| f.create(FileType::Data, &content))).await;
    assert_eq!(sent.iter().filter(|outcome| **outcome == Outcome::Stored).count(), 1);
    assert_eq!(sent.iter().filter(|outcome| **outcome == Outcome::AlreadyThere).count(), 15);
    assert_eq!(f.list(FileType::Data).await, Some(vec![(id_of(&content), 200_000)]));
}

pub(crate) async fn of_many_configs_at_once_one_stays<S: AppendStore, P>(f: Fixture<S, P>) {
    f.create_repository().await;
    let bodies: Vec<Vec<u8>> = (0..8).map(|seed| content(seed, 100)).collect();
    let sent = stream::iter(&bodies).map(|body| f.send(Handle::Config, upload(body)));
    let sent: Vec<_> = sent.buffered(8).collect().await;
    assert_eq!(sent.iter().filter(|outcome| **outcome == Outcome::Stored).count(), 1);
    assert_eq!(sent.iter().filter(|outcome| **outcome == Outcome::Differs).count(), 7);
    let stored = sent.iter().position(|outcome| *outcome == Outcome::Stored).unwrap();
    assert_eq!(f.read_handle(Handle::Config, None).await.as_ref(), Some(&bodies[stored]));
}

pub(crate) async fn a_listing_is_complete_and_absent_only_without_a_repository<S: AppendStore, P>(
    f: Fixture<S, P>,
) {
    assert_eq!(f.list(FileType::Data).await, None);
    f.create_repository().await;
    for file_type in FileType::ALL {
        assert_eq!(f.list(file_type).await, Some(vec![]));
    }
    let mut expected = Vec::new();
    for len in 0..600 {
        let content = content(1, len);
        assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored);
        expected.push((id_of(&content), len as u64));
    }
    expected.sort_unstable();
    assert_eq!(f.list(FileType::Data).await, Some(expected));
}

pub(crate) async fn a_repository_is_absent_then_a_draft_then_initialised<S: AppendStore, P>(
    f: Fixture<S, P>,
) {
    let state = async || f.store.survey(&repository(), &Handle::Config).await.unwrap().repository;
    assert_eq!(state().await, RepositoryState::Absent);
    f.create_repository().await;
    assert_eq!(state().await, RepositoryState::Draft);
    assert_eq!(f.create(FileType::Keys, &key()).await, Outcome::Stored);
    assert_eq!(f.create(FileType::Locks, &content(1, 100)).await, Outcome::Stored);
    assert_eq!(state().await, RepositoryState::Draft);
    assert_eq!(f.send(Handle::Config, upload(b"config")).await, Outcome::Stored);
    assert_eq!(state().await, RepositoryState::Initialised);
}

pub(crate) async fn a_snapshot_an_index_or_data_initialises_as_well<S: AppendStore, P>(f: Fixture<S, P>) {
    f.create_repository().await;
    assert_eq!(f.create(FileType::Data, &content(1, 100)).await, Outcome::Stored);
    let survey = f.store.survey(&repository(), &Handle::Config).await.unwrap();
    assert_eq!((survey.repository, survey.file), (RepositoryState::Initialised, None));
}

pub(crate) async fn creating_again_sets_aside_the_keys_of_a_draft_only<S: AppendStore, P>(f: Fixture<S, P>) {
    f.create_repository().await;
    assert_eq!(f.create(FileType::Keys, &key()).await, Outcome::Stored);
    f.create_repository().await;
    assert_eq!(f.list(FileType::Keys).await, Some(vec![]));
    assert_eq!(f.create(FileType::Keys, &key()).await, Outcome::Stored);
    assert_eq!(f.send(Handle::Config, upload(b"config")).await, Outcome::Stored);
    f.create_repository().await;
    assert_eq!(f.list(FileType::Keys).await.map(|keys| keys.len()), Some(1));
}

pub(crate) async fn a_lock_is_removed_and_removing_it_again_is_no_error<S: AppendStore, P>(f: Fixture<S, P>) {
    f.initialised().await;
    let (first, second) = (content(1, 100), content(2, 100));
    assert_eq!(f.create(FileType::Locks, &first).await, Outcome::Stored);
    assert_eq!(f.create(FileType::Locks, &second).await, Outcome::Stored);
    f.remove_lock(id_of(&first)).await;
    f.remove_lock(id_of(&first)).await;
    assert_eq!(f.list(FileType::Locks).await, Some(vec![(id_of(&second), 100)]));
}

pub(crate) async fn facts_are_kept_with_the_file<S: AppendStore, P>(f: Fixture<S, P>) {
    f.initialised().await;
    let content = content(1, 100);
    let handle = Handle::File(FileType::Snapshots, id_of(&content));
    assert_eq!(f.store.facts(&repository(), &handle).await.unwrap(), None);
    let before = now_ms();
    assert_eq!(f.create(FileType::Snapshots, &content).await, Outcome::Stored);
    let facts = f.store.facts(&repository(), &handle).await.unwrap().unwrap();
    assert_eq!((facts.creator, facts.audience), (Some(principal()), Audience::All));
    assert!((before..=now_ms()).contains(&facts.received_ms));
}

pub(crate) async fn usage_is_what_is_visible_and_locks_are_none_of_it<S: AppendStore, P>(f: Fixture<S, P>) {
    f.initialised().await;
    let usage = async || f.store.usage(&repository()).await.unwrap();
    let config = FILE_BYTES_MIN; // which is shorter
    assert_eq!(usage().await, Usage { bytes: config, files: 1 });
    assert_eq!(f.create(FileType::Data, &content(1, 10_000)).await, Outcome::Stored);
    assert_eq!(f.create(FileType::Locks, &content(2, 100)).await, Outcome::Stored);
    assert_eq!(f.create(FileType::Data, &content(1, 10_000)).await, Outcome::AlreadyThere);
    let handle = Handle::File(FileType::Data, id_of(b"something else"));
    assert_eq!(f.send(handle, upload(&content(3, 500))).await, Outcome::BadBody);
    assert_eq!(usage().await, Usage { bytes: config + 10_000, files: 2 });
    assert_eq!(f.store.total_usage(&principal()).await.unwrap(), usage().await);
}

pub(crate) async fn nothing_is_stored_in_a_repository_that_does_not_exist<S: AppendStore, P>(
    f: Fixture<S, P>,
) {
    let content = content(1, 100);
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::Failed);
    assert_eq!(f.read(FileType::Data, id_of(&content)).await, None);
    assert_eq!(f.list(FileType::Data).await, None);
}

pub(crate) async fn parallel_readers_and_writers_do_not_disturb_each_other<S: AppendStore, P>(
    f: Fixture<S, P>,
) where
    P: Send + Sync + 'static,
{
    f.initialised().await;
    let f = Arc::new(f);
    let tasks = (0..24).map(|seed| {
        let f = Arc::clone(&f);
        tokio::spawn(async move {
            let content = content(seed, 100_000 + usize::from(seed));
            assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored);
            assert_eq!(f.read(FileType::Data, id_of(&content)).await, Some(content));
        })
    });
    for joined in futures_util::future::join_all(tasks).await {
        joined.unwrap();
    }
    assert_eq!(f.list(FileType::Data).await.map(|files| files.len()), Some(24));
}

/// All of the above for one store, as tests in a module of their own.
#[cfg(test)]
macro_rules! suite {
    ($(#[$attribute:meta])* $name:ident, $fixture:expr) => {
        mod $name {
            use super::*;

            $crate::conformance::suite!(@each [$(#[$attribute])*] $fixture;
                a_stored_file_reads_back_whole_and_in_parts
                nothing_is_stored_of_content_that_does_not_hash_to_its_name
                nothing_is_stored_of_a_body_that_is_cut
                sizes_beyond_the_caps_are_refused
                a_key_is_stored_only_if_it_is_shaped_like_one
                the_same_file_again_is_already_there
                there_is_one_config_for_good
                of_many_that_send_one_name_at_once_one_stores
                of_many_configs_at_once_one_stays
                a_listing_is_complete_and_absent_only_without_a_repository
                a_repository_is_absent_then_a_draft_then_initialised
                a_snapshot_an_index_or_data_initialises_as_well
                creating_again_sets_aside_the_keys_of_a_draft_only
                a_lock_is_removed_and_removing_it_again_is_no_error
                facts_are_kept_with_the_file
                usage_is_what_is_visible_and_locks_are_none_of_it
                nothing_is_stored_in_a_repository_that_does_not_exist
                parallel_readers_and_writers_do_not_disturb_each_other
            );
        }
    };
    (@each $attributes:tt $fixture:expr; $($property:ident)*) => {
        $($crate::conformance::suite!(@one $attributes $fixture; $property);)*
    };
    (@one [$(#[$attribute:meta])*] $fixture:expr; $property:ident) => {
            $(#[$attribute])*
            #[tokio::test(flavor = "multi_thread")]
            async fn $property() {
                conformance::$property($fixture).await;
            }
    };
}

#[cfg(test)]
pub(crate) use suite;
