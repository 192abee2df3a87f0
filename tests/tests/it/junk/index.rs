//! Indexes that do not say what is, and honest ones that look like it.
//!
//! Invariant: what nobody else names is never taken out of sight.

use std::collections::BTreeSet;

use pawl_tests::clients::{Restic, Version};
use pawl_tests::content::{id_of, noise};
use pawl_tests::store::plant;
use serde_json::{Value, json};

use super::Ground;

/// A163: A thief stores an index that names packs which never were.
#[test]
fn an_index_of_packs_that_never_were_is_hidden() {
    let ground = Ground::new();
    let blob = json!({"id": id_of(b"blob"), "type": "data", "offset": 0, "length": 100});
    let index = ground.thief.store_index(&[(&id_of(b"no pack"), &[blob])]);
    ground.assert_hides(&[&index], "was ever there");
}

/// A164: A thief stores an index that says of every tree that it is elsewhere, so that the next honest backup seems
/// broken and is hidden in the place of the thief's.
#[test]
fn an_index_that_lies_hides_nobody_elses_snapshot() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let files = ground.restic.home().join("files");
    plant(&files.join("a/last"), b"of today");
    ground.restic.backup(&files);
    let honest: BTreeSet<_> = ground.restic.snapshots().into_iter().collect();
    let decoy = ground.thief.store_trees(&[b"{\"nodes\":[]}"]);
    let mut lies = decoy.blobs.clone();
    for tree in trees(&ground.restic) {
        lies.push(json!({"id": tree, "type": "tree", "offset": 0, "length": decoy.blobs[0]["length"]}));
    }
    ground.thief.store_index(&[(&decoy.id, &lies)]);
    let run = ground.run();
    assert!(run.stdout.contains("examine  notice"), "{run:#?}");
    let there: BTreeSet<_> = std::fs::read_dir(ground.server.data().join("web1/snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap()[..8].to_owned())
        .collect();
    assert!(honest.iter().all(|id| there.contains(&id[..8])), "{honest:?} in {there:?}");
}

/// A170: A thief stores a pack of noise and an index which says that it holds what honest packs hold, so that restic's prune
/// keeps that one and removes the honest ones.
#[test]
fn an_index_that_would_have_prune_keep_noise_for_good_data_is_hidden() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let thief = &ground.thief;
    let own = b"a blob of the thief's own";
    let sealed = thief.seal(own);
    let mut blobs = vec![json!({"id": id_of(own), "type": "data", "offset": 0, "length": sealed.len()})];
    let (mut offset, mut header) = (sealed.len() as u64, 36 + 37);
    for index in ground.restic.succeed(["list", "index", "--no-lock"]).lines() {
        let index: Value =
            serde_json::from_str(&ground.restic.succeed(["cat", "index", index, "--no-lock"])).unwrap();
        for pack in index["packs"].as_array().unwrap() {
            for blob in pack["blobs"].as_array().unwrap().iter().filter(|blob| blob["type"] == "data") {
                let mut lie = blob.clone();
                lie["offset"] = offset.into();
                offset += blob["length"].as_u64().unwrap();
                header += if blob.get("uncompressed_length").is_some() { 41 } else { 37 };
                blobs.push(lie);
            }
        }
    }
    let noise = noise("no data", usize::try_from(offset + header).unwrap() - sealed.len());
    let pack = thief.store_as_it_is("data", &[&sealed[..], &noise[..]].concat());
    let index = thief.store_index(&[(pack.trim_start_matches("data/"), &blobs)]);
    let tree = json!({"nodes": [{"name": "f", "type": "file", "content": [id_of(own)]}]}).to_string();
    let trees = thief.store_trees(&[tree.as_bytes()]);
    thief.store_index(&[(&trees.id, &trees.blobs)]);
    let snapshot = thief.store_snapshot(&id_of(tree.as_bytes()));
    ground.assert_hides(&[&index, &snapshot], "and it is not");
}

