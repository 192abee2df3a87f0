//! Locks that clients leave behind, and restoring without the right to back up.

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::server::Server;
use pawl_tests::with_each_restic_on_each_store;

use super::{APPEND_ONLY, assert_same, files, locks};

with_each_restic_on_each_store! {
    the_lock_of_a_killed_backup_is_removed_by_unlock,
    a_restore_credential_restores,
    a_restore_credential_restores_without_a_lock,
    a_restore_credential_cannot_back_up,
}

fn the_lock_of_a_killed_backup_is_removed_by_unlock(server: &Server, version: Version) {
    let credential = clients::ready(server, "web1");
    let client = server.client(&credential);
    let restic = Restic::new(version, &credential);
    let files = files(restic.home());
    let line = Proxy::start(server.address(), Fault::Hold, "POST /web1/data/");
    let backup = restic.through(line.address()).start(["backup", files.to_str().unwrap()]);
    line.wait_for_fault();
    backup.kill();
    assert_eq!(locks(&client, "web1").len(), 1);

    // Others of this host may not work alone meanwhile.
    let before = server.stored();
    restic.succeed(["unlock"]);
    assert_eq!(locks(&client, "web1"), [""; 0]);
    assert_eq!(before.differences(&server.stored()).len(), 1, "only the lock has gone");
    restic.backup(&files);
    restic.check();
}

/// A machine that may only restore what another has backed up from the path that is returned.
fn reader(server: &Server, version: Version) -> (Restic, Restic, std::path::PathBuf) {
    let writer = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(writer.home());
    writer.backup(&files);
    let credential = server.add_host("reader", &["--role", "restore", "--repository", "web1"]);
    (Restic::new(version, &credential), writer, files)
}

fn a_restore_credential_restores(server: &Server, version: Version) {
    let (reader, _writer, files) = reader(server, version);
    let before = server.stored();
    assert_same(&files, &reader.restore(&files, &[]));
    before.assert_unchanged(&server.stored());
}

fn a_restore_credential_restores_without_a_lock(server: &Server, version: Version) {
    let (reader, _writer, files) = reader(server, version);
    let line = Proxy::start(server.address(), Fault::Cut, "POST ");
    let reader = reader.through(line.address());
    assert_same(&files, &reader.restore(&files, &["--no-lock"]));
    assert_eq!(line.faults(), 0, "nothing is written");
}

fn a_restore_credential_cannot_back_up(server: &Server, version: Version) {
    let (reader, _writer, _) = reader(server, version);
    let files = files(reader.home());
    let before = server.stored();
    reader.refused(["backup", files.to_str().unwrap()], APPEND_ONLY);
    before.assert_unchanged(&server.stored());
}
