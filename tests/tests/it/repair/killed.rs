//! The restoration is killed again and again.

use std::fs;

use pawl_tests::command::pawl_command;
use pawl_tests::program::Run;
use pawl_tests::wait;

use super::{Stage, in_batches};

/// After so many files were moved away it is killed.
const KILLED_AFTER: [usize; 5] = [1, 2, 5, 9, 14];

#[test]
fn a_restoration_that_is_killed_is_completed_by_the_next() {
    let stage = Stage::new(8);
    let good = stage.stored();
    let second = stage.second_store();
    let rotten: Vec<_> = good.keys().filter(|name| *name != "config").cloned().collect();
    let mut cut = 0;
    for files in KILLED_AFTER {
        stage.rot(&rotten);
        let bad = stage.stored();
        let _ = stage.maintain(&["verify", "--all"]).expect_code(1);
        let before = in_batches(&stage.server).len();
        let mut command = pawl_command();
        command.args(["maintain", "restore", "--from", second.to_str().unwrap()]).args(stage.server.place());
        let mut run = Run::start(command);
        wait::until("some files were moved away", || {
            (in_batches(&stage.server).len() >= before + files || run.has_ended()).then_some(())
        });
        run.kill();
        // Each is as it was, or as it should be, or out of sight: nothing is half.
        let now = stage.stored();
        for (name, content) in &now {
            assert!(*content == good[name] || *content == bad[name], "{name}");
        }
        cut += usize::from(now != good);
        let _ = stage.maintain(&["restore", "--from", second.to_str().unwrap()]).expect_code(0);
        assert_eq!(stage.stored(), good);
    }
    assert!(cut > 0, "no killing came in time");
    let staging = stage.server.data().join(".pawl/maintenance/staging");
    assert!(!staging.exists() || fs::read_dir(staging).unwrap().next().is_none());
    stage.assert_healthy();
}

#[test]
fn a_file_that_was_moved_away_and_not_put_back_is_missed() {
    let stage = Stage::new(1);
    let good = stage.stored();
    let name = good.keys().find(|name| name.starts_with("data/")).unwrap().clone();
    let id = name.strip_prefix("data/").unwrap();
    // What a killing between the two steps leaves behind.
    let batch = stage.server.data().join(".pawl/deleted/20261121T014500Z-1a2b3c4d");
    let header = r#"{"repository":"web1","principal":"admin","reason":"damaged","began_ms":1}"#;
    pawl_tests::store::plant(&batch.join("batch.json"), header.as_bytes());
    stage.rot([&name]);
    let rotten = fs::read(stage.path(&name)).unwrap();
    pawl_tests::store::plant(&batch.join("data").join(id), &rotten);
    pawl_tests::store::remove(&stage.path(&name));

    let report = stage.maintain(&["verify", "--share", "1/10000", "--json"]).expect_code(1).json();
    assert_eq!(super::found(&report, "damage"), [(name.clone(), "missing".to_owned())].into());
    let second = stage.server.dir().join("second");
    pawl_tests::store::plant(&second.join("web1/data").join(&id[..2]).join(id), &good[&name]);
    let _ = stage.maintain(&["restore", "--from", second.to_str().unwrap()]).expect_code(0);
    assert_eq!(stage.stored(), good);
    let _ = stage.maintain(&["verify", "--all"]).expect_code(0);
}
