//! What a host with its credential and the repository's password adds so that restic chokes on it, and how the next run
//! of maintenance hides that and nothing else.
//!
//! Invariant: that restic chokes is tried with the real restic, before; that all is well, after.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::Finished;
use pawl_tests::content::{id_of, noise};
use pawl_tests::forger::Forger;
use pawl_tests::maintenance::maintain;
use pawl_tests::program::program;
use pawl_tests::server::Server;
use pawl_tests::store::{plant, remove};
use rustix::fs::XattrFlags;
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
        plant(&server.dir().join("password"), b"secret");
        std::fs::set_permissions(
            server.dir().join("password"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        let thief = Forger::new(&restic, server.client(&credential), "web1");
        Self { server, restic, thief }
    }

    fn run(&self) -> Finished {
        let password = self.server.dir().join("password");
        let program = program("restic-0.19");
        let options = ["--restic", program.to_str().unwrap(), "--password-file", password.to_str().unwrap()];
        maintain(&self.server.place(), &[&["run", "web1", "--lock-wait", "5s"], &options[..]].concat())
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

/// What an honest host has is none of it, however odd: names, times, owners, links and attributes of all kinds.
#[test]
fn what_is_odd_and_honest_is_nobodys_junk() {
    let ground = Ground::new();
    let files = ground.restic.home().join("files");
    for name in ["q\"uo'te", "back\\slash", "new\nline", "tab\t", "\u{7f}\u{1}", "é𝄞\u{202e}", "\\x41"] {
        plant(&files.join(name), b"odd");
    }
    let not_utf8 = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    plant(&files.join(not_utf8), b"odd");
    std::os::unix::fs::symlink(not_utf8, files.join("link")).unwrap();
    std::fs::hard_link(files.join("tab\t"), files.join("twice")).unwrap();
    let odd = |command: &str| {
        let done = Command::new("sh").current_dir(&files).args(["-c", command]).output().unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
    };
    odd("mkfifo fifo");
    odd(
        "touch -d '1901-12-14 00:00:00 UTC' old; touch -d '2400-01-01 00:00:00 UTC' new; touch -d @-1 before",
    );
    for (name, value) in [("user.empty", &b""[..]), ("user.bytes", &[0xff, 0, 0xfe])] {
        rustix::fs::setxattr(files.join("twice"), name, value, XattrFlags::empty()).unwrap();
    }
    odd("chown 4294967294:4294967294 old 2>/dev/null; chmod 7777 new");
    let before = ground.restic.snapshots();
    let newest = ground.restic.report_of_backup(&files, &[]).snapshot;
    // As rustic writes one that is to be kept until a day: restic reads it, and knows nothing of these keys.
    let newest = ground.restic.succeed(["cat", "snapshot", &newest]);
    let mut rustics: Value = serde_json::from_str(&newest).unwrap();
    rustics["delete"] = json!({"After": "2099-01-01T00:00:00+01:00"});
    rustics["label"] = "nightly".into();
    let rustics = ground.thief.store("snapshots", rustics.to_string().as_bytes());
    ground.restic.succeed(["ls", &id_of_file(&rustics)]);
    let _ = ground.run().expect_code(0);
    assert_eq!(ground.restic.snapshots().len(), before.len() + 2);
    assert!(ground.junk().is_empty());
}

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
    let index = ground.restic.succeed(["list", "index", "--no-lock"]);
    let index = ground.restic.succeed(["cat", "index", index.lines().next().unwrap(), "--no-lock"]);
    let honest: Value = serde_json::from_str(&index).unwrap();
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
    let index = ground.restic.succeed(["list", "index", "--no-lock"]);
    let index = ground.restic.succeed(["cat", "index", index.lines().next().unwrap(), "--no-lock"]);
    let mut part: Value = serde_json::from_str(&index).unwrap();
    for pack in part["packs"].as_array_mut().unwrap() {
        pack["blobs"].as_array_mut().unwrap().pop();
    }
    let part = ground.thief.store("index", part.to_string().as_bytes());
    assert_ne!(ground.restic.run(["check", "--no-lock", "--read-data"]).code, Some(0), "restic chokes on it");
    ground.assert_hides(&[&part], "names a part of a pack");
}

/// What restic's own `repair snapshots` left in the place of what it could not read stays, and is named every night until
/// somebody mends it: restic 0.19 does not read it, and so prunes no more.
#[test]
fn a_directory_that_restic_emptied_is_nobodys_junk() {
    let ground = Ground::new();
    let _ = ground.run().expect_code(0);
    let emptied = b"{\"nodes\":null}\n";
    let root = json!({"nodes": [{
        "name": "d", "type": "dir", "mtime": "2026-11-20T01:02:03Z", "atime": "2026-11-20T01:02:03Z",
        "ctime": "2026-11-20T01:02:03Z", "subtree": id_of(emptied),
    }]});
    let root = root.to_string();
    let pack = ground.thief.store_trees(&[emptied, root.as_bytes()]);
    ground.thief.store_index(&[(&pack.id, &pack.blobs)]);
    let snapshot = ground.thief.store_snapshot(&id_of(root.as_bytes()));
    for _ in 0..2 {
        let finished = ground.run().expect_code(2);
        let named = format!("{snapshot} holds a directory that `restic repair snapshots` emptied");
        assert!(finished.stdout.contains(&named), "{finished:#?}");
        assert!(finished.stdout.contains("check    failed"), "restic 0.19 does not read it: {finished:#?}");
        assert!(ground.server.has(&format!("web1/{snapshot}")) && ground.junk().is_empty(), "{finished:#?}");
    }
    let state = std::fs::read(ground.server.data().join(".pawl/maintenance/examined/web1.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let good = state["good"].as_array().unwrap();
    assert!(!good.is_empty() && !good.contains(&snapshot.clone().into()), "{state}");
}

/// Where most snapshots are broken and none was ever seen whole, that is a loss, and nobody's junk.
#[test]
fn a_loss_is_not_hidden() {
    let ground = Ground::new();
    for file in walk(&ground.server.data().join("web1/data")) {
        remove(&file);
    }
    let visible = walk(&ground.server.data().join("web1/snapshots"));
    let finished = ground.run();
    assert_ne!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(walk(&ground.server.data().join("web1/snapshots")), visible);
    assert!(ground.junk().is_empty());
}

/// Damage is not taken for junk: nothing is hidden because of it, and it is named.
#[test]
fn what_is_damaged_is_nobodys_junk() {
    for file_type in ["index", "snapshots", "data"] {
        // Where verification reads a damaged file tonight, the night ends with it; else it is examined.
        let is_examined = (0..8).any(|_| {
            let seldom = "[maintenance]\ndelay_days = 3650\nverify_days = 1825\n"; // it reads next to nothing
            let ground = Ground::on(Server::build().config(seldom).start());
            for file in walk(&ground.server.data().join("web1").join(file_type)) {
                let content = std::fs::read(&file).unwrap();
                let rotten: Vec<u8> = content.iter().map(|byte| byte ^ 0x20).collect();
                // In its place, with its facts, as a disk rots.
                std::fs::OpenOptions::new().write(true).open(&file).unwrap().write_all(&rotten).unwrap();
            }
            let visible = walk(&ground.server.data().join("web1/snapshots"));
            let finished = ground.run();
            assert_ne!(finished.code, Some(0), "{finished:#?}");
            assert_eq!(walk(&ground.server.data().join("web1/snapshots")), visible, "{file_type}");
            assert!(ground.junk().is_empty(), "{file_type}");
            let is_examined = finished.stdout.contains("examine  notice");
            assert!(!is_examined || finished.stdout.contains("is damaged"), "{file_type}: {finished:#?}");
            assert!(is_examined || finished.stdout.contains("restore  failed"), "{file_type}: {finished:#?}");
            is_examined
        });
        assert!(is_examined, "{file_type} was never examined");
    }
}

/// Ids of all trees of the newest snapshot.
fn trees(restic: &Restic) -> Vec<String> {
    let listed = restic.succeed(["list", "blobs", "--no-lock"]);
    listed.lines().filter_map(|line| line.strip_prefix("tree ")).map(str::to_owned).collect()
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.sort();
    found
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
