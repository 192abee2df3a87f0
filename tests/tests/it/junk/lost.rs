//! Packs and indexes that were there and are not: a loss, and nobody's junk, whatever else looks like it.
//!
//! Invariant: nothing is hidden or pruned because of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::content::{id_of, noise};
use pawl_tests::forger::Pack;
use pawl_tests::maintenance::maintain;
use pawl_tests::store::{Stored, path_of, plant, remove};
use serde_json::{Value, json};

use super::{Ground, id_of_file};

/// A file that lies elsewhere for a while, with its facts.
struct Away {
    place: PathBuf,
    elsewhere: PathBuf,
}

impl Away {
    fn take(ground: &Ground, file: &str) -> Self {
        let place = path_of(ground.server.data(), file);
        let elsewhere = ground.server.dir().join(format!("elsewhere-{}", id_of_file(file)));
        mv(&place, &elsewhere);
        Self { place, elsewhere }
    }

    fn bring_back(self) {
        mv(&self.elsewhere, &self.place);
    }
}

fn mv(from: &Path, to: &Path) {
    assert!(Command::new("mv").args([from, to]).status().unwrap().success(), "{}", from.display());
}

/// Names of files of one type that came since.
fn new_files(ground: &Ground, before: &Stored, file_type: &str) -> Vec<String> {
    let now = ground.server.stored();
    let is_new = |line: &String| line.starts_with(&format!("+ web1/{file_type}/"));
    let new = before.differences(&now).into_iter().filter(is_new);
    new.map(|line| format!("{file_type}/{}", id_of_file(&line))).collect()
}

/// One more backup. Returns what was stored before it, and its snapshot.
fn back_up_once_more(ground: &Ground) -> (Stored, String) {
    let before = ground.server.stored();
    let files = ground.restic.home().join("files");
    plant(&files.join("third"), &noise("third", 100_000));
    (before, ground.restic.report_of_backup(&files, &[]).snapshot)
}

/// After a night somebody stored a tree in a pack that no index names yet. Returns the tree's id and the pack.
fn with_a_tree() -> (Ground, String, Pack) {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let tree = json!({"nodes": [{"name": "f", "type": "file", "content": []}]}).to_string();
    let pack = ground.thief.store_trees(&[tree.as_bytes()]);
    (ground, id_of(tree.as_bytes()), pack)
}

fn remove_audit_log(ground: &Ground) {
    for file in std::fs::read_dir(ground.server.data().join(".pawl/audit")).unwrap() {
        remove(&file.unwrap().path());
    }
}

/// The night fails, names the pack and what needs it, and takes nothing away; the next does the same.
fn assert_lost(ground: &Ground, pack: &str, needs: &str) {
    for _ in 0..2 {
        let before = ground.server.stored();
        let finished = ground.run().expect_code(2);
        assert!(finished.stdout.contains("examine  failed"), "{finished:#?}");
        for said in [pack, needs, "pawl maintain restore web1 --from STORE --missing"] {
            assert!(finished.stdout.contains(said), "no {said} in {finished:#?}");
        }
        assert!(ground.junk().is_empty(), "{:#?}", ground.junk());
        let gone = before.losses(&ground.server.stored());
        assert!(gone.iter().all(|line| line.contains(" .pawl/")), "{gone:#?}");
    }
}

/// Of four backups, the newest has lost the pack with its data before anybody looked, in a copy without an audit log as well.
#[test]
fn a_pack_that_is_lost_before_the_first_look_is_nobodys_junk() {
    for is_copy in [false, true] {
        let ground = Ground::new();
        let files = ground.restic.home().join("files");
        plant(&files.join("third"), &noise("third", 100_000));
        ground.restic.backup(&files);
        let before = ground.server.stored();
        plant(&files.join("fourth"), &noise("fourth", 100_000));
        let snapshot = ground.restic.report_of_backup(&files, &[]).snapshot;
        let size = |pack: &String| {
            std::fs::metadata(path_of(ground.server.data(), &format!("web1/{pack}"))).unwrap().len()
        };
        let pack = new_files(&ground, &before, "data").into_iter().max_by_key(size).unwrap();
        if is_copy {
            remove_audit_log(&ground);
        }
        let away = Away::take(&ground, &format!("web1/{pack}"));
        assert_lost(&ground, &pack, &format!("snapshots/{snapshot} is not whole: it needs the blob"));
        away.bring_back();
        let _ = ground.run().expect_code(0);
        assert_eq!(ground.restic.snapshots().len(), 4);
        ground.restic.check();
    }
}

/// The packs of the newest backup tell what they hold, also in a copy without an audit log.
#[test]
fn an_index_that_is_lost_makes_no_junk_of_what_only_it_named() {
    for is_copy in [false, true] {
        let ground = Ground::new();
        let (before, snapshot) = back_up_once_more(&ground);
        let indexes = new_files(&ground, &before, "index");
        assert_eq!(indexes.len(), 1, "{indexes:?}");
        let index = &indexes[0];
        if is_copy {
            remove_audit_log(&ground);
        }
        let away = Away::take(&ground, &format!("web1/{index}"));
        let needs = format!("snapshots/{snapshot} is not whole");
        assert_lost(&ground, "which no index names; `restic repair index`", &needs);
        away.bring_back();
        let _ = ground.run().expect_code(0);
        assert_eq!(ground.restic.snapshots().len(), 3);
        ground.restic.check();
    }
}

