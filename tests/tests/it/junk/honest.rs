//! What restic chokes on or could choke on, and is nobody's junk.
//!
//! Invariant: nothing is hidden.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use pawl_tests::content::id_of;
use pawl_tests::server::Server;
use pawl_tests::store::{plant, remove};
use rustix::fs::XattrFlags;
use serde_json::{Value, json};

use super::{Ground, id_of_file};

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
        let is_examined = (0..24).any(|_| {
            let seldom = "[maintenance]\npurge_delay_days = 3650\nverify_interval_days = 1825\n"; // it reads next to nothing
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

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
