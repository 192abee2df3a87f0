//! What stands in the way is said, and nothing is removed; run again without it, the work is done.

use pawl_tests::program::program;
use pawl_tests::store::{plant, plant_program};

use super::{Ground, maintain};

const RULES: [&str; 2] = ["--keep-last", "4"];

#[test]
fn a_missing_an_old_and_a_locked_out_restic_remove_nothing() {
    let ground = Ground::new();
    let good = ground.daily(20, 6);
    let password = ground.server.dir().join("password");
    let wrong = ground.server.dir().join("wrong");
    plant(&wrong, b"wrong");
    let [restic, none] = [program("restic-0.19"), "/nowhere/restic".into()];
    let old = ground.server.dir().join("restic-0.13");
    plant_program(&old, "#!/bin/sh\necho restic 0.13.1 compiled with go1.18\n");
    let [password, wrong] = [&password, &wrong].map(|path| path.to_str().unwrap());
    for (restic, password, reason) in [
        (&none, password, "cannot start /nowhere/restic"),
        (&old, password, "expected 0.14 or newer"),
        (&restic, wrong, "wrong password"),
        (&restic, "/nowhere/password", "/nowhere/password"),
    ] {
        let options = ["--restic", restic.to_str().unwrap(), "--password-file", password];
        let finished =
            maintain(&ground.server.place(), &[&["forget", "web1"], &RULES[..], &options].concat());
        let finished = finished.expect_code(2);
        assert!(finished.stderr.contains(reason), "{finished:#?}");
    }
    let unsaid = maintain(&ground.server.place(), &["forget", "web1", "--keep-last", "4"]).expect_code(2);
    assert!(unsaid.stderr.contains("--password-file"), "{unsaid:#?}");
    let nowhere = maintain(
        &ground.server.place(),
        &["forget", "web2", "--restic", restic.to_str().unwrap(), "--password-file", password],
    );
    assert!(nowhere.expect_code(2).stderr.contains("there is no repository web2"));
    ground.assert_there(&good);
    let _ = ground.forget(&RULES).expect_code(0);
    assert_eq!(ground.there().len(), 4);
}

#[test]
fn what_was_counted_is_remembered_and_safe_to_lose() {
    let ground = Ground::new();
    ground.daily(20, 6);
    let first = ground.report(&[&RULES[..], &["--dry-run"]].concat());
    let state = ground.server.data().join(".pawl/maintenance/forget/web1.json");
    let remembered = std::fs::read_to_string(&state).unwrap();
    assert!(remembered.contains("\"bytes\": 10000"), "{remembered}");
    for content in ["", "{", "{\"trees\": 3}"] {
        plant(&state, content.as_bytes());
        assert_eq!(ground.report(&[&RULES[..], &["--dry-run"]].concat()), first);
        assert_eq!(std::fs::read_to_string(&state).unwrap(), remembered);
    }
}