#[test]
fn of_an_index_that_is_lost_with_its_packs_the_audit_log_tells() {
    let ground = Ground::new();
    let (before, snapshot) = back_up_once_more(&ground);
    let indexes = new_files(&ground, &before, "index");
    let lost = [&indexes[..], &new_files(&ground, &before, "data")].concat();
    let away: Vec<_> = lost.iter().map(|file| Away::take(&ground, &format!("web1/{file}"))).collect();
    let told = format!("{}, which was stored here, is not there (1 such)", indexes[0]);
    assert_lost(&ground, &told, &format!("snapshots/{snapshot} is not whole"));
    away.into_iter().for_each(Away::bring_back);
    let _ = ground.run().expect_code(0);
    ground.restic.check();
}

/// As after a prune that began while a client without locks backed up.
#[test]
fn what_a_snapshot_lacks_and_a_batch_hides_is_named_with_the_batch() {
    let (ground, tree, pack) = with_a_tree();
    let index = ground.thief.store_index(&[(&pack.id, &pack.blobs)]);
    let pack = format!("data/{}", pack.id);
    let _ = maintain(&ground.server.place(), &["delete", "web1", &pack, &index]).expect_code(0);
    let snapshot = ground.thief.store_snapshot(&tree);
    assert_lost(&ground, &format!("{pack}, which batch "), &format!("{snapshot} is not whole"));
    let finished = ground.run();
    let (_, command) = finished.stdout.split_once("maintain undelete ").unwrap();
    let batch = command.split(' ').next().unwrap();
    let _ = maintain(&ground.server.place(), &["undelete", batch]).expect_code(0);
    let _ = ground.run().expect_code(0);
    assert!(ground.server.has(&format!("web1/{snapshot}")));
    ground.restic.check();
}

/// An index that names one pack only, which is lost: the audit log tells that it was there.
#[test]
fn a_pack_of_which_the_audit_log_tells_is_lost_and_its_index_nobodys_junk() {
    let (ground, tree, pack) = with_a_tree();
    ground.thief.store_index(&[(&pack.id, &pack.blobs)]);
    let snapshot = ground.thief.store_snapshot(&tree);
    let name = format!("data/{}", pack.id);
    let away = Away::take(&ground, &format!("web1/{name}"));
    assert_lost(&ground, &name, &format!("{snapshot} is not whole: its tree {tree} is in {name}"));
    away.bring_back();
    let _ = ground.run().expect_code(0);
    ground.restic.check();
}

/// A178: A host stores an index that names a pack which never was beside one that is there, so that honest packs are hidden
/// with it, or the night takes it for good. It is named, and goes by one command.
#[test]
fn an_index_that_names_a_pack_that_never_was_beside_honest_ones_is_named() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let indexes = ground.restic.succeed(["list", "index", "--no-lock"]);
    let first = indexes.lines().next().unwrap();
    let honest: Value =
        serde_json::from_str(&ground.restic.succeed(["cat", "index", first, "--no-lock"])).unwrap();
    let mut packs = honest["packs"].as_array().unwrap().clone();
    let never = id_of(b"no pack");
    packs.push(
        json!({"id": never, "blobs": [{"id": id_of(b"blob"), "type": "data", "offset": 0, "length": 100}]}),
    );
    let index = ground.thief.store("index", json!({ "packs": packs }).to_string().as_bytes());
    assert_lost(&ground, &format!("data/{never}"), &index);
    let _ = maintain(&ground.server.place(), &["delete", "web1", &index]).expect_code(0);
    let _ = ground.run().expect_code(0);
    ground.restic.check();
}

/// A198: A host stores a pack that no index names, and a snapshot of what is in it, so that each night takes an index for lost.
/// It is named, and goes by one command.
#[test]
fn a_snapshot_of_what_no_index_names_is_named_and_goes_by_one_command() {
    let (ground, tree, pack) = with_a_tree();
    let snapshot = ground.thief.store_snapshot(&tree);
    assert_lost(&ground, &format!("data/{}, which no index names", pack.id), &snapshot);
    let _ = maintain(&ground.server.place(), &["delete", "web1", &snapshot, "--below-floor"]).expect_code(0);
    let _ = ground.run().expect_code(0);
    ground.restic.check();
}

/// A179: A thief has something honest taken for junk, so that the prune of the next night removes what only that needs before
/// anybody has looked. Nothing is pruned until somebody says that they have.
#[test]
fn nothing_is_pruned_until_somebody_has_looked_at_what_was_hidden() {
    let ground = Ground::new();
    let blob = json!({"id": id_of(b"blob"), "type": "data", "offset": 0, "length": 100});
    let index = ground.thief.store_index(&[(&id_of(b"no pack"), &[blob])]);
    for night in ["hid index", "nobody has looked", "nobody has looked"] {
        let finished = ground.run().expect_code(1);
        assert!(finished.stdout.contains(night), "{finished:#?}");
        assert!(finished.stdout.contains("prune    skipped"), "{finished:#?}");
    }
    assert!(!ground.server.has(&format!("web1/{index}")));
    let _ = maintain(&ground.server.place(), &["report", "--acknowledge"]);
    let finished = ground.run().expect_code(0);
    assert!(finished.stdout.contains("prune    well"), "{finished:#?}");
    ground.restic.check();
}
