//! Help, wrong usage, and the decision table.

use std::fs;
use std::path::Path;

use pawl_tests::command::pawl;

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_right() {
    let cases: [&[&str]; 9] = [
        &["frobnicate"],
        &["serve", "--no-such-option"],
        &["serve", "--data", "a", "--config", "b"],
        &["host"],
        &["host", "add", "--data", "a"],
        &["host", "add", "web1"],
        &["host", "list", "--data", "a", "--config", "b"],
        &["host", "add", "web1", "--data", "a", "--role", "emperor"],
        &["policy", "frobnicate"],
    ];
    for args in cases {
        let finished = pawl(args).expect_code(2);
        assert!(finished.stderr.contains("--help"), "{args:?}: {finished:#?}");
        assert_eq!(finished.stdout, "", "{args:?}");
    }
}

#[test]
fn help_is_no_error_and_names_every_command() {
    let finished = pawl(["--help"]).expect_code(0);
    for word in ["serve", "host", "policy"] {
        assert!(finished.stdout.contains(word), "{word}: {finished:#?}");
    }
    let finished = pawl(["host", "--help"]).expect_code(0);
    for word in ["add", "list", "revoke", "rotate"] {
        assert!(finished.stdout.contains(word), "{word}: {finished:#?}");
    }
}

#[test]
fn version_is_printed() {
    let finished = pawl(["--version"]).expect_code(0);
    assert_eq!(finished.stdout.trim(), concat!("pawl ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_decision_table_is_the_reviewed_one() {
    let reviewed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/tests/table.txt");
    assert_eq!(pawl(["policy", "table"]).expect_code(0).stdout, fs::read_to_string(reviewed).unwrap());
}
