//! Listening on Unix sockets.

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use pawl_tests::clients::{Restic, Version};
use pawl_tests::command::{Finished, pawl_in_vain};
use pawl_tests::content::noise;
use pawl_tests::server::Server;
use pawl_tests::store::{Stored, plant};
use pawl_tests::wait::until;
use pawl_tests::with_newer_restic;
use tempfile::TempDir;

use super::{ask, is_known};

with_newer_restic! {
    a_backup_through_a_unix_socket_is_restored_byte_for_byte,
}

/// A directory of the test's own, and a place in it to listen, as the configuration has it and as a path.
fn place() -> (TempDir, String, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pawl.sock");
    (dir, format!("unix:{}", path.display()), path)
}

/// Starts a second server, which must fail, at this place.
fn fails_at(place: &str) -> Finished {
    let data = tempfile::tempdir().unwrap();
    pawl_in_vain(["serve", "--data", data.path().to_str().unwrap(), "--listen", place]).expect_code(1)
}

/// What `pawl host add` prints to paste has the credential in it.
fn a_backup_through_a_unix_socket_is_restored_byte_for_byte(version: Version) {
    let (_dir, place, path) = place();
    let server = Server::build().listen_at(&[&place]).start();
    assert_eq!(server.url(), format!("http+unix://{}:", path.display()));
    let printed = server.host(&["add", "web1"]).expect_code(0).stdout;
    let line = printed.lines().find_map(|line| line.strip_prefix("export RESTIC_REPOSITORY='"));
    let repository = line.and_then(|line| line.strip_suffix('\'')).unwrap_or_else(|| panic!("{printed}"));
    assert!(repository.ends_with(&format!("@{}:/web1/", path.display())), "{repository}");

    let restic = Restic::at(version, repository);
    restic.succeed(["init"]);
    let files = restic.home().join("files");
    plant(&files.join("letter.txt"), "Dear diary\n".repeat(20_000).as_bytes());
    plant(&files.join("deep/noise"), &noise("files", 5_000_000));
    restic.backup(&files);
    let restored = restic.restore(&files, &[]);
    Stored::read(&files).assert_unchanged(&Stored::read(&restored));
    restic.check();
}

#[test]
fn the_socket_is_for_owner_and_group_and_its_name_stays_as_a_confined_server_removes_none() {
    let (_dir, place, path) = place();
    let mut server = Server::build().listen_at(&[&place]).start();
    let metadata = path.symlink_metadata().unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
    assert_eq!(server.stop().code(), Some(0));
    assert!(path.symlink_metadata().is_ok(), "a confined server could remove a name");
    server.start_again();
}

#[test]
fn a_socket_that_a_killed_server_left_is_replaced() {
    let (_dir, place, path) = place();
    let mut server = Server::build().listen_at(&[&place]).start();
    let web1 = server.add_host("web1", &[]);
    server.kill();
    assert!(path.exists(), "a killed server removes nothing");
    server.start_again();
    assert!(is_known(&path, &web1));
}

#[test]
fn a_socket_that_somebody_listens_on_is_left_to_them() {
    let (_dir, place, path) = place();
    let server = Server::build().listen_at(&[&place]).start();
    let web1 = server.add_host("web1", &[]);
    let refused = fails_at(&place);
    assert!(refused.stderr.contains(&place) && refused.stderr.contains("already"), "{refused:#?}");
    assert!(is_known(&path, &web1));
}

