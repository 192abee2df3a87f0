//! rustic, which locks nothing. Only `scripts/test --cross` runs these tests: rustic takes long to build.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::clients::{PASSWORD, Restic, Version, address_of, ready};
use pawl_tests::command::Finished;
use pawl_tests::content::noise;
use pawl_tests::maintenance::maintain;
use pawl_tests::program::{Run, program};
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{plant, plant_secret};
use tempfile::TempDir;

use super::{APPEND_ONLY, assert_same, files};

/// A machine with rustic that uses one repository.
struct Rustic {
    repository: String,
    home: TempDir,
}

impl Rustic {
    fn new(credential: &Credential) -> Self {
        Self::at(address_of(credential))
    }

    fn at(repository: String) -> Self {
        Self { repository, home: tempfile::tempdir().unwrap() }
    }

    fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let mut command = Command::new(program("rustic"));
        command.args(["--repository", &self.repository, "--no-progress"]).args(args);
        command.env("HOME", self.home.path()).env("RUSTIC_PASSWORD", PASSWORD);
        Run::start(command)
    }

    fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        self.start(args).end()
    }

    fn succeed<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) {
        let _ = self.run(args).expect_code(0);
    }

    fn refused<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) {
        let ended = self.run(args);
        let seen = format!("{}{}", ended.stdout, ended.stderr);
        assert_ne!(ended.code, Some(0), "{seen}");
        assert!(seen.contains("403"), "{seen}");
    }

    /// What the newest snapshot has at this path.
    fn restore(&self, path: &Path) -> PathBuf {
        let target = self.home.path().join("restored");
        self.succeed(["restore".into(), format!("latest:{}", path.display()), target.display().to_string()]);
        target
    }
}

/// Files of every kind, and names that are valid on Linux but rare.
fn odd_files(home: &Path) -> PathBuf {
    let files = files(home);
    for name in [&b"not UTF-8 \xff\xfe"[..], b"new\nline", b" space ", b"'quotes\"", b"back\\slash", b"*?[a]"]
    {
        plant(&files.join("odd").join(OsStr::from_bytes(name)), name);
    }
    symlink("nowhere", files.join("odd/broken")).unwrap();
    std::fs::hard_link(files.join("letter.txt"), files.join("odd/hard")).unwrap();
    files
}

#[test]
fn a_backup_of_rustic_is_restored_byte_for_byte() {
    let server = Server::start();
    let client = Rustic::new(&server.add_host("web1", &[]));
    let files = odd_files(client.home.path());
    client.succeed(["init"]);
    client.succeed([OsStr::new("backup"), files.as_os_str()]);
    let before = server.stored();
    plant(&files.join("new"), &noise("new", 300_000));
    client.succeed([OsStr::new("backup"), files.as_os_str()]);
    before.assert_kept(&server.stored());
    client.succeed(["check", "--read-data"]);
    assert_same(&files, &client.restore(&files));
}

#[test]
fn restic_and_rustic_read_each_others_backups() {
    let server = Server::start();
    let credential = ready(&server, "web1");
    let (client, restic) = (Rustic::new(&credential), Restic::new(Version::V0_19, &credential));
    let files = odd_files(client.home.path());
    client.succeed([OsStr::new("backup"), files.as_os_str()]);
    restic.check();
    assert_same(&files, &restic.restore(&files, &[]));

    plant(&files.join("new"), &noise("new", 300_000));
    restic.backup(&files);
    client.succeed(["check", "--read-data"]);
    assert_same(&files, &client.restore(&files));
}

#[test]
fn forget_and_prune_of_rustic_are_refused_and_change_nothing() {
    let server = Server::start();
    let credential = ready(&server, "web1");
    let client = Rustic::new(&credential);
    let files = files(client.home.path());
    for round in ["first", "second"] {
        plant(&files.join(round), &noise(round, 100_000));
        client.succeed([OsStr::new("backup"), files.as_os_str()]);
    }
    let before = server.stored();
    client.refused(["forget", "--keep-last", "1"]);
    before.assert_unchanged(&server.stored());
    client.refused(["forget", "--keep-last", "1", "--prune", "--instant-delete"]);
    before.assert_kept(&server.stored());
    Restic::new(Version::V0_19, &credential).refused(["forget", "--keep-last", "1"], APPEND_ONLY);
    before.assert_kept(&server.stored());
    client.succeed(["check", "--read-data"]);
}

#[test]
fn a_backup_of_rustic_outlives_a_night_that_begins_meanwhile() {
    let server = Server::start();
    let credential = ready(&server, "web1");
    let client = Rustic::new(&credential);
    let files = files(client.home.path());
    client.succeed([OsStr::new("backup"), files.as_os_str()]);
    plant(&files.join("new"), &noise("new", 3_000_000));

    let line = Proxy::start(server.address(), Fault::Hold, "POST /web1/index/");
    let (before, path) = client.repository.rsplit_once('@').unwrap();
    let path = path.split_once('/').unwrap().1;
    let far = Rustic::at(format!("{before}@{}/{path}", line.address()));
    let backup = far.start([OsStr::new("backup"), files.as_os_str()]);
    line.wait_for_fault();
    let password = server.dir().join("password");
    plant_secret(&password, PASSWORD.as_bytes());
    let restic = program("restic-0.19");
    let mut night = vec!["run", "web1", "--keep-last", "2", "--password-file", password.to_str().unwrap()];
    night.extend(["--restic", restic.to_str().unwrap()]);
    let _ = maintain(&server.place(), &night).expect_code(0);
    line.let_through();
    let _ = backup.end().expect_code(0);
    client.succeed(["check", "--read-data"]);
    assert_same(&files, &client.restore(&files));
}
