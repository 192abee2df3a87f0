//! Another store that wants to do harm.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pawl_tests::content::noise;
use pawl_tests::store::{fact, path_of, plant, remove};

use super::{Stage, in_batches};

/// A second store in which every file has this content under its good name.
fn hostile(stage: &Stage, change: impl Fn(&str, &[u8]) -> Vec<u8>) -> PathBuf {
    let second = stage.server.dir().join("hostile");
    for (name, content) in stage.stored() {
        plant(&path_of(&second, &format!("web1/{name}")), &change(&name, &content));
    }
    second
}

/// A100: Somebody offers for restoration a store with other content under good names, of every type.
#[test]
fn other_content_under_a_good_name_is_never_put_in_place() {
    let stage = Stage::new(2);
    let second = hostile(&stage, |name, content| noise(name, content.len()));
    let all: Vec<_> = stage.stored().into_keys().collect();
    stage.rot(&all);
    let bad = stage.stored();
    let _ = stage.maintain(&["verify", "--all"]).expect_code(1);
    for _ in 0..2 {
        let report = stage.maintain(&["restore", "--from", second.to_str().unwrap(), "--json"]);
        let report = report.expect_code(1).json();
        let lines = report["repositories"][0]["files"].as_array().unwrap();
        assert_eq!(lines.len(), all.len());
        assert!(lines.iter().all(|line| line["outcome"] == "not restored"), "{report}");
    }
    // Not even the damaged copies were moved.
    assert_eq!(stage.stored(), bad);
    assert_eq!(in_batches(&stage.server), BTreeMap::new());
}

/// A101: Somebody offers a `config` of another repository, whose name cannot tell, with a password of their own.
#[test]
fn a_config_other_than_the_recorded_one_is_never_put_in_place() {
    let stage = Stage::new(1);
    let second =
        hostile(
            &stage,
            |name, content| {
                if name == "config" { noise("config", content.len()) } else { content.to_vec() }
            },
        );
    stage.rot(["config"]);
    let rotten = stage.stored();
    let from = second.to_str().unwrap();
    let _ = stage.maintain(&["restore", "web1", "config", "--from", from]).expect_code(1);
    assert_eq!(stage.stored(), rotten);
    // Nor where there is none at all any more.
    remove(&stage.path("config"));
    let done = stage.maintain(&["restore", "web1", "config", "--from", from]).expect_code(1);
    assert!(done.stdout.contains("never recorded"), "{done:?}");
    assert!(!stage.path("config").exists());
}

/// A102: Somebody has a key of maintenance shown to hosts, by having it come back from a store without facts.
#[test]
fn a_key_of_which_nothing_is_known_comes_back_hidden_from_hosts() {
    let stage = Stage::new(1);
    let second = hostile(&stage, |_, content| content.to_vec());
    let key = stage.stored().into_keys().rfind(|name| name.starts_with("keys/")).unwrap();
    remove(&stage.path(&key));
    let _ = stage.maintain(&["restore", "web1", &key, "--from", second.to_str().unwrap()]).expect_code(0);
    assert_eq!(fact(&stage.path(&key), "audience").as_deref(), Some("maintenance"));
    let client = stage.server.client(&stage.credential);
    assert_eq!(client.ask("GET", &format!("/web1/{key}")).unwrap().status, 404);
    assert!(!client.ask("GET", "/web1/keys/").unwrap().text().contains(&key[5..]));
}

/// A103: Somebody brings back what maintenance deleted, by offering it for restoration.
#[test]
fn what_maintenance_deleted_does_not_come_back_from_elsewhere() {
    let stage = Stage::new(2);
    let second = hostile(&stage, |_, content| content.to_vec());
    let all = stage.stored();
    let of_type = |of: &str| all.keys().find(|name| name.starts_with(of)).unwrap().clone();
    let deleted = [of_type("snapshots/"), of_type("index/"), of_type("data/")];
    let names = deleted.each_ref().map(String::as_str);
    let mut args = vec!["delete", "web1", "--below-floor"];
    args.extend(names);
    let _ = stage.maintain(&args).expect_code(0);
    let before = stage.stored();
    let from = second.to_str().unwrap();
    let _ = stage.maintain(&["restore", "web1", "--from", from, "--missing"]).expect_code(0);
    assert_eq!(stage.stored(), before);
}
