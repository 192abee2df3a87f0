//! Whether the store on a local directory keeps what it promises.

use std::os::unix::fs::PermissionsExt;

use pawl_keeper::testing::keeper;

use super::*;
use crate::Observed;
use crate::conformance::{self, Fixture, Outcome, content, id_of};

/// A store in a directory of its own, which goes away with the fixture.
fn fixture(named_staging: bool) -> Fixture<LocalStore, tempfile::TempDir> {
    let data = tempfile::tempdir().unwrap();
    let keeper = keeper(data.path(), named_staging);
    Fixture { store: LocalStore::open(data.path(), keeper).unwrap(), place: data }
}

conformance::suite!(unnamed_staging, fixture(false));
conformance::suite!(named_staging, fixture(true));

#[tokio::test]
async fn a_stored_file_is_sealed_and_lies_where_restic_looks_for_it() {
    let fixture = fixture(false);
    let content = content(1, 1000);
    let id = id_of(&content);
    fixture.initialised().await;
    assert_eq!(fixture.create(FileType::Data, &content).await, Outcome::Stored);
    let hex = id.to_string();
    let path = fixture.place.path().join("web1/data").join(&hex[..2]).join(&hex);
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o440);
}

#[tokio::test]
async fn a_damaged_copy_is_noticed_and_the_good_bytes_are_kept() {
    for size in [100, 1 << 20] {
        let fixture = fixture(false);
        fixture.initialised().await;
        let good = content(1, size);
        assert_eq!(fixture.create(FileType::Data, &good).await, Outcome::Stored);
        let hex = id_of(&good).to_string();
        let path = fixture.place.path().join("web1/data").join(&hex[..2]).join(&hex);
        let rotten = content(2, size);
        overwrite(&path, &rotten);
        for _ in 0..2 {
            assert_eq!(fixture.confirm(FileType::Data, &good).await, Outcome::Damaged);
            assert_eq!(fixture.create(FileType::Data, &good).await, Outcome::Damaged);
        }
        let rescued = fixture.place.path().join(".pawl/rescued/web1/data").join(&hex);
        assert_eq!(std::fs::read(rescued).unwrap(), good);
        assert_eq!(std::fs::read(path).unwrap(), rotten); // maintenance decides what to do with it
    }
}

#[tokio::test]
async fn what_is_no_whole_file_is_not_listed() {
    let fixture = fixture(false);
    fixture.initialised().await;
    let index = fixture.place.path().join("web1/index");
    let hex = id_of(b"x").to_string();
    for name in ["tmp", &hex.to_uppercase(), &format!("{hex}.rest-server-temp1")] {
        overwrite(&index.join(name), b"part");
    }
    std::fs::create_dir(index.join(&hex)).unwrap();
    assert_eq!(fixture.list(FileType::Index).await, Some(vec![]));
}

#[tokio::test]
async fn a_symbolic_link_is_neither_read_nor_listed_nor_written_through() {
    let fixture = fixture(false);
    fixture.initialised().await;
    let outside = tempfile::tempdir().unwrap();
    let secret = content(7, 100);
    let name = id_of(&secret).to_string();
    overwrite(&outside.path().join(&name), &secret);
    let index = fixture.place.path().join("web1/index");
    std::os::unix::fs::symlink(outside.path().join(&name), index.join(&name)).unwrap();
    assert_eq!(fixture.list(FileType::Index).await, Some(vec![]));
    assert!(fixture.open(FileType::Index, id_of(&secret)).await.is_err());

    let linked = fixture.place.path().join("web1/data").join(&id_of(&content(8, 100)).to_string()[..2]);
    std::os::unix::fs::symlink(outside.path(), linked).unwrap();
    let other = content(8, 100);
    assert_eq!(fixture.create(FileType::Data, &other).await, Outcome::Failed);
    assert!(!outside.path().join(id_of(&other).to_string()).exists());
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    for named_staging in [false, true] {
        let fixture = fixture(named_staging);
        for _ in 0..3 {
            fixture.store.probe().await.unwrap();
        }
        let staging = fixture.place.path().join(".pawl/staging");
        assert!(!named_staging || std::fs::read_dir(staging).unwrap().next().is_none());
    }
}

#[tokio::test]
async fn the_last_snapshot_is_the_one_received_last_whatever_else_lies_there() {
    let fixture = fixture(false);
    let web1 = "web1".parse().unwrap();
    let last = || fixture.store.last_received(&web1, FileType::Snapshots);
    assert_eq!(last().await.unwrap(), None);
    fixture.initialised().await;
    assert_eq!(last().await.unwrap(), None);
    let snapshots = fixture.place.path().join("web1/snapshots");
    overwrite(&snapshots.join("tmp"), b"part");
    for (number, received) in [(1, "2000"), (2, "3000"), (3, "1000")] {
        let content = content(number, 100);
        assert_eq!(fixture.create(FileType::Snapshots, &content).await, Outcome::Stored);
        let path = snapshots.join(id_of(&content).to_string());
        let flags = rustix::fs::XattrFlags::empty();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        rustix::fs::setxattr(path, "user.pawl", format!("1 {received} host-1").as_bytes(), flags).unwrap();
    }
    assert_eq!(last().await.unwrap(), Some(3000));
}

#[expect(clippy::disallowed_methods, reason = "does what a broken disk does")]
fn overwrite(path: &Path, content: &[u8]) {
    if path.exists() {
        pawl_tests::store::remove(path);
    }
    std::fs::write(path, content).unwrap();
}
