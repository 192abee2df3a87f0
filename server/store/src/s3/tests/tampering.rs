//! What somebody with the server's credential may have done to the bucket, and stores that are not as they should be.
//!
//! Invariant: what is served is the right version or an error; a store that does not hold is refused, and says why.

use pawl_policy::{FileType, Handle};

use super::*;
use crate::body::CHUNK_BYTES;
use crate::conformance::{Outcome, content, id_of, key, repository, upload};

fn mark(key: &[u8]) -> String {
    format!("some/prefix/web1/.aside/{}/0", id_of(key))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_file_is_noticed_when_it_is_sent_again_and_the_good_bytes_are_kept() {
    for len in [1000, 300_000] {
        let f = fixture(moto()).await;
        f.initialised().await;
        let good = content(1, len);
        assert_eq!(f.create(FileType::Data, &good).await, Outcome::Stored);
        let name = f.store.layout.file(&repository(), &Handle::File(FileType::Data, id_of(&good)));
        let bad = content(2, len);
        f.place.bucket.put(&name, &bad).unwrap();
        // What the PUT alone would say is that the name is taken. What came in pieces is not there any more.
        let expected = if len < CHUNK_BYTES { Outcome::Damaged } else { Outcome::Failed };
        assert_eq!(f.create(FileType::Data, &good).await, expected);
        for _ in 0..2 {
            assert_eq!(f.confirm(FileType::Data, &good).await, Outcome::Damaged);
        }
        let rescued = format!("some/prefix/web1/.rescued/data/{}", id_of(&good));
        assert_eq!(f.place.bucket.get(&rescued).unwrap(), good);
        assert_eq!(f.place.bucket.get(&name).unwrap(), bad); // maintenance decides what to do with it
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_config_is_read_as_it_was() {
    let f = fixture(moto()).await;
    f.create_repository().await;
    let config = "some/prefix/web1/config";
    assert_eq!(f.send(Handle::Config, upload(b"the config")).await, Outcome::Stored);
    f.place.bucket.put(config, b"forged").unwrap();
    assert_eq!(f.read_handle(Handle::Config, None).await.as_deref(), Some(&b"the config"[..]));
    assert_eq!(f.send(Handle::Config, upload(b"the config")).await, Outcome::AlreadyThere);
    assert_eq!(f.send(Handle::Config, upload(b"forged")).await, Outcome::Differs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_another_hand_hid_is_read_as_it_was_and_no_other_is_taken_in_its_place() {
    let f = fixture(moto()).await;
    f.initialised().await;
    f.place.bucket.delete("some/prefix/web1/config").unwrap();
    assert_eq!(f.read_handle(Handle::Config, None).await.as_deref(), Some(&b"the config"[..]));
    assert_eq!(f.send(Handle::Config, upload(b"forged")).await, Outcome::Differs);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await; // S3 tells whole seconds
    f.place.bucket.put("some/prefix/web1/config", b"forged").unwrap();
    assert_eq!(f.read_handle(Handle::Config, None).await.as_deref(), Some(&b"the config"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_hidden_once_there_is_a_config() {
    let f = fixture(moto()).await;
    f.create_repository().await;
    assert_eq!(f.create(FileType::Keys, &key()).await, Outcome::Stored);
    assert_eq!(f.send(Handle::Config, upload(b"the config")).await, Outcome::Stored);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await; // S3 tells whole seconds
    f.place.bucket.put(&mark(&key()), b"").unwrap();
    let state = tempfile::tempdir().unwrap();
    let other = open(&f.place.bucket, state.path()).await.unwrap(); // which remembers nothing
    let facts = other.all_facts(&repository(), FileType::Keys).await.unwrap();
    assert_eq!(facts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_of_one_bucket_know_the_same() {
    let f = fixture(moto()).await;
    f.initialised().await;
    let state = tempfile::tempdir().unwrap();
    let store = open(&f.place.bucket, state.path()).await.unwrap();
    let g = Fixture { store, place: state };
    let content = content(1, 300_000);
    assert_eq!(f.create(FileType::Data, &content).await, Outcome::Stored);
    assert_eq!(g.read(FileType::Data, id_of(&content)).await.as_ref(), Some(&content));
    assert_eq!(g.create(FileType::Data, &content).await, Outcome::AlreadyThere);
    assert_eq!(g.list(FileType::Data).await, f.list(FileType::Data).await);
}

async fn opened(
    line: &Faults,
    bucket: &Bucket,
    change: impl FnOnce(&mut S3Settings),
) -> Result<Fixture<S3Store, tempfile::TempDir>, String> {
    let state = tempfile::tempdir().unwrap();
    let mut settings = settings(&bucket.through(line.address()), state.path());
    change(&mut settings);
    let keeper = keeper(state.path(), false);
    let store = S3Store::open(settings, keeper).await.map_err(|error| error.to_string())?;
    Ok(Fixture { store, place: state })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_hold_is_refused_by_name() {
    let server = moto();
    let bucket = server.bucket("backup", Kind::Versioned);
    let plain = server.bucket("plain", Kind::Plain);
    let line = Faults::in_front_of(server.address());

    let none = |settings: &mut S3Settings| settings.accept.clear();
    let error = opened(&line, &bucket, none).await.err().unwrap();
    assert!(error.contains("powerful-credential") && error.contains("unchecked-content"), "{error}");

    let error = opened(&line, &plain, |_| {}).await.err().unwrap();
    assert!(error.contains("s3.accept") && error.contains("unversioned"), "{error}");
    let _ = opened(&line, &plain, |settings| settings.accept.push(Weakness::Unversioned)).await.unwrap();

    line.add(Which::all("PUT", ".pawl-probe"), Fault::StripHeader("if-none-match"));
    let error = opened(&line, &bucket, |_| {}).await.err().unwrap();
    assert!(error.contains("unconditional-writes"), "{error}");
    let accept = |settings: &mut S3Settings| settings.accept.push(Weakness::UnconditionalWrites);
    opened(&line, &bucket, accept).await.unwrap();
    let many = |settings: &mut S3Settings| {
        settings.accept.push(Weakness::UnconditionalWrites);
        settings.instances = Instances::Many;
    };
    let error = opened(&line, &bucket, many).await.err().unwrap();
    assert!(error.contains("s3.instances = \"one\""), "{error}");

    line.heal();
    line.add(Which::all("PUT", "").header("if-none-match:"), Fault::Answer(501, "NotImplemented"));
    let error = opened(&line, &bucket, |_| {}).await.err().unwrap();
    assert!(error.contains("unconditional-writes"), "{error}");

    line.go_away();
    let error = opened(&line, &bucket, |_| {}).await.err().unwrap();
    assert!(error.contains(&format!("cannot try out bucket '{}'", bucket.name())), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_conditions_are_not_kept_nothing_is_replaced_all_the_same() {
    for fault in [Fault::StripHeader("if-none-match"), Fault::Answer(501, "NotImplemented")] {
        let server = moto();
        let bucket = server.bucket("backup", Kind::Versioned);
        let line = Faults::in_front_of(server.address());
        line.add(Which::all("PUT", "").header("if-none-match:"), fault);
        let accept = |settings: &mut S3Settings| settings.accept.push(Weakness::UnconditionalWrites);
        let f = opened(&line, &bucket, accept).await.unwrap();
        f.initialised().await;
        let content = content(1, 300_000);
        let sent = futures_util::future::join_all((0..8).map(|_| f.create(FileType::Data, &content))).await;
        assert_eq!(sent.iter().filter(|outcome| **outcome == Outcome::Stored).count(), 1);
        assert_eq!(f.send(Handle::Config, upload(b"second")).await, Outcome::Differs);
        let name = f.store.layout.file(&repository(), &Handle::File(FileType::Data, id_of(&content)));
        let versions = bucket.snapshot();
        assert_eq!(versions.versions(&name).len(), 1);
    }
}
