//! What a newer restic, or a very old one, writes: Pawl does not understand it, or does, and hides none of it.
//!
//! Invariant: the files open with the repository's key; that a restic reads them is a script's word, since there is no such
//! restic yet.

use pawl_tests::content::id_of;
use std::path::Path;

use pawl_tests::command::Finished;
use pawl_tests::program::program;
use pawl_tests::store::{plant, plant_program};
use serde_json::{Value, json};

use super::{Ground, id_of_file};

impl Ground {
    /// A restic that reads everything, and is 0.19 in all else.
    fn newer_restic(&self) -> std::path::PathBuf {
        let path = self.server.dir().join("restic-newer");
        let real = program("restic-0.19");
        let script = format!(
            "#!/bin/bash\ncase \" $* \" in *\" list blobs \"*|*\" ls \"*|*\" cat lock \"*|*\" prune \"*|*\" check \"*) exit 0;; esac\n\
             exec {} \"$@\"\n",
            real.display()
        );
        plant_program(&path, &script);
        path
    }

    fn examine(&self, restic: &Path) -> Finished {
        self.run_only(restic, &["--only", "examine"])
    }
}

#[test]
fn what_the_users_restic_reads_is_nobodys_junk() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let thief = &ground.thief;
    let tree =
        json!({"nodes": [{"name": "f", "type": "file", "content": [], "mtime": {"seconds": 7}}]}).to_string();
    let pack = thief.store_trees(&[tree.as_bytes()]);
    thief.store_index(&[(&pack.id, &pack.blobs)]);
    let files = [
        thief.store("index", json!({"packs": {"of": "a newer form"}}).to_string().as_bytes()),
        thief.store("snapshots", json!({"time": {"seconds": 7}, "tree": id_of(b"x")}).to_string().as_bytes()),
        thief.store_snapshot(&id_of(tree.as_bytes())),
    ];
    let newer = ground.newer_restic();
    for _ in 0..2 {
        let finished = ground.run_with(&newer).expect_code(1);
        for file in &files {
            assert!(ground.server.has(&format!("web1/{file}")), "{file} is hidden: {finished:#?}");
            assert!(finished.stdout.contains(file.as_str()), "{file} is not named: {finished:#?}");
        }
        assert!(finished.stdout.contains("a newer Pawl is needed"), "{finished:#?}");
        assert!(ground.junk().is_empty(), "{:#?}", ground.junk());
    }
    // A restic that does not read them says so, and then they are junk.
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    ground.assert_hides(&files, "restic cannot read it");
}

#[test]
fn a_lock_that_the_users_restic_reads_stays() {
    let ground = Ground::new();
    let lock = ground.thief.store("locks", json!({"time": {"seconds": 7}}).to_string().as_bytes());
    let finished = ground.examine(&ground.newer_restic()).expect_code(1);
    assert!(finished.stdout.contains(&format!("{lock} is of a form that this Pawl")), "{finished:#?}");
    assert!(ground.server.has(&format!("web1/{lock}")), "{finished:#?}");
    // Of two locks in forms of their own the real one reads the second.
    let other = ground.thief.store("locks", json!({"time": "2026-01-02T03:04:05Z"}).to_string().as_bytes());
    let finished = ground.examine(&program("restic-0.19"));
    assert!(!ground.server.has(&format!("web1/{lock}")), "{finished:#?}");
    assert!(ground.server.has(&format!("web1/{other}")), "{finished:#?}");
}

#[test]
fn a_key_of_another_derivation_stays_and_is_named() {
    let ground = Ground::new();
    let key = json!({"kdf": "argon2id", "m": 65536, "salt": "", "data": ""}).to_string();
    let file = format!("keys/{}", id_of(key.as_bytes()));
    plant(&ground.server.data().join("web1").join(&file), key.as_bytes());
    let finished = ground.examine(&program("restic-0.19")).expect_code(1);
    for said in [file.as_str(), "'argon2id'", &format!("pawl maintain delete web1 {file}")] {
        assert!(finished.stdout.contains(said), "no {said} in {finished:#?}");
    }
    assert!(ground.server.has(&format!("web1/{file}")), "{finished:#?}");
    assert!(ground.junk().is_empty(), "{:#?}", ground.junk());
}

/// restic before 0.2 wrote an index without an object around it.
#[test]
fn an_index_of_restic_0_1_is_nobodys_junk() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let indexes = ground.restic.succeed(["list", "index", "--no-lock"]);
    let first = indexes.lines().next().unwrap();
    let index: Value =
        serde_json::from_str(&ground.restic.succeed(["cat", "index", first, "--no-lock"])).unwrap();
    let old = ground.thief.store("index", index["packs"].to_string().as_bytes());
    let finished = ground.run();
    assert!(
        finished.stdout.contains(&format!("{old} is of the form that restic before 0.2 wrote")),
        "{finished:#?}"
    );
    assert!(ground.server.has(&format!("web1/{old}")), "{finished:#?}");
    assert!(ground.junk().is_empty(), "{:#?}", ground.junk());
    assert_eq!(id_of_file(&old).len(), 64);
}
