//! What a host with its credential and the repository's password adds so that restic chokes on it, and how the next run
//! of maintenance hides that and nothing else.
//!
//! Invariant: that restic chokes is tried with the real restic, before; that all is well, after.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod honest;
mod index;
mod lost;
mod newer;

use std::collections::BTreeSet;
use std::path::Path;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::{Finished, pawl_command};
use pawl_tests::content::{id_of, noise};
use pawl_tests::cut;
use pawl_tests::forger::Forger;
use pawl_tests::maintenance::maintain;
use pawl_tests::program::{Run, program};
use pawl_tests::server::Server;
use pawl_tests::store::{plant, plant_secret};
use serde_json::{Value, json};

/// A repository with good backups, and a thief who has all that its host has.
struct Ground {
    server: Server,
    restic: Restic,
    thief: Forger,
}

impl Ground {
    fn new() -> Self {
        Self::on(Server::start())
    }

    fn on(server: Server) -> Self {
        let credential = clients::ready(&server, "web1");
        let restic = Restic::new(Version::V0_19, &credential);
        let files = restic.home().join("files");
        for (name, bytes) in [("a/b/large", 300_000), ("a/small", 10), ("c", 1000)] {
            plant(&files.join(name), &noise(name, bytes));
        }
        restic.backup(&files);
        plant(&files.join("a/later"), b"more");
        restic.backup(&files);
        plant_secret(&server.dir().join("password"), b"secret");
        let thief = Forger::new(&restic, server.client(&credential), "web1");
        Self { server, restic, thief }
    }

    fn run(&self) -> Finished {
        self.run_with(&program("restic-0.19"))
    }

    fn run_with(&self, restic: &Path) -> Finished {
        self.run_only(restic, &[])
    }

    fn run_only(&self, restic: &Path, steps: &[&str]) -> Finished {
        let password = self.server.dir().join("password");
        let options = ["--restic", restic.to_str().unwrap(), "--password-file", password.to_str().unwrap()];
        maintain(&self.server.place(), &[&["run", "web1", "--lock-wait", "5s"], &options[..], steps].concat())
    }

    /// What the last run wrote down about junk.
    fn junk(&self) -> Vec<Value> {
        let record = self.server.data().join(".pawl/maintenance/run/web1.json");
        let Ok(record) = std::fs::read(record) else { return Vec::new() };
        let record: Value = serde_json::from_slice(&record).unwrap();
        record["junk"].as_array().unwrap().clone()
    }

    /// A run hides these files, names the host that stored them and nothing else, and then all reads back.
    fn assert_hides(&self, files: &[&str], reason: &str) {
        let before = self.server.stored();
        let finished = self.run().expect_code(1);
        assert!(finished.stdout.contains(reason), "{finished:#?}");
        let junk = self.junk();
        let named: BTreeSet<_> = junk.iter().map(|junk| junk["file"].as_str().unwrap()).collect();
        assert_eq!(named, files.iter().copied().collect(), "{junk:#?}");
        for junk in &junk {
            assert_eq!(junk["creator"], "web1", "{junk}");
        }
        for file in files {
            assert!(!self.server.has(&format!("web1/{file}")), "{file} is visible still");
        }
        let gone = before.losses(&self.server.stored());
        let is_junk = |line: &String| files.iter().any(|file| line.contains(&id_of_file(file)));
        // Where a snapshot was junk, restic pruned, and packed anew what the others need.
        let is_packing = |line: &String| !line.contains("/snapshots/") && !line.contains("/keys/");
        assert!(gone.iter().all(|line| is_junk(line) || is_packing(line)), "{gone:#?}");
        self.restic.check();
        let _ = self.restic.restore(&self.restic.home().join("files"), &[]);
        let _ = maintain(&self.server.place(), &["report", "--acknowledge"]);
        let _ = self.run().expect_code(0);
    }
}

fn id_of_file(file: &str) -> String {
    file.rsplit('/').next().unwrap().to_owned()
}