#[test]
fn what_is_no_socket_is_not_replaced_and_a_path_must_be_absolute() {
    let (dir, place, path) = place();
    plant(&path, b"a letter");
    let refused = fails_at(&place);
    assert!(refused.stderr.contains(&place), "{refused:#?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"a letter");

    let refused =
        pawl_in_vain(["serve", "--data", dir.path().to_str().unwrap(), "--listen", "unix:pawl.sock"]);
    assert!(refused.expect_code(2).stderr.contains("absolute path"));
}

#[test]
fn a_server_that_cannot_start_leaves_no_socket() {
    let (_dir, place, path) = place();
    let first = Server::start();
    let refused =
        pawl_in_vain(["serve", "--data", first.data().to_str().unwrap(), "--listen", &place]).expect_code(1);
    assert!(refused.stderr.contains("another pawl"), "{refused:#?}");
    assert!(path.symlink_metadata().is_err(), "the socket was left behind");
}

#[test]
fn several_places_serve_the_same_repositories() {
    let (_dir, unix, path) = place();
    let (_other_dir, other_unix, other_path) = place();
    for by_config in [true, false] {
        let build = if by_config {
            Server::build().listen_at(&["127.0.0.1:0", &unix, &other_unix])
        } else {
            Server::build().args(&["--listen", &unix, "--listen", &other_unix])
        };
        let server = build.start();
        let web1 = server.add_host("web1", &[]);
        assert!(web1.repository.starts_with("rest:http://127.0.0.1:"), "hosts are told of the first");
        assert_eq!(server.client(&web1).ask("GET", "/web1/config").unwrap().status, 404);
        assert!(is_known(&path, &web1) && is_known(&other_path, &web1));
        let _ = server.log().wait_for_line(&["listening as well on", &unix, &other_unix]);
    }
}

#[test]
fn tls_is_for_the_network_only() {
    let (_dir, place, path) = place();
    let server = Server::build().tls().args(&["--listen", &place]).start();
    assert!(server.url().starts_with("https://"), "{}", server.url());
    assert!(is_known(&path, &server.add_host("web1", &[])));
}

#[test]
fn the_log_names_the_user_and_limits_count_it_apart_from_the_network() {
    let (_dir, place, path) = place();
    let server = Server::build()
        .config("credentials.failed_logins_per_minute = 3")
        .args(&["--listen", &place])
        .start();
    let web1 = server.add_host("web1", &[]);
    let guess = |path: &Path| ask(path, "web1", "wrong", "/web1/config");
    assert_eq!([guess(&path), guess(&path), guess(&path), guess(&path)], [401, 401, 401, 429].map(Some));
    assert!(is_known(&path, &web1), "a right password always works");

    let mut wrong = web1.clone();
    "wrong".clone_into(&mut wrong.password);
    assert_eq!(server.client(&wrong).ask("GET", "/web1/config").unwrap().status, 401);
    let uid = rustix::process::getuid().as_raw();
    let peer = format!("peer=unix:uid={uid},pid={}", std::process::id());
    let _ = server.log().wait_for_line(&["status=429", &peer]);
    let _ = server.log().wait_for_line(&["status=404", "principal=\"web1\"", &peer]);
}

#[test]
fn a_grant_for_a_network_does_not_hold_on_a_unix_socket() {
    let (_dir, place, path) = place();
    let server = Server::build().args(&["--listen", &place]).start();
    let web1 = server.add_host("web1", &["--network", "0.0.0.0/0", "--network", "::/0"]);
    assert_eq!(server.client(&web1).ask("GET", "/web1/config").unwrap().status, 404);
    assert_eq!(ask(&path, &web1.user, &web1.password, "/web1/config"), Some(403));
}

#[test]
fn connections_of_one_user_are_limited_as_those_of_one_address_are() {
    let (_dir, place, path) = place();
    let server = Server::build()
        .config("limits.connections_per_address = 2\nlimits.header_seconds = 3600")
        .args(&["--listen", &place])
        .start();
    let web1 = server.add_host("web1", &[]);
    let mut held = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
    until("a host has its turn", || is_known(&path, &web1).then_some(()));
    // The oldest made way for it.
    assert_eq!(held[0].read(&mut [0]).unwrap(), 0);
    assert_eq!(server.client(&web1).ask("GET", "/web1/config").unwrap().status, 404);
}

#[test]
fn a_place_that_another_program_uses_is_named() {
    let (_dir, place, path) = place();
    let _listener = UnixListener::bind(&path).unwrap();
    let refused = fails_at(&place);
    assert!(refused.stderr.contains("somebody listens there already"), "{refused:#?}");
}