/// A175: A thief stores an index in which honest blobs have another type or length than they have, so that restic takes each
/// for two, and its check fails every night.
#[test]
fn an_index_that_says_other_types_or_lengths_is_hidden() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let honest = an_index(&ground);
    let lies = ["type", "uncompressed_length"].map(|key| {
        let mut lie = honest.clone();
        for pack in lie["packs"].as_array_mut().unwrap() {
            let compressed = |blob: &&mut Value| blob.get("uncompressed_length").is_some();
            for blob in pack["blobs"].as_array_mut().unwrap().iter_mut().filter(compressed) {
                let is_tree = blob["type"] == "tree";
                let other = if is_tree { "data" } else { "tree" };
                blob[key] = if key == "type" { other.into() } else { json!(1234) };
            }
        }
        ground.thief.store("index", lie.to_string().as_bytes())
    });
    let old = Restic::at(Version::V0_14, ground.restic.repository());
    assert_ne!(old.run(["check", "--no-lock"]).code, Some(0), "restic takes each for two");
    let lies: Vec<_> = lies.iter().map(String::as_str).collect();
    ground.assert_hides(&lies, "is not what that says of itself");
}

/// restic before 0.10 named a pack in two indexes, where one was full in the middle of it, and before 0.14 twice in one.
/// What nobody else names is not taken out of sight.
#[test]
fn indexes_that_name_packs_in_parts_are_nobodys_junk() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let before = ground.restic.snapshots().len();
    let tree = |name: &str| json!({"nodes": [{"name": name, "type": "file", "content": []}]}).to_string();
    for (number, is_one_index) in [false, true].into_iter().enumerate() {
        let trees = ["a", "b", "c"].map(|name| tree(&format!("{name}{number}")));
        let pack = ground.thief.store_trees(&trees.each_ref().map(String::as_bytes));
        let (first, rest) = pack.blobs.split_at(1);
        if is_one_index {
            ground.thief.store_index(&[(&pack.id, first), (&pack.id, rest)]);
        } else {
            ground.thief.store_index(&[(&pack.id, first)]);
            ground.thief.store_index(&[(&pack.id, rest)]);
        }
        for tree in &trees {
            ground.thief.store_snapshot(&id_of(tree.as_bytes()));
        }
    }
    Restic::at(Version::V0_14, ground.restic.repository()).succeed(["check", "--no-lock"]);
    let night = ground.run(); // that of 0.19 takes such packs for damaged
    assert_eq!(night.stdout.matches("names a part of a pack").count(), 2, "{night:#?}");
    assert!(ground.junk().is_empty(), "{:#?}", ground.junk());
    assert_eq!(ground.restic.snapshots().len(), before + 6);
}

/// A176: A thief stores an index that names a part of an honest pack, so that restic's check takes that for damaged.
#[test]
fn an_index_that_names_a_part_of_an_honest_pack_is_hidden() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let mut part = an_index(&ground);
    for pack in part["packs"].as_array_mut().unwrap() {
        pack["blobs"].as_array_mut().unwrap().pop();
    }
    let part = ground.thief.store("index", part.to_string().as_bytes());
    assert_ne!(ground.restic.run(["check", "--no-lock", "--read-data"]).code, Some(0), "restic chokes on it");
    ground.assert_hides(&[&part], "names a part of a pack");
}

/// What an index says that is there.
fn an_index(ground: &Ground) -> Value {
    let indexes = ground.restic.succeed(["list", "index", "--no-lock"]);
    let first = indexes.lines().next().unwrap();
    serde_json::from_str(&ground.restic.succeed(["cat", "index", first, "--no-lock"])).unwrap()
}

/// Ids of all trees of the newest snapshot.
fn trees(restic: &Restic) -> Vec<String> {
    let listed = restic.succeed(["list", "blobs", "--no-lock"]);
    listed.lines().filter_map(|line| line.strip_prefix("tree ")).map(str::to_owned).collect()
}
