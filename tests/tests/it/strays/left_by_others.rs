//! What file managers, network drives and other servers leave in a repository.

use pawl_tests::content::id_of;
use pawl_tests::maintenance::maintain;
use pawl_tests::store::plant;

use super::{server_with_a_backup, step};

#[test]
fn what_is_known_to_be_harmless_is_named_and_keeps_nothing_from_being_purged() {
    let (server, _restic) = server_with_a_backup();
    let unfinished = format!("data/00/{}-tmp-1234567", id_of(b"a pack"));
    let names = [
        ".DS_Store",
        "data/.DS_Store",
        "index/Thumbs.db",
        "desktop.ini",
        "@eaDir/of@SynoEAStream",
        &unfinished,
    ];
    for name in names {
        plant(&server.data().join("web1").join(name), b"left");
    }
    let verified = maintain(&server.place(), &["verify", "--json"]).expect_code(0).json();
    for name in [".DS_Store", "data/.DS_Store", "index/Thumbs.db", "desktop.ini", "@eaDir", &unfinished] {
        let mut findings = verified["findings"].as_array().unwrap().iter();
        let found = findings.find(|finding| finding["file"] == name).unwrap();
        assert_eq!(found["severity"], "note", "{found:#}");
    }
    let run = maintain(&server.place(), &["run", "--json"]).expect_code(0).json();
    assert_eq!(step(&run, "web1", "purge").0, "well", "{run:#}");
}

#[test]
fn anything_else_is_named_with_what_to_do() {
    let (server, _restic) = server_with_a_backup();
    plant(&server.data().join("web1/index/notes.txt"), b"left");
    let verified = maintain(&server.place(), &["verify"]).expect_code(1);
    let line = verified.stdout.lines().find(|line| line.contains("web1/index/notes.txt")).unwrap();
    assert!(line.contains("remove it, or move it out of the repository"), "{line}");
}
