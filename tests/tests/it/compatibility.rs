//! Coming from elsewhere, and leaving again: the same directory under restic, rest-server and Pawl.
//!
//! Invariant: nothing is converted; each takes the directory as the other left it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pawl_tests::clients::{self, RestServer, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::http::Client;
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{Stored, back_date, plant};
use pawl_tests::with_each_restic;

const PASSWORD: &str = "a password of the tests";
/// The same with SHA-1, as `htpasswd -s` writes it.
const HTPASSWD: &str = "web1:{SHA}JhzQDvDwP+N4YqMN3P5XlOd+qBc=\n";

with_each_restic! {
    restic_alone_opens_what_pawl_stored,
    pawl_serves_what_rest_server_stored,
    rest_server_serves_what_pawl_stored,
    users_of_rest_server_keep_their_passwords,
    users_of_rest_server_keep_what_is_below_their_name,
    a_lock_of_rest_server_is_respected_and_not_removed,
    an_expired_lock_of_rest_server_hinders_nobody,
}

fn files(home: &Path) -> PathBuf {
    let files = home.join("files");
    plant(&files.join("noise"), &noise("files", 1_000_000));
    plant(&files.join("letter.txt"), "Dear diary\n".repeat(10_000).as_bytes());
    files
}

fn assert_same(original: &Path, restored: &Path) {
    Stored::read(original).assert_unchanged(&Stored::read(restored));
}

/// A machine that uses a rest-server without passwords.
fn of_rest_server(server: &RestServer, version: Version) -> Restic {
    Restic::at(version, &format!("rest:http://web1:@{}/web1/", server.address()))
}

/// A directory with a backup of the files that are returned, all made through rest-server.
fn stored_by_rest_server(data: &Path, version: Version) -> (Restic, PathBuf) {
    let server = RestServer::start(data, &["--no-auth"]);
    clients::initialise(&Client::nobody(server.address()), "web1");
    let restic = of_rest_server(&server, version);
    let files = files(restic.home());
    restic.backup(&files);
    server.stop();
    (restic, files)
}

fn restic_alone_opens_what_pawl_stored(version: Version) {
    let mut server = Server::start();
    let restic = Restic::new(version, &clients::ready(&server, "web1"));
    let files = files(restic.home());
    restic.backup(&files);
    server.stop();
    let local = Restic::at(version, server.data().join("web1").to_str().unwrap());
    local.check();
    assert_same(&files, &local.restore(&files, &[]));
}

fn pawl_serves_what_rest_server_stored(version: Version) {
    let data = tempfile::tempdir().unwrap();
    let (_old, files) = stored_by_rest_server(data.path(), version);
    let before = Stored::read(data.path());
    let server = Server::build().data(data.path()).start();
    let restic = Restic::new(version, &server.add_host("web1", &[]));
    restic.check();
    plant(&files.join("more"), &noise("more", 500_000));
    restic.backup(&files);
    assert_eq!(restic.snapshots().len(), 2);
    restic.check();
    assert_same(&files, &restic.restore(&files, &[]));
    before.assert_kept(&server.stored());
}

fn rest_server_serves_what_pawl_stored(version: Version) {
    let mut server = Server::start();
    let restic = Restic::new(version, &clients::ready(&server, "web1"));
    let files = files(restic.home());
    restic.backup(&files);
    server.stop();
    let rest_server = RestServer::start(server.data(), &["--no-auth"]);
    let restic = of_rest_server(&rest_server, version);
    restic.check();
    plant(&files.join("more"), &noise("more", 500_000));
    restic.backup(&files);
    assert_same(&files, &restic.restore(&files, &[]));
}

