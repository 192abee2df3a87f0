//! What the night, and the frontend, leave of documents with one thing wrong by chance: every restic reads that.
//!
//! Invariant: restic itself is asked, the oldest and the newest; nothing here says what is right.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::pawl_command;
use pawl_tests::content::{id_of, noise};
use pawl_tests::faulty::faulty;
use pawl_tests::forger::Forger;
use pawl_tests::program::{Run, program};
use pawl_tests::random::Random;
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{plant, remove};
use pawl_tests::wait;
use serde_json::{Value, json};

/// Documents of each kind.
const TREES: usize = 200;
const SNAPSHOTS: usize = 120;
const INDEXES: usize = 60;
const LOCKS: usize = 24;
const KEYS: usize = 300;
/// restic tries no more keys than twenty, and two are its own.
const KEYS_TRIED: usize = 18;
/// Characters that are shown of a document.
const SHOWN: usize = 400;

/// Chooses what is wrong, as far as restic itself writes the same again. `PAWL_SEED` sets another.
fn seed() -> u64 {
    env::var_os("PAWL_SEED").map_or(20_261_121, |seed| seed.to_str().unwrap().parse().unwrap())
}

/// What was stored, by the name of the file that stands and falls with it.
type Stored = BTreeMap<String, Vec<u8>>;

struct Ground {
    server: Server,
    credential: Credential,
    restic: Restic,
    thief: Forger,
    random: Random,
    /// A document of restic's own, by its type.
    originals: BTreeMap<&'static str, Value>,
    /// Documents by chance.
    odd: Stored,
    /// Documents in which nothing is wrong.
    right: Stored,
}

/// A174: A thief stores trees, snapshots, indexes and locks in which one thing is wrong in a way that nobody thought
/// of, and that Pawl takes for right.
#[test]
#[ignore = "asks two versions of restic about hundreds of documents; scripts/test --full runs it"]
fn what_the_night_leaves_every_restic_reads() {
    let seed = seed();
    eprintln!("PAWL_SEED={seed}");
    let mut ground = Ground::new(seed);
    ground.store_trees();
    ground.store_documents("snapshots", SNAPSHOTS);
    ground.store_documents("index", INDEXES);
    ground.store_documents("locks", LOCKS);
    for version in [Version::V0_14, Version::V0_19] {
        let before = ground.restic(version).run(["check", "--no-lock"]);
        assert_ne!(before.code, Some(0), "{version:?} chokes on it");
    }

    let hidden = ground.night();
    let wrongly: Vec<_> = ground.right.keys().filter(|file| hidden.contains(*file)).collect();
    assert!(wrongly.is_empty(), "hidden, and nothing was wrong with them: {wrongly:#?}");
    for (file_type, least) in [("snapshots", 20), ("index", 1), ("locks", 0)] {
        let all = ground.odd.keys().filter(|file| file.starts_with(file_type));
        let (gone, left): (Vec<_>, Vec<_>) = all.partition(|file| hidden.contains(*file));
        eprintln!("{file_type}: {} hidden, {} left", gone.len(), left.len());
        assert!(gone.len() >= least && left.len() >= least, "chance made too few of one kind");
    }
    ground.odd.retain(|file, _| !hidden.contains(file));
    for version in [Version::V0_14, Version::V0_19] {
        ground.assert_reads_locks(version);
    }
    for lock in ground.list("locks") {
        remove(&ground.server.data().join("web1/locks").join(lock)); // a prune would stop at it
    }
    for version in [Version::V0_14, Version::V0_19] {
        ground.assert_reads(version);
    }
}

