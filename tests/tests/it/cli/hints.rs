//! Commands that a command tells somebody to run.

use std::path::Path;
use std::process::Command;

use pawl_tests::clients;
use pawl_tests::command::{Finished, pawl_binary, pawl_command};
use pawl_tests::maintenance::maintain;
use pawl_tests::program::Run;
use pawl_tests::server::Server;

/// Pastes what stands between these two in what was printed, with a name in the place of NAME, into a shell elsewhere.
fn paste(printed: &str, between: (&str, &str), name: &str) -> Finished {
    let (_, rest) = printed.split_once(between.0).unwrap_or_else(|| panic!("no command in {printed}"));
    let command = rest.split(between.1).next().unwrap().replace("NAME", name);
    let binary = pawl_binary();
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir("/").env("PATH", path);
    Run::start(shell).end()
}

fn in_directory(directory: &Path, args: &[&str]) -> Finished {
    let mut command = pawl_command();
    command.args(args).current_dir(directory);
    Run::start(command).end()
}

#[test]
fn a_command_that_is_pasted_from_a_message_acts_on_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("my backups")).unwrap();
    let list = ["host", "list", "--data", "my backups"];
    let none = in_directory(dir.path(), &list).expect_code(0).stdout;
    let _ = paste(&none, ("`", "`"), "web1").expect_code(0);
    assert!(in_directory(dir.path(), &list).expect_code(0).stdout.contains("web1"));
    // So it is in an error.
    let twice = in_directory(dir.path(), &["host", "add", "web1", "--data", "my backups"]).expect_code(1);
    let rotated = paste(&twice.stderr, ("`", "`"), "").expect_code(0);
    assert!(rotated.stdout.contains("web1"), "{rotated:?}");
}

#[test]
fn what_undoes_a_deletion_is_pasted_as_it_is() {
    let server = Server::start();
    let _ = clients::ready(&server, "web1");
    let config = server.data().join("web1/config");
    let deleted = maintain(&server.place(), &["delete", "web1"]).expect_code(0).stdout;
    assert!(!config.exists());
    let _ = paste(&deleted, ("To undo: ", "\n"), "").expect_code(0);
    assert!(config.exists());
    let listed = maintain(&server.place(), &["admin", "list"]).expect_code(0).stdout;
    let _ = paste(&listed, ("`", "`"), "admin1").expect_code(0);
    assert_eq!(maintain(&server.place(), &["admin", "list"]).expect_code(0).stdout, "admin1\n");
}
