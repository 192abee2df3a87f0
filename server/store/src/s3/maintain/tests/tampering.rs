//! What somebody with a key of the store did, and how maintenance sees and undoes it.
//!
//! Invariant: what comes back is read from the bucket itself, byte for byte.

use futures_util::TryStreamExt;

use super::*;

async fn found(f: &Both<S3Store, S3Maintenance, Server>) -> Vec<Found> {
    let web1: RepositoryName = "web1".parse().unwrap();
    f.maintenance.walk(&web1).await.unwrap().try_concat().await.unwrap()
}

fn unexplained(found: &[Found]) -> Vec<Handle> {
    let of = |found: &Found| match found {
        Found::Unexplained { handle, .. } => Some(*handle),
        _ => None,
    };
    found.iter().filter_map(of).collect()
}

fn name(file_type: FileType, bytes: &[u8]) -> String {
    let id = id_of(bytes).to_string();
    match file_type {
        FileType::Data => format!("some/prefix/web1/data/{}/{id}", &id[..2]),
        _ => format!("some/prefix/web1/{file_type}/{id}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_by_another_hand_is_told_and_undone() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let bytes = content(1, 300_000);
    let handle = f.stored(FileType::Data, &bytes).await;
    let facts = f.facts(handle).await;
    f.hosts.place.bucket().delete(&name(FileType::Data, &bytes)).unwrap();
    assert_eq!(unexplained(&found(&f).await), [handle]);
    let web1 = "web1".parse().unwrap();
    let [version] = &f.maintenance.versions(&web1, &handle).await.unwrap()[..] else { unreachable!() };
    assert!(matches!(version.place, Place::Noncurrent(_)));
    assert_eq!(f.maintenance.put_back(&web1, &handle, &version.place).await.unwrap(), Created::Stored);
    assert_eq!(f.hosts.place.bucket().get(&name(FileType::Data, &bytes)).unwrap(), bytes);
    assert_eq!(f.facts(handle).await, facts);
    assert_eq!(unexplained(&found(&f).await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_file_is_told_displaced_and_put_back() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let bytes = content(1, 1000);
    let handle = f.stored(FileType::Index, &bytes).await;
    let key = name(FileType::Index, &bytes);
    f.hosts.place.bucket().put(&key, &content(2, 1000)).unwrap();
    assert_eq!(unexplained(&found(&f).await), [handle]);
    let web1 = "web1".parse().unwrap();
    let versions = f.maintenance.versions(&web1, &handle).await.unwrap();
    let [Version { place: Place::Current, .. }, Version { place: old, .. }] = &versions[..] else {
        unreachable!("{versions:?}")
    };
    let occupied = f.maintenance.put_back(&web1, &handle, old).await;
    assert!(matches!(occupied, Err(PutBackError::Occupied)), "{occupied:?}");
    let batch = f.begin(Reason::Damaged).await;
    assert_eq!(f.maintenance.displace(&web1, &handle, &batch).await.unwrap(), Hid::Now);
    assert!(matches!(f.maintenance.bring_back(&batch, &handle).await, Err(PutBackError::Damaged)));
    assert_eq!(f.maintenance.put_back(&web1, &handle, old).await.unwrap(), Created::Stored);
    assert_eq!(f.hosts.place.bucket().get(&key).unwrap(), bytes);
    assert_eq!(unexplained(&found(&f).await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_was_overwritten_is_displaced_for_the_true_one() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let key = "some/prefix/web1/config";
    f.hosts.place.bucket().put(key, b"forged").unwrap();
    let (web1, batch) = ("web1".parse().unwrap(), f.begin(Reason::Damaged).await);
    let versions = f.maintenance.versions(&web1, &Handle::Config).await.unwrap();
    assert!(versions.iter().all(|version| version.recorded == Some(id_of(b"the config"))));
    assert_eq!(f.maintenance.displace(&web1, &Handle::Config, &batch).await.unwrap(), Hid::Now);
    let forged = f.maintenance.put_back(&web1, &Handle::Config, &Place::Hidden(batch)).await;
    assert!(forged.is_err(), "{forged:?}");
    let old = &versions.last().unwrap().place;
    assert_eq!(f.maintenance.put_back(&web1, &Handle::Config, old).await.unwrap(), Created::Stored);
    assert_eq!(f.hosts.place.bucket().get(key).unwrap(), b"the config");
    assert_eq!(f.hosts.read_handle(Handle::Config, None).await.as_deref(), Some(&b"the config"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_maintenance_took_config_away_the_next_one_counts_for_good() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let (key, served) = ("some/prefix/web1/config", async || f.hosts.read_handle(Handle::Config, None).await);
    f.hosts.place.bucket().put(key, b"forged").unwrap();
    let batch = f.begin(Reason::Deleted).await;
    assert_eq!(f.hide(Handle::Config, &batch).await, Hid::Now);
    assert_eq!(served().await, None);
    assert_eq!(f.hide(Handle::Config, &batch).await, Hid::Absent);
    assert_eq!(f.hosts.send(Handle::Config, upload(b"upgraded")).await, Outcome::Stored);
    assert_eq!(served().await.as_deref(), Some(&b"upgraded"[..]));
    assert_eq!(unexplained(&found(&f).await), []);
    // The one before was the true one then, and does not come back over this one.
    let back = f.maintenance.bring_back(&batch, &Handle::Config).await;
    assert!(matches!(back, Err(PutBackError::Occupied)), "{back:?}");
    let header = f.maintenance.batch(&batch).await.unwrap();
    assert_eq!(f.maintenance.purge_file(&header, &Handle::Config).await.unwrap(), Purged::Gone);
    assert_eq!(
        served().await.as_deref(),
        Some(&b"upgraded"[..]),
        "the forged one is still among the versions"
    );
    assert_eq!(unexplained(&found(&f).await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_whose_hiding_was_cut_comes_back() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let (web1, batch) = ("web1".parse().unwrap(), f.begin(Reason::Deleted).await);
    // As far as it comes before the marker.
    let head = f.maintenance.shown(&web1, &Handle::Config).await.unwrap().unwrap();
    f.maintenance.note_entry(&batch, &Handle::Config, &head, 1).await.unwrap();
    f.maintenance.retire(&web1, head.version.as_deref().unwrap()).await.unwrap();
    assert_eq!(f.maintenance.bring_back(&batch, &Handle::Config).await.unwrap(), Created::AlreadyThere);
    // It counts again, also once there is another.
    f.hosts.place.bucket().put("some/prefix/web1/config", b"forged").unwrap();
    assert_eq!(f.hosts.read_handle(Handle::Config, None).await.as_deref(), Some(&b"the config"[..]));
    let batch = f.begin(Reason::Deleted).await;
    f.maintenance.retire(&web1, head.version.as_deref().unwrap()).await.unwrap();
    assert_eq!(f.hide(Handle::Config, &batch).await, Hid::Now);
    assert_eq!(f.hosts.read_handle(Handle::Config, None).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_maintenance_itself_did_is_explained() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let (web1, bytes) = ("web1".parse().unwrap(), content(1, 1000));
    let (key, data) = (f.stored(FileType::Keys, &key()).await, f.stored(FileType::Data, &bytes).await);
    let Handle::File(_, id) = key else { unreachable!() };
    f.maintenance.set_audience(&web1, &id, Audience::Maintenance).await.unwrap();
    let batch = f.begin(Reason::Deleted).await;
    for handle in [data, key, Handle::Config] {
        assert_eq!(f.hide(handle, &batch).await, Hid::Now);
    }
    assert_eq!(unexplained(&found(&f).await), []);
    assert_eq!(f.hosts.create(FileType::Data, &bytes).await, Outcome::Stored);
    for handle in [key, Handle::Config] {
        assert_eq!(f.maintenance.bring_back(&batch, &handle).await.unwrap(), Created::Stored);
    }
    assert_eq!(f.maintenance.bring_back(&batch, &data).await.unwrap(), Created::AlreadyThere);
    assert_eq!(unexplained(&found(&f).await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn good_bytes_that_were_rescued_are_put_back() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let bytes = content(1, 1000);
    let handle = f.stored(FileType::Index, &bytes).await;
    let key = name(FileType::Index, &bytes);
    f.hosts.place.bucket().put(&key, &content(2, 1000)).unwrap();
    assert_eq!(f.hosts.confirm(FileType::Index, &bytes).await, Outcome::Damaged);
    let web1: RepositoryName = "web1".parse().unwrap();
    assert_eq!(f.maintenance.rescued(&web1).await.unwrap(), BTreeSet::from([handle]));
    let batch = f.begin(Reason::Damaged).await;
    assert_eq!(f.maintenance.displace(&web1, &handle, &batch).await.unwrap(), Hid::Now);
    f.maintenance.put_back(&web1, &handle, &Place::Rescued).await.unwrap();
    assert_eq!(f.hosts.place.bucket().get(&key).unwrap(), bytes);
    assert_eq!(f.maintenance.rescued(&web1).await.unwrap(), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_noted_before_a_crash_is_hidden_by_trying_again_and_never_purged_while_it_is_shown() {
    for file_type in [FileType::Data, FileType::Snapshots] {
        let f = both(moto()).await;
        f.hosts.initialised().await;
        let bytes = content(1, 1000);
        let handle = f.stored(file_type, &bytes).await;
        let batch = f.begin(Reason::Deleted).await;
        // As far as it comes before the marker.
        let web1 = "web1".parse().unwrap();
        let head = f.maintenance.shown(&web1, &handle).await.unwrap().unwrap();
        f.maintenance.note_entry(&batch, &handle, &head, 1).await.unwrap();
        if file_type == FileType::Snapshots {
            f.maintenance.store.mark(&f.maintenance.store.layout.tombstone(&web1, &handle)).await.unwrap();
        }
        let header = f.maintenance.batch(&batch).await.unwrap();
        assert_eq!(f.maintenance.purge_file(&header, &handle).await.unwrap(), Purged::NeverHidden);
        assert_eq!(f.hidden(&batch).await, []);
        assert_eq!(f.maintenance.tombstones(&web1).await.unwrap(), BTreeSet::new());
        assert_eq!(f.hosts.place.bucket().get(&name(file_type, &bytes)).unwrap(), bytes);
        f.maintenance.note_entry(&batch, &handle, &head, 1).await.unwrap();
        assert_eq!(f.hide(handle, &batch).await, Hid::Now);
        assert_eq!(f.hidden(&batch).await.len(), 1);
        assert_eq!(f.maintenance.bring_back(&batch, &handle).await.unwrap(), Created::Stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_who_sees_a_key_is_ended_wherever_it_was_cut() {
    for steps in 0..4 {
        let f = both(moto()).await;
        f.hosts.initialised().await;
        let (web1, handle) = ("web1".parse().unwrap(), f.stored(FileType::Keys, &key()).await);
        let Handle::File(_, id) = handle else { unreachable!() };
        let batch = f.maintenance.begin_change(&web1).await.unwrap();
        if steps > 0 {
            let head = f.maintenance.shown(&web1, &handle).await.unwrap().unwrap();
            f.maintenance.note_entry(&batch.id, &handle, &head, 1).await.unwrap();
        }
        if steps > 1 {
            f.maintenance.hide_file(&batch, &handle).await.unwrap();
            assert_eq!(f.facts(handle).await, None);
        }
        if steps > 2 {
            let mut goods = back::GoodCopy::hidden(&f.maintenance, &batch, &handle).await.unwrap();
            goods.facts.audience = Audience::Maintenance;
            f.maintenance.bring(&web1, &handle, &goods).await.unwrap();
        }
        f.maintenance.set_audience(&web1, &id, Audience::Maintenance).await.unwrap();
        assert_eq!(f.facts(handle).await.unwrap().audience, Audience::Maintenance, "after {steps} steps");
        for left in f.maintenance.batches().await.unwrap() {
            assert_eq!(f.hidden(&left.id).await.len(), 0, "after {steps} steps");
        }
        assert_eq!(unexplained(&found(&f).await), []);
        // What an admin deleted does not come back so.
        let deleted = f.begin(Reason::Deleted).await;
        assert_eq!(f.hide(handle, &deleted).await, Hid::Now);
        let gone = f.maintenance.set_audience(&web1, &id, Audience::All).await;
        assert!(matches!(gone, Err(StoreError::NotFound)), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hash_that_the_store_keeps_is_told() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    let bytes = content(1, 1000);
    let handle = f.stored(FileType::Index, &bytes).await;
    let web1 = "web1".parse().unwrap();
    let told = f.maintenance.stored_sha256(&web1, &handle).await.unwrap();
    assert_eq!(told, Some(id_of(&bytes)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_pawl_did_not_begin_stays_taken_when_all_of_it_is_deleted() {
    let f = both(moto()).await;
    f.hosts.place.bucket().put("some/prefix/web1/config", b"by restic itself").unwrap();
    let batch = f.begin(Reason::Deleted).await;
    assert_eq!(f.hide(Handle::Config, &batch).await, Hid::Now);
    let state = tempfile::tempdir().unwrap();
    let settings = crate::s3::tests::settings(f.hosts.place.bucket(), state.path());
    let other = S3Store::open_for_reading(settings, None).await.unwrap(); // which remembers nothing
    let web1 = "web1".parse().unwrap();
    let survey = crate::AppendStore::survey(&other, &web1, &Handle::Config).await.unwrap();
    assert_eq!(survey.repository, pawl_policy::RepositoryState::Initialised);
    assert_eq!(f.maintenance.bring_back(&batch, &Handle::Config).await.unwrap(), Created::Stored);
    assert_eq!(f.hosts.place.bucket().get("some/prefix/web1/config").unwrap(), b"by restic itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_put_on_a_key_late_is_gone_when_another_config_may_become_the_first() {
    let f = both(moto()).await;
    f.hosts.initialised().await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await; // S3 tells whole seconds
    let mark = format!("some/prefix/web1/.aside/{}/0", id_of(&key()));
    f.hosts.place.bucket().put(&mark, b"").unwrap();
    let batch = f.begin(Reason::Deleted).await;
    assert_eq!(f.hide(Handle::Config, &batch).await, Hid::Now);
    assert_eq!(f.maintenance.bring_back(&batch, &Handle::Config).await.unwrap(), Created::Stored);
    assert!(!f.hosts.place.bucket().snapshot().visible().contains_key(mark.as_str()));
}
