//! Damage with a good copy somewhere.

use std::collections::{BTreeMap, BTreeSet};

use pawl_tests::content::noise;
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::store::{fact, plant};

use super::{Stage, damaged, in_batches};

#[test]
fn bit_rot_in_twenty_files_is_named_and_healed_from_a_second_store() {
    let stage = Stage::new(6);
    let good = stage.stored();
    let second = stage.second_store();
    // Some of every type, config and a key among them.
    let of_type = |prefix: &'static str, count| {
        good.keys().filter(move |name| name.starts_with(prefix)).take(count).cloned()
    };
    let rotten: BTreeSet<String> = of_type("data/", 10)
        .chain(of_type("index/", 4))
        .chain(of_type("snapshots/", 4))
        .chain(of_type("keys/", 1))
        .chain(of_type("config", 1))
        .collect();
    assert_eq!(rotten.len(), 20);
    let facts = |name: &String| ["creator", "received"].map(|of| fact(&stage.path(name), of));
    let known: BTreeMap<_, _> = rotten.iter().map(|name| (name, facts(name))).collect();
    stage.rot(&rotten);
    let bad = stage.stored();

    let verified = stage.maintain(&["verify", "--all", "--json"]).expect_code(1).json();
    assert_eq!(damaged(&verified), rotten);

    let second = second.to_str().unwrap();
    let planned = stage.maintain(&["restore", "--from", second, "--dry-run", "--json"]).expect_code(0).json();
    let lines = planned["repositories"][0]["files"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["outcome"] == "would be restored"), "{planned}");
    assert_eq!(lines.len(), 20);
    assert_eq!(stage.stored(), bad);

    let done = stage.maintain(&["restore", "--from", second]).expect_code(0);
    assert!(done.stdout.contains("Restored 20 of 20 files."), "{done:?}");
    assert_eq!(stage.stored(), good);
    for (name, facts_before) in known {
        assert_eq!(facts(name), facts_before, "{name}");
    }
    // What was wrong is kept until it is purged.
    let kept = in_batches(&stage.server);
    for name in &rotten {
        let copies: Vec<_> = kept.iter().filter(|(path, _)| path.ends_with(name.as_str())).collect();
        assert!(matches!(copies[..], [(_, content)] if *content == bad[name]), "{name}");
    }
    let again = stage.maintain(&["verify", "--all", "--json"]).expect_code(0).json();
    assert_eq!(damaged(&again), BTreeSet::new());
    stage.assert_healthy();
    let audit = pawl_tests::command::pawl(["audit", "show"].into_iter().chain(stage.server.place()));
    assert!(audit.stdout.contains("found damaged web1/data/"), "{audit:?}");
    assert!(audit.stdout.contains("verified web1 for uid-"), "{audit:?}");
    assert!(audit.stdout.contains("brought back web1/data/"), "{audit:?}");
}

#[test]
fn good_bytes_that_a_host_sent_again_heal_the_file() {
    let stage = Stage::new(1);
    let good = stage.stored();
    let name = good.keys().find(|name| name.starts_with("data/")).unwrap();
    stage.rot([name]);
    let client = stage.server.client(&stage.credential);
    assert_eq!(client.post(&format!("/web1/{name}"), &good[name]).unwrap().status, 503);

    // It is read although its turn has not come.
    let verified = stage.maintain(&["verify", "--share", "1/10000", "--json"]).expect_code(1).json();
    assert_eq!(damaged(&verified), BTreeSet::from([name.clone()]));
    let done = stage.maintain(&["restore"]).expect_code(0);
    assert!(done.stdout.contains("from good bytes that a host sent again"), "{done:?}");
    assert_eq!(stage.stored(), good);
    stage.assert_healthy();
}

