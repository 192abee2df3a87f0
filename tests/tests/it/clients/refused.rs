//! What a host may not do, and what its user is told.
//!
//! restic's exit code is not looked at: it ends with 0 after several refusals.

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use pawl_tests::{with_each_restic_on_each_store, with_newer_restic_on_each_store};

use super::{APPEND_ONLY, files};

const KEYS_NOT_GRANTED: &str = "403 append-only: repository is already initialised; the server's admin allows new keys with --allow-key-add";

with_newer_restic_on_each_store! {
    a_snapshot_is_rewritten_and_the_old_one_stays,
}

with_each_restic_on_each_store! {
    forget_is_refused_and_changes_nothing,
    forget_with_prune_is_refused_and_loses_nothing,
    prune_is_refused_and_loses_nothing,
    a_new_key_is_refused_and_changes_nothing,
    a_new_password_is_refused_and_changes_nothing,
    removing_a_key_is_refused_and_changes_nothing,
    a_tag_is_added_to_a_copy_and_the_snapshot_stays,
}

/// A machine with a snapshot of each of two states.
fn with_two_snapshots(server: &Server, version: Version) -> Restic {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(restic.home());
    restic.backup(&files);
    plant(&files.join("new"), &noise("new", 100_000));
    restic.backup(&files);
    restic
}

fn forget_is_refused_and_changes_nothing(server: &Server, version: Version) {
    let restic = with_two_snapshots(server, version);
    let before = server.stored();
    restic.refused(["forget", "--keep-last", "1"], APPEND_ONLY);
    before.assert_unchanged(&server.stored());
    assert_eq!(restic.snapshots().len(), 2);
}

/// restic may go on after the first refusal and add what it packed anew.
fn forget_with_prune_is_refused_and_loses_nothing(server: &Server, version: Version) {
    let restic = with_two_snapshots(server, version);
    let before = server.stored();
    restic.refused(["forget", "--keep-last", "1", "--prune"], APPEND_ONLY);
    before.assert_kept(&server.stored());
    assert_eq!(restic.snapshots().len(), 2);
    restic.check();
}

fn prune_is_refused_and_loses_nothing(server: &Server, version: Version) {
    let restic = with_two_snapshots(server, version);
    // Now there is something to prune.
    let newest = restic.snapshots().pop().unwrap();
    server.remove(&format!("web1/snapshots/{newest}"));
    let before = server.stored();
    restic.refused(["prune", "--max-unused", "0"], APPEND_ONLY);
    before.assert_kept(&server.stored());
    restic.check();
}

fn new_password(restic: &Restic) -> String {
    let file = restic.home().join("password");
    plant(&file, b"another");
    file.to_str().unwrap().to_owned()
}

fn a_new_key_is_refused_and_changes_nothing(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let before = server.stored();
    restic.refused(["key", "add", "--new-password-file", &new_password(&restic)], KEYS_NOT_GRANTED);
    before.assert_unchanged(&server.stored());
}

fn a_new_password_is_refused_and_changes_nothing(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let before = server.stored();
    restic.refused(["key", "passwd", "--new-password-file", &new_password(&restic)], KEYS_NOT_GRANTED);
    before.assert_unchanged(&server.stored());
    restic.check();
}

fn removing_a_key_is_refused_and_changes_nothing(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let before = server.stored();
    restic.refused(["key", "remove", &clients::other_key()], APPEND_ONLY);
    before.assert_unchanged(&server.stored());
}

/// restic writes a snapshot with the tag and then cannot delete the one without it.
fn a_tag_is_added_to_a_copy_and_the_snapshot_stays(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let backup = restic.report_of_backup(&files(restic.home()), &[]);
    let before = server.stored();
    let seen = restic.refused(["tag", "--add", "monthly"], APPEND_ONLY);
    assert!(seen.contains(&backup.snapshot[..8]), "{seen}");
    before.assert_kept(&server.stored());
    assert_eq!(server.stored().count_in("web1/snapshots"), 2);
    restic.check();
}

/// restic 0.14 has no `rewrite`.
fn a_snapshot_is_rewritten_and_the_old_one_stays(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(restic.home());
    let backup = restic.report_of_backup(&files, &[]);
    let before = server.stored();
    restic.succeed(["rewrite", "--exclude", "letter.txt"]);
    before.assert_kept(&server.stored());
    let snapshots = restic.snapshots();
    assert_eq!(snapshots.len(), 2);
    for snapshot in &snapshots {
        let has_letter = restic.succeed(["ls", snapshot]).contains("letter.txt");
        assert_eq!(has_letter, *snapshot == backup.snapshot);
    }

    // To put it in the old one's place is refused.
    let before = server.stored();
    restic.refused(["rewrite", "--forget", "--exclude", "run.sh"], APPEND_ONLY);
    before.assert_kept(&server.stored());
    restic.check();
}
