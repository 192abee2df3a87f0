//! Numbered attacks. Those that requests alone can tell are scripts in `adversary/`; the rest is beside this.
//!
//! Invariant: each attack has one number, is tried by one test, and ends by comparing everything stored.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod bodies;
mod connections;
mod knowledge;
mod logs;
mod races;
mod tls;

use std::fs;
use std::path::Path;

use pawl_tests::http::Client;
use pawl_tests::script;
use pawl_tests::server::Server;

pawl_tests::scripts! {
    "adversary":
    a01_reading_without_a_credential,
    a02_writing_without_a_credential,
    a05_claiming_a_name_in_a_header,
    a08_huge_heads,
    a10_garbage_instead_of_http,
    a11_request_smuggling,
    a15_overwriting_a_file,
    a16_garbage_under_the_name_of_a_future_file,
    a17_deleting,
    a18_other_methods,
    a19_a_second_config,
    a20_setting_keys_aside_by_creating_again,
    a21_a_key_of_ones_own,
    a22_keys_that_lock_everybody_out,
    a23_anothers_repository,
    a25_path_traversal,
    a26_reading_pawls_own_files,
    a27_writing_to_reserved_names,
    a28_anothers_lock,
    a29_a_lock_that_blocks_everybody,
    a30_locks_without_end,
    a31_larger_than_declared_or_allowed,
    a33_uploads_that_are_cut,
    a41_bringing_back_what_was_deleted,
    a43_forging_the_creator,
    a46_writing_with_a_restore_credential,
}

/// A client whose repository, named like it, is in use.
fn initialised(server: &Server, name: &str) -> Client {
    let client = server.add_client(name, &[]);
    let key = pawl_tests::content::key_file("the first key");
    let target = format!("/{name}/keys/{}", pawl_tests::content::id_of(&key));
    assert_eq!(client.ask("POST", &format!("/{name}/?create=true")).unwrap().status, 200);
    assert_eq!(client.post(&target, &key).unwrap().status, 200);
    assert_eq!(client.post(&format!("/{name}/config"), b"the config").unwrap().status, 200);
    client
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

#[test]
fn every_script_ends_by_comparing_everything_stored() {
    for name in script::names("adversary") {
        let text = read(&script::path("adversary", &name));
        let last = text.lines().rfind(|line| !line.is_empty() && !line.starts_with('#'));
        assert!(matches!(last, Some("unchanged" | "kept")), "{name} ends with {last:?}");
    }
}