/// A160: A thief of a host's credential, without the repository's password, stores an index, a snapshot and a lock that
/// are noise, on which restic chokes.
#[test]
fn noise_is_hidden_as_one_batch() {
    let ground = Ground::new();
    let files: Vec<_> = ["index", "snapshots", "locks"]
        .iter()
        .map(|file_type| ground.thief.store_as_it_is(file_type, &noise(file_type, 400)))
        .collect();
    assert_ne!(ground.restic.run(["check", "--no-lock"]).code, Some(0), "restic chokes on it");
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    ground.assert_hides(&files, "not encrypted with this repository's key");
    let deleted = maintain(&ground.server.place(), &["deleted", "--json"]).expect_code(0).json();
    assert_eq!((deleted.as_array().unwrap().len(), deleted[0]["files"].as_u64()), (1, Some(2)), "{deleted}");
}

/// Junk that a killed run hid keeps prune away like any other, until somebody has looked.
#[test]
fn a_run_that_is_killed_while_it_hides_junk_has_noted_the_batch() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let password = ground.server.dir().join("password");
    let mut hidden_by_killed = 0;
    for number in 1.. {
        let _ = ground.thief.store_as_it_is("index", &noise(&format!("index {number}"), 400));
        let mut command = pawl_command();
        command.args(["maintain", "run", "web1", "--only", "examine", "--password-file"]).arg(&password);
        command.args(ground.server.place()).envs(cut::before_step(number, "run"));
        let ended = Run::start(command).end();
        let record = ground.server.data().join(".pawl/maintenance/run/web1.json");
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        let noted: BTreeSet<_> = record["unseen"].as_array().unwrap().iter().map(Value::as_str).collect();
        let deleted = maintain(&ground.server.place(), &["deleted", "--json"]).expect_code(0).json();
        let deleted = deleted.as_array().unwrap();
        let hidden: BTreeSet<_> = deleted.iter().map(|batch| batch["batch"].as_str()).collect();
        assert!(hidden.is_subset(&noted), "killed before step {number}: {hidden:?}, noted {noted:?}");
        if ended.code.is_some() {
            assert!(hidden_by_killed > 1, "{ended:?}");
            break;
        }
        hidden_by_killed = hidden.len();
    }
}

/// A161: A thief with the repository's password as well stores files that open and that restic cannot read.
#[test]
fn what_opens_and_says_nothing_is_hidden() {
    let ground = Ground::new();
    let bomb = zstd_of_zeros(600 << 20);
    let tree = id_of(b"no such tree");
    let snapshot = |time: &str| json!({"time": time, "tree": tree, "paths": ["/"]}).to_string().into_bytes();
    let files = [
        ground.thief.store("index", b"{\"packs\":7}"),
        ground.thief.store("index", &[&[2][..], &bomb[..]].concat()),
        ground.thief.store("index", &[&[2][..], &noise("no frame", 100)[..]].concat()),
        ground.thief.store("index", b"nonsense"),
        ground.thief.store("snapshots", &snapshot("yesterday")),
        ground.thief.store("snapshots", b"{\"time\":\"2026-11-20T01:02:03Z\",\"paths\":[]}"),
        ground.thief.store("locks", b"{\"exclusive\":\"for ever\"}"),
    ];
    assert_ne!(ground.restic.run(["check", "--no-lock"]).code, Some(0), "restic chokes on it");
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    ground.assert_hides(&files, "restic cannot read it");
}