fn users_of_rest_server_keep_their_passwords(version: Version) {
    let data = tempfile::tempdir().unwrap();
    let htpasswd = data.path().join(".htpasswd");
    plant(&htpasswd, HTPASSWD.as_bytes());
    let credential = |address| Credential {
        user: "web1".to_owned(),
        password: PASSWORD.replace(' ', "%20"),
        repository: format!("rest:http://{address}/web1/"),
        ca_file: None,
    };
    let old = RestServer::start(data.path(), &["--private-repos"]);
    clients::initialise(&Client::new(old.address(), "web1", PASSWORD), "web1");
    let restic = Restic::new(version, &credential(old.address()));
    let files = files(restic.home());
    restic.backup(&files);
    old.stop();

    let config = format!("credentials.htpasswd = {:?}", htpasswd.to_str().unwrap());
    let server = Server::build().data(data.path()).config(&config).start();
    let _ = server.host(&["add", "web1", "--password-in-htpasswd"]).expect_code(0);
    let restic = Restic::new(version, &credential(server.address()));
    restic.backup(&files);
    assert_eq!(restic.snapshots().len(), 2);
    assert_same(&files, &restic.restore(&files, &[]));
    let wrong = Client::new(server.address(), "web1", "another");
    assert_eq!(wrong.ask("GET", "/web1/config").unwrap().status, 401);
}

fn users_of_rest_server_keep_what_is_below_their_name(version: Version) {
    let data = tempfile::tempdir().unwrap();
    let htpasswd = data.path().join(".htpasswd");
    plant(&htpasswd, HTPASSWD.as_bytes());
    let of = |address: SocketAddr, repository: &str| {
        Restic::at(
            version,
            &format!("rest:http://web1:{}@{address}/{repository}/", PASSWORD.replace(' ', "%20")),
        )
    };
    let repositories = ["web1", "web1/laptop"];
    let old = RestServer::start(data.path(), &["--private-repos"]);
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path());
    for repository in repositories {
        clients::initialise(&Client::new(old.address(), "web1", PASSWORD), repository);
        of(old.address(), repository).backup(&files);
    }
    old.stop();

    let config = format!("credentials.htpasswd = {:?}", htpasswd.to_str().unwrap());
    let server = Server::build().data(data.path()).config(&config).start();
    for repository in repositories {
        let restic = of(server.address(), repository);
        restic.backup(&files);
        assert_eq!(restic.snapshots().len(), 2);
        restic.check();
    }
}

/// A directory in which a killed backup through rest-server left its lock, which is returned.
fn with_a_lock_of_rest_server(data: &Path, version: Version) -> PathBuf {
    let (restic, files) = stored_by_rest_server(data, version);
    plant(&files.join("more"), &noise("more", 500_000));
    let server = RestServer::start(data, &["--no-auth"]);
    let line = Proxy::start(server.address(), Fault::Hold, "POST /web1/data/");
    let backup = restic.through(line.address()).start(["backup", files.to_str().unwrap()]);
    line.wait_for_fault();
    backup.kill();
    drop(server);
    let mut locks = fs::read_dir(data.join("web1/locks")).unwrap();
    let lock = locks.next().unwrap().unwrap().path();
    assert!(locks.next().is_none());
    lock
}

fn a_lock_of_rest_server_is_respected_and_not_removed(version: Version) {
    let data = tempfile::tempdir().unwrap();
    let lock = with_a_lock_of_rest_server(data.path(), version);
    let server = Server::build().data(data.path()).start();
    let restic = Restic::new(version, &server.add_host("web1", &[]));
    let alone = restic.run(["check"]);
    assert!(alone.stderr.contains("already locked"), "{alone:?}");
    restic.refused(["unlock"], "403 lock of another credential, not yet expired; it expires at ");
    assert!(lock.exists());
    // What is no work for one alone goes on beside it.
    restic.backup(&files(restic.home()));
}

fn an_expired_lock_of_rest_server_hinders_nobody(version: Version) {
    let data = tempfile::tempdir().unwrap();
    let lock = with_a_lock_of_rest_server(data.path(), version);
    let server = Server::build().data(data.path()).start();
    let restic = Restic::new(version, &server.add_host("web1", &[]));
    back_date(&lock, Duration::from_hours(1));
    restic.check();
}
