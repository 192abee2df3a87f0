//! What hosts sent lately and no snapshot names yet: prune leaves it alone, and what is older goes all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use pawl_tests::content::{id_of, noise};
use pawl_tests::program::program;
use pawl_tests::store::plant;
use serde_json::{Value, json};

use super::{DAY, Ground, RULES, step};

/// Bytes of a backup that is cut.
const LARGE: usize = 3 << 20;

impl Ground {
    /// Makes a backup that is cut before its snapshot; returns the packs and indexes that it sent.
    fn cut_backup(&self, name: &str) -> BTreeSet<String> {
        let restic = self.restic(name);
        let files = restic.home().join("first");
        plant(&files.join("large"), &noise("large", LARGE));
        let before = self.files(name);
        let snapshot = restic.report_of_backup(&files, &["--host", name]).snapshot;
        self.server.remove(&format!("{name}/snapshots/{snapshot}"));
        &self.files(name) - &before
    }
}

fn a_cut_backup_goes_on_with_what_it_sent(restic: &str) {
    let ground = Ground::new(&["web1"]);
    let sent = ground.cut_backup("web1");
    // The second time nothing was deleted since, so that prune has to be asked for.
    for (night, only) in [&[][..], &["--only", "prune"]].into_iter().enumerate() {
        let finished = ground.start(&program(restic), &[&RULES[..], only].concat()).end().expect_code(0);
        let there = ground.files("web1");
        assert!(sent.is_subset(&there), "night {night}: {:?} are gone", &sent - &there);
        assert!(finished.stdout.contains("a backup that was cut may go on with that"), "{finished:#?}");
        assert_eq!(ground.snapshots("web1").len(), 4, "forgetting goes on");
        ground.restic("web1").check();
    }
    let files = ground.restic("web1").home().join("first");
    let again = ground.restic("web1").report_of_backup(&files, &["--host", "web1"]);
    assert!(again.added < 100_000, "{again:?}");
    ground.restic("web1").check();
}

#[test]
fn what_a_cut_backup_sent_is_there_when_it_goes_on_with_restic_0_14() {
    a_cut_backup_goes_on_with_what_it_sent("restic-0.14");
}

#[test]
fn what_a_cut_backup_sent_is_there_when_it_goes_on_with_restic_0_19() {
    a_cut_backup_goes_on_with_what_it_sent("restic-0.19");
}

/// restic writes packs anew that are small, those of the last days among them. Then nothing is stored twice.
#[test]
fn small_packs_of_the_last_days_go_once_they_are_written_anew() {
    let ground = Ground::new(&["web1"]);
    let restic = ground.restic("web1");
    let files = restic.home().join("small");
    for number in 0..12 {
        plant(&files.join(format!("file-{number}")), &noise(&format!("small {number}"), 10_000));
        let _ = restic.report_of_backup(&files, &["--host", "web1"]);
    }
    let sent = ground.cut_backup("web1");
    let before = ground.files("web1");
    let finished = ground.run(&["--only", "prune"]).expect_code(0);
    let there = ground.files("web1");
    let packs = |files: &BTreeSet<String>| files.iter().filter(|file| file.contains("/data/")).count();
    assert!(packs(&there) + 12 <= packs(&before), "{finished:#?}");
    assert!(sent.is_subset(&there), "what a cut backup sent stays: {:?}", &sent - &there);
    let blobs = restic.succeed(["list", "blobs", "--no-lock"]);
    assert_eq!(blobs.lines().count(), blobs.lines().collect::<BTreeSet<_>>().len(), "stored twice: {blobs}");
    restic.check();
}

/// A client that takes no lock is at work while `run` prunes: it has sent packs, and no index of them yet.
#[test]
fn packs_that_no_index_names_yet_are_there_when_their_index_comes() {
    let ground = Ground::new(&["web1"]);
    let thief = ground.thief("web1");
    let tree = json!({"nodes": [{"name": "f", "type": "file", "content": []}]}).to_string();
    let pack = thief.store_trees(&[tree.as_bytes()]);
    let finished = ground.run(&RULES).expect_code(0);
    assert!(finished.stdout.contains("kept 1 file,"), "{finished:#?}");
    thief.store_index(&[(&pack.id, &pack.blobs)]);
    thief.store_snapshot(&id_of(tree.as_bytes()));
    ground.restic("web1").check();
}

/// What never became a snapshot is removed once it is older than the floor.
#[test]
fn what_a_cut_backup_sent_goes_when_it_is_old() {
    let ground = Ground::new(&["web1"]);
    let sent = ground.cut_backup("web1");
    for file in &sent {
        ground.server.back_date(file, Duration::from_secs(8 * DAY));
    }
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert!(sent.is_disjoint(&ground.files("web1")), "{report:#}");
    assert_eq!(step(&report, "web1", "prune")["said"].as_array().unwrap().len(), 1, "{report:#}");
    ground.restic("web1").check();
}

/// A177: A thief of a host sends something new every day: packs that nothing names, and an index of all packs that there are,
/// so that prune leaves all of them alone for ever.
#[test]
fn what_is_old_goes_whatever_young_indexes_say_of_it() {
    let ground = Ground::new(&["web1"]);
    let (restic, thief) = (ground.restic("web1"), ground.thief("web1"));
    let mut packs = Vec::new();
    for index in restic.succeed(["list", "index", "--no-lock"]).lines() {
        let index = restic.succeed(["cat", "index", index, "--no-lock"]);
        let index: Value = serde_json::from_str(&index).unwrap();
        packs.extend(index["packs"].as_array().unwrap().clone());
    }
    let old = ground.files("web1");
    let young = thief.store_trees(&[b"{\"nodes\":[]}"]);
    packs.push(json!({"id": young.id, "blobs": young.blobs}));
    let index = thief.store("index", json!({ "packs": packs }).to_string().as_bytes());
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    let there = ground.files("web1");
    let is_gone = |file: &&String| file.contains("/data/") && !there.contains(*file);
    assert!(old.iter().filter(is_gone).count() >= 2, "{report:#}");
    assert!(there.contains(&format!("web1/data/{}", young.id)), "{report:#}");
    assert!(!there.contains(&format!("web1/{index}")), "it names what is gone: {report:#}");
    restic.check();
}