#[test]
fn a_copy_that_was_deleted_heals_a_damaged_one() {
    let stage = Stage::new(2);
    let good = stage.stored();
    let name = good.keys().find(|name| name.starts_with("data/")).unwrap().clone();
    // It is deleted, and sent again, and then rots.
    let _ = stage.maintain(&["delete", "web1", &name]).expect_code(0);
    let client = stage.server.client(&stage.credential);
    assert_eq!(client.post(&format!("/web1/{name}"), &good[&name]).unwrap().status, 200);
    stage.rot([&name]);
    let _ = stage.maintain(&["restore", "web1", &name]).expect_code(0);
    assert_eq!(stage.stored(), good);
    stage.assert_healthy();
}

#[test]
fn a_config_of_which_nothing_was_recorded_is_known_by_what_was_noted() {
    let stage = Stage::new(1);
    let good = stage.stored();
    let second = stage.second_store();
    // As one that was brought from elsewhere: without facts.
    pawl_tests::store::remove(&stage.path("config"));
    plant(&stage.path("config"), &good["config"]);
    let noted = stage.maintain(&["verify", "--share", "1/10000"]).expect_code(0);
    assert!(noted.stdout.contains("its hash was not recorded when it was stored"), "{noted:?}");
    let snapshot = good.keys().find(|name| name.starts_with("snapshots/")).unwrap().clone();
    stage.rot(["config".to_owned(), snapshot.clone()]);
    let report = stage.maintain(&["verify", "--all", "--json"]).expect_code(1).json();
    assert_eq!(damaged(&report), ["config".to_owned(), snapshot].into());
    let _ = stage.maintain(&["restore", "--from", second.to_str().unwrap()]).expect_code(0);
    assert_eq!(stage.stored(), good);
    stage.assert_healthy();
    let _ = stage.maintain(&["verify", "--all"]).expect_code(0);
}

#[test]
fn without_a_good_copy_nothing_is_touched() {
    let stage = Stage::new(1);
    let name = stage.stored().into_keys().find(|name| name.starts_with("snapshots/")).unwrap();
    stage.rot([&name]);
    let bad = stage.stored();
    let _ = stage.maintain(&["verify", "--all"]).expect_code(1);
    let done = stage.maintain(&["restore"]).expect_code(1);
    assert!(done.stdout.contains("not restored (there is no good copy"), "{done:?}");
    assert_eq!(stage.stored(), bad);
    assert!(in_batches(&stage.server).is_empty());
}

#[test]
fn files_that_only_the_second_store_has_come_back_on_request() {
    let stage = Stage::new(2);
    let good = stage.stored();
    let second = stage.second_store().join("web1");
    let gone: Vec<_> = good.keys().filter(|name| name.starts_with("data/")).take(2).collect();
    for name in &gone {
        pawl_tests::store::remove(&stage.path(name));
    }
    let from = second.to_str().unwrap();
    let _ = stage.maintain(&["restore", "web1", "--from", from]).expect_code(0);
    assert_eq!(stage.stored().len(), good.len() - 2);
    let _ = stage.maintain(&["restore", "web1", "--from", from, "--missing"]).expect_code(0);
    assert_eq!(stage.stored(), good);
    stage.assert_healthy();
}

#[test]
fn a_backup_that_runs_meanwhile_is_not_disturbed() {
    let stage = Stage::new(6);
    let good = stage.stored();
    let second = stage.second_store();
    let rotten: Vec<_> =
        good.keys().filter(|name| name.starts_with("data/") || name.starts_with("snapshots/")).collect();
    stage.rot(&rotten);
    let _ = stage.maintain(&["verify", "--all"]).expect_code(1);
    plant(&stage.files.join("large"), &noise("large", 40_000_000));
    // It has sent data, and has not yet said what it is, while files are displaced and put in.
    let line = Proxy::start(stage.server.address(), Fault::Hold, "POST /web1/index/");
    let far = stage.restic.through(line.address());
    let backup = far.start(["backup", stage.files.to_str().unwrap(), "--force"]);
    line.wait_for_fault();
    let _ = stage.maintain(&["restore", "--from", second.to_str().unwrap()]).expect_code(0);
    line.let_through();
    let _ = backup.end().expect_code(0);
    let now = stage.stored();
    for (name, content) in &good {
        assert!(now.get(name) == Some(content), "{name}");
    }
    stage.assert_healthy();
}