/// What the frontend takes for a key keeps no restic from trying the next one, and what is right it takes.
#[test]
fn what_the_door_takes_for_a_key_every_restic_tries() {
    let seed = seed();
    eprintln!("PAWL_SEED={seed}");
    let mut random = Random::new(seed);
    let server = Server::start();
    let credential = server.add_host("web1", &[]);
    let client = server.client(&credential);
    let original: Value = serde_json::from_slice(include_bytes!("../../src/clients/key1.json")).unwrap();
    assert_eq!(client.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let is_taken =
        |key: &[u8]| client.post(&format!("/web1/keys/{}", id_of(key)), key).unwrap().status == 200;
    assert!(is_taken(&like_it(&original)), "nothing is wrong with it");
    let (mut taken, mut refused) = (Vec::new(), 0);
    for _ in 0..KEYS {
        let key = faulty(&original, &mut random);
        if is_taken(&key) {
            taken.push(String::from_utf8_lossy(&key).into_owned());
        } else {
            refused += 1;
        }
        if taken.len() + 1 == KEYS_TRIED {
            break;
        }
    }
    assert!(taken.len() > 5 && refused > 5, "chance made too few of one kind");
    clients::initialise(&client, "web1");
    let other = server.dir().join("other-password");
    plant(&other, b"another");
    for version in [Version::V0_14, Version::V0_19] {
        let restic = Restic::new(version, &credential);
        restic.succeed(["snapshots", "--no-lock"]);
        // With a password that opens none, all are tried.
        let refused = restic.run(["snapshots", "--no-lock", "--password-file", other.to_str().unwrap()]);
        let is_tried = refused.stderr.contains("wrong password or no key found");
        assert!(is_tried, "{version:?}: {refused:#?}\n{taken:#?}");
    }
}

impl Ground {
    fn new(seed: u64) -> Self {
        let server = Server::start();
        let credential = clients::ready(&server, "web1");
        let restic = Restic::new(Version::V0_19, &credential);
        let files = restic.home().join("files");
        for (name, bytes) in [("a/b/large", 3000), ("a/small", 10), ("a/empty", 0), ("c d", 1000)] {
            plant(&files.join(name), &noise(name, bytes));
        }
        std::os::unix::fs::symlink("c d", files.join("link")).unwrap();
        rustix::fs::setxattr(files.join("c d"), "user.x", b"\xff\0", rustix::fs::XattrFlags::empty())
            .unwrap();
        restic.backup(&files);
        plant(&server.dir().join("password"), b"secret");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(server.dir().join("password"), mode).unwrap();
        let thief = Forger::new(&restic, server.client(&credential), "web1");
        let random = Random::new(seed);
        let (odd, right) = (Stored::new(), Stored::new());
        let originals = BTreeMap::new();
        let mut ground = Self { server, credential, restic, thief, random, originals, odd, right };
        let snapshot = ground.cat(&["snapshot", &ground.list("snapshots")[0]]);
        let index = ground.cat(&["index", &ground.list("index")[0]]);
        ground.originals.extend([("snapshots", snapshot), ("index", index)]);
        assert!(ground.night().is_empty()); // what was there before is known to be good
        ground
    }

    /// A restic that remembers nothing.
    fn restic(&self, version: Version) -> Restic {
        Restic::new(version, &self.credential)
    }

    /// What `restic cat` prints.
    fn cat(&self, what: &[&str]) -> Value {
        let printed = self.restic.succeed([&["cat"], what, &["--no-lock"]].concat());
        serde_json::from_str(&printed).unwrap()
    }

    fn list(&self, file_type: &str) -> Vec<String> {
        let listed = self.restic.succeed(["list", file_type, "--no-lock"]);
        listed.lines().map(str::to_owned).collect()
    }

    /// Stores trees in one pack, and a snapshot of each.
    fn store_trees(&mut self) {
        let blobs = self.list("blobs");
        let trees = blobs.iter().filter_map(|blob| blob.strip_prefix("tree "));
        let originals: Vec<_> = trees.map(|id| self.cat(&["blob", id])).collect();
        let mut trees: BTreeSet<_> = originals.iter().map(like_it).collect();
        let right: BTreeSet<_> = trees.iter().map(|tree| id_of(tree)).collect();
        for number in 0..TREES {
            trees.insert(faulty(&originals[number % originals.len()], &mut self.random));
        }
        let all: Vec<_> = trees.iter().map(Vec::as_slice).collect();
        let pack = self.thief.store_trees(&all);
        self.thief.store_index(&[(&pack.id, &pack.blobs)]);
        for tree in &trees {
            let id = id_of(tree);
            let snapshot = self.thief.store_snapshot(&id);
            let stored = if right.contains(&id) { &mut self.right } else { &mut self.odd };
            stored.insert(snapshot, tree.clone());
        }
    }

    /// Stores documents of a type, made of the one that is there.
    fn store_documents(&mut self, file_type: &str, number: usize) {
        let original = match file_type {
            "locks" => json!({
                "time": "2026-11-20T01:02:03.5+01:00", "exclusive": false, "hostname": "web1", "username": "root",
                "pid": 1234, "uid": 0, "gid": 0,
            }),
            other => self.originals[other].clone(),
        };
        let like = like_it(&original);
        self.right.insert(self.thief.store(file_type, &like), like);
        for _ in 0..number {
            let document = faulty(&original, &mut self.random);
            let file = self.thief.store(file_type, &document);
            if !self.right.contains_key(&file) {
                self.odd.insert(file, document);
            }
        }
    }

    /// A night of maintenance, until it has hidden something: then it would wait for what the thief stored as locks.
    /// Returns what it hid.
    fn night(&self) -> BTreeSet<String> {
        let password = self.server.dir().join("password");
        let program = program("restic-0.19");
        let mut command = pawl_command();
        command.args(["maintain", "run", "web1"]).args(self.server.place());
        command.arg("--restic").arg(program).arg("--password-file").arg(password);
        let mut run = Run::start(command);
        let has_ended = wait::until("something is hidden, or the night ends", || {
            let has_ended = run.has_ended();
            (has_ended || !self.hidden().is_empty()).then_some(has_ended)
        });
        if has_ended {
            let finished = run.end();
            assert!(finished.stdout.contains("examine  "), "{finished:#?}");
        } else {
            run.kill();
        }
        self.hidden()
    }

    /// What the record says was hidden.
    fn hidden(&self) -> BTreeSet<String> {
        let record = self.server.data().join(".pawl/maintenance/run/web1.json");
        let Ok(record) = std::fs::read(record) else { return BTreeSet::new() };
        let record: Value = serde_json::from_slice(&record).unwrap();
        let junk = record["junk"].as_array().into_iter().flatten();
        junk.map(|junk| junk["file"].as_str().unwrap().to_owned()).collect()
    }

    /// This restic reads all that is left.
    fn assert_reads(&self, version: Version) {
        let restic = self.restic(version);
        for command in [&["check"][..], &["prune", "--dry-run"], &["snapshots", "--json"]] {
            let finished = restic.run([command, &["--no-lock"]].concat());
            let said = format!("{}\n{}", finished.stdout, finished.stderr);
            let is_well =
                finished.code == Some(0) || command == ["check"] && complains_of_old_restics_only(&said);
            assert!(is_well, "{version:?} {command:?}: {said}\n{}", self.named_in(&said));
            if command[0] == "snapshots" {
                let listed = self.odd.keys().filter_map(|file| file.strip_prefix("snapshots/"));
                let unread: Vec<_> = listed.filter(|id| !finished.stdout.contains(*id)).collect();
                assert!(unread.is_empty(), "{version:?}: {said}\n{}", self.named_in(&unread.join(" ")));
            }
        }
    }

    /// This restic reads all locks that are left.
    fn assert_reads_locks(&self, version: Version) {
        let restic = self.restic(version);
        for lock in self.list("locks") {
            let finished = restic.run(["cat", "lock", &lock, "--no-lock"]);
            assert_eq!(finished.code, Some(0), "{version:?}: {finished:#?}\n{}", self.named_in(&lock));
        }
    }

    /// The documents of which this speaks, by the beginnings of the ids of their files or of themselves; all if of none.
    fn named_in(&self, said: &str) -> String {
        let show = |(file, document): (&String, &Vec<u8>)| {
            let text: String = String::from_utf8_lossy(document).chars().take(SHOWN).collect();
            format!("{file} ({}): {text}\n", &id_of(document)[..8])
        };
        let is_named = |(file, document): &(&String, &Vec<u8>)| {
            let id = file.rsplit('/').next().unwrap();
            said.contains(&id[..8]) || said.contains(&id_of(document)[..8])
        };
        let named: String = self.odd.iter().filter(is_named).map(show).collect();
        if named.is_empty() { self.odd.iter().map(show).collect() } else { named }
    }
}

/// The same with a key that no restic knows: another document, and as right.
fn like_it(original: &Value) -> Vec<u8> {
    let mut like = original.clone();
    like["unknown"] = json!({"Any": [1, null, "x"]});
    like.to_string().into_bytes()
}

/// Whether a check found nothing but files of which no list of blobs is written: very old ones of restic wrote that for
/// empty files, and every restic reads it.
fn complains_of_old_restics_only(said: &str) -> bool {
    let mut errors =
        said.lines().map(str::trim).filter(|line| line.contains("rror") || line.contains("tree "));
    let is_known = |line: &str| {
        let known =
            ["check snapshots, trees", "error for tree", "has nil blob list", "repository contains errors"];
        known.iter().any(|known| line.contains(known))
    };
    said.contains("has nil blob list") && !said.contains("panic") && errors.all(is_known)
}