/// A162: A thief stores well-formed snapshots whose trees, or what these name, are not there, so that restic's prune
/// stops for ever.
#[test]
fn snapshots_of_what_is_not_there_are_hidden() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0); // what was there before is known to be good
    let thief = &ground.thief;
    let lost = id_of(b"a blob that nobody has");
    let file = json!({"nodes": [{"name": "f", "type": "file", "content": [lost]}]}).to_string();
    let below =
        json!({"nodes": [{"name": "d", "type": "dir", "subtree": id_of(file.as_bytes())}]}).to_string();
    let like =
        json!({"nodes": [{"name": "f", "type": "file", "content": [like_one_that_is_there(&ground)]}]});
    let like = like.to_string();
    let broken = b"{\"nodes\":\"none\"}";
    let pack = thief.store_trees(&[file.as_bytes(), below.as_bytes(), like.as_bytes(), broken]);
    thief.store_index(&[(&pack.id, &pack.blobs)]);
    let files = [
        thief.store_snapshot(&id_of(b"a tree that nobody has")),
        thief.store_snapshot(&id_of(below.as_bytes())),
        thief.store_snapshot(&id_of(like.as_bytes())),
        thief.store_snapshot(&id_of(broken)),
    ];
    assert_ne!(ground.restic.run(["prune", "--dry-run", "--no-lock"]).code, Some(0), "restic's prune stops");
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    ground.assert_hides(&files, "is in no index");
}

/// The id of a blob that is there, but for its last digit.
fn like_one_that_is_there(ground: &Ground) -> String {
    let blobs = ground.restic.succeed(["list", "blobs", "--no-lock"]);
    let mut id = blobs.lines().find_map(|blob| blob.strip_prefix("data ")).unwrap().to_owned();
    let other = if id.ends_with('0') { '1' } else { '0' };
    id.pop();
    id.push(other);
    id
}

/// A171: A thief stores snapshots whose trees only look as if restic could read them: an entry's name, time or attribute is
/// none, or stands under a key that Go takes for restic's.
#[test]
fn entries_that_restic_cannot_read_are_hidden() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0); // what was there before is known to be good
    let thief = &ground.thief;
    let entry =
        |odd: &str| format!("{{\"nodes\":[{{\"name\":\"f\",\"type\":\"file\",\"content\":[],{odd}}}]}}");
    let odd = [
        r#""mtime":"yesterday""#,
        r#""ctime":"2026-02-29T01:02:03Z""#,
        r#""user":7"#,
        r#""linktarget_raw":"not base64""#,
        r#""extended_attributes":[{"name":"user.x","value":7}]"#,
        r#""generic_attributes":[]"#,
        r#""links":-1"#,
        r#""Size":"large""#,
        "\"u\u{17f}er\":7",
    ];
    let mut trees: Vec<_> = odd.iter().map(|odd| entry(odd)).collect();
    trees.push(r#"{"nodes":[["f","file",null,null]]}"#.to_owned());
    trees.push(r#"{"nodes":[{"name":"f","type":"","content":[]}]}"#.to_owned());
    trees.push("{}".to_owned());
    trees.push(r#"{"nodes":null}"#.to_owned());
    trees.push(entry(&format!("\"free\":{}{}", "[".repeat(10_050), "]".repeat(10_050))));
    trees.push(entry(r#""mtime":"2026\u002d11-20T01:02:03Z""#));
    trees.push(r#"{"nodes":[{"name":"no \\q escape","type":"file","content":[]}]}"#.to_owned());
    let trees: Vec<_> = trees.iter().map(String::as_bytes).collect();
    let pack = thief.store_trees(&trees);
    thief.store_index(&[(&pack.id, &pack.blobs)]);
    let files: Vec<_> = trees.iter().map(|tree| thief.store_snapshot(&id_of(tree))).collect();
    for file in &files {
        let listed = ground.restic.run(["ls", "--no-lock", &id_of_file(file)]);
        assert_ne!(listed.code, Some(0), "restic reads it: {listed:#?}");
    }
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    ground.assert_hides(&files, "restic cannot read it");
}

/// A frame of Zstandard that becomes so many zeros, in blocks of one repeated byte.
fn zstd_of_zeros(bytes: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    let blocks = bytes / BLOCK;
    for block in 0..blocks {
        let header = (BLOCK << 3) | (1 << 1) | usize::from(block + 1 == blocks);
        frame.extend(&u32::try_from(header).unwrap().to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}
