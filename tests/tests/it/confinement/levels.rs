//! The real server at each level, with real restic; and what it refuses to start with.
//!
//! Invariant: what a level promises is read off the log and the health endpoint as an admin would.

use std::fs;
use std::path::Path;
use std::process::Command;

use pawl_tests::clients::{Restic, Version};
use pawl_tests::command::{Finished, pawl_binary, pawl_in_vain};
use pawl_tests::content::noise;
use pawl_tests::program::Run;
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::plant;
use pawl_tests::wait;
use rustix::process::Signal;

use super::stand::{DAEMON, Medium, NOBODY, Stand, as_user, is_root, listens};

/// A backup's life, and everything that a running server reads again.
fn works_throughout(config: &str, args: &[&str], level: &str) {
    let dir = tempfile::tempdir().unwrap();
    let htpasswd = dir.path().join("htpasswd");
    plant(&htpasswd, b"nobody:{SHA}JhzQDvDwP+N4YqMN3P5XlOd+qBc=\n");
    let lines = format!(
        "{config}\ncredentials.htpasswd = \"{}\"\ncredentials.failed_logins_per_minute = 1000",
        htpasswd.display()
    );
    let mut server = Server::build().tls().config(&lines).args(args).start();
    let said = server.log().wait_for_line(&["confinement:", level]);
    assert!(said.contains(&format!("confinement: {level}:")), "{said}");
    let restic = Restic::new(Version::V0_18, &server.add_host("web1", &[]));
    backs_up_and_restores(&restic);
    // A host and a password that come later count after a signal.
    let late = server.add_host("late", &[]);
    plant(&htpasswd, b"other:{SHA}JhzQDvDwP+N4YqMN3P5XlOd+qBc=\n");
    server.signal(Signal::HUP);
    Restic::new(Version::V0_18, &late).succeed(["init"]);
    let _ = server.host(&["add", "other", "--password-in-htpasswd"]).expect_code(0);
    let other = Credential {
        user: "other".into(),
        password: "a%20password%20of%20the%20tests".into(),
        repository: format!("rest:{}/other/", server.url()),
        ca_file: late.ca_file.clone(),
    };
    Restic::new(Version::V0_18, &other).succeed(["init"]);
    assert_eq!(server.stop().code(), Some(0));
    server.start_again();
    restic.check();
}

fn backs_up_and_restores(restic: &Restic) {
    let source = restic.home().join("source");
    fs::create_dir(&source).unwrap();
    let content = noise("source", 3_000_000);
    plant(&source.join("file"), &content);
    restic.succeed(["init"]);
    restic.backup(&source);
    restic.check();
    let restored = restic.restore(&source, &[]);
    assert_eq!(fs::read(restored.join("file")).unwrap(), content);
}

#[test]
fn restic_works_without_confinement_and_the_log_warns() {
    works_throughout("confinement = \"off\"", &[], "off");
}

#[test]
fn restic_works_without_landlock() {
    works_throughout("", &["--landlock-abi-max", "0"], "seccomp");
}

#[test]
fn restic_works_with_the_landlock_of_linux_5_13() {
    works_throughout("", &["--landlock-abi-max", "1"], "seccomp");
}

#[test]
fn restic_works_with_the_landlock_of_linux_5_19() {
    works_throughout("", &["--landlock-abi-max", "2"], "seccomp");
}

#[test]
fn restic_works_with_the_landlock_of_linux_6_2() {
    works_throughout("confinement = \"same-user\"", &["--landlock-abi-max", "3"], "same-user");
}

#[test]
fn restic_works_with_the_landlock_of_linux_6_12() {
    works_throughout("confinement = \"same-user\"", &["--landlock-abi-max", "6"], "same-user");
}

#[test]
fn restic_works_with_all_that_this_kernel_has() {
    works_throughout("confinement = \"same-user\"", &[], "same-user");
}

/// A frontend and a keeper, each under a user of its own.
struct Pair {
    stand: Stand,
    keeper: Run,
}

impl Pair {
    fn start() -> Self {
        let stand = Stand::new(Medium::Disk, DAEMON);
        let socket = stand.data.with_file_name("run").join("keeper.sock");
        let lines = format!(
            "confinement = \"strong\"\nkeeper_socket = \"{}\"\nkeeper_for = \"nobody\"",
            socket.display()
        );
        let config = stand.config(&lines);
        let mut command = as_user(DAEMON, &pawl_binary());
        command.args(["keeper", "--config"]).arg(config);
        let keeper = Run::start(command);
        wait::until("the keeper listens", || listens(&socket).then_some(()));
        Self { stand, keeper }
    }

    fn config(&self) -> std::path::PathBuf {
        self.stand.dir().join("pawl.toml")
    }

    fn door(&self, user: &str) -> Run {
        let mut command = as_user(user, &pawl_binary());
        command.args(["serve", "--config"]).arg(self.config());
        Run::start(command)
    }

    fn url(door: &mut Run) -> String {
        wait::until("the server says where it listens", || {
            assert!(!door.has_ended(), "{}", door.seen());
            let seen = door.seen();
            let line = seen.lines().find(|line| line.contains("listening on http"))?;
            line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned)
        })
    }
}

#[test]
fn restic_works_with_a_keeper_of_its_own_user() {
    if !is_root() {
        return;
    }
    let pair = Pair::start();
    let mut door = pair.door(NOBODY);
    let url = Pair::url(&mut door);
    assert!(door.seen().contains("confinement: strong:"), "{}", door.seen());
    let mut add = as_user(DAEMON, &pawl_binary());
    add.args(["host", "add", "web2", "--json", "--config"]).arg(pair.config());
    let added = finished(&add.output().unwrap()).expect_code(0).json();
    let said = |key: &str| added[key].as_str().unwrap().to_owned();
    let host = url.trim_start_matches("http://");
    let repository = format!("rest:http://{}:{}@{host}/web2/", said("user"), said("password"));
    backs_up_and_restores(&Restic::at(Version::V0_18, &repository));
    // The frontend's user owns nothing of what is stored.
    let mut ahead = vec![pair.stand.data.join("web2")];
    while let Some(path) = ahead.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let uid = std::os::unix::fs::MetadataExt::uid(&metadata);
        assert_eq!(uid.to_string(), DAEMON, "{}", path.display());
        if metadata.is_dir() {
            ahead.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    door.signal(Signal::TERM);
    let _ = door.end().expect_code(0);
    let _ = pair.keeper.end().expect_code(0);
}

/// A133: Somebody who is neither frontend nor root asks the keeper's socket.
#[test]
fn a_stranger_at_the_keepers_socket_is_hung_up_on() {
    if !is_root() {
        return;
    }
    let pair = Pair::start();
    // The socket is for its owner's group; here even the keeper's own user is a stranger.
    for stranger in [DAEMON, "0"] {
        let refused = pair.door(stranger).end();
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(refused.stderr.contains("cannot reach the keeper"), "{refused:?}");
    }
    wait::until("the keeper has said so", || {
        pair.keeper.seen().contains("hung up on a process that is not of the user").then_some(())
    });
    let mut door = pair.door(NOBODY);
    let _ = Pair::url(&mut door);
}

/// A134: A second frontend comes to a keeper that serves one already.
#[test]
fn two_doors_are_not_served_at_once() {
    if !is_root() {
        return;
    }
    let pair = Pair::start();
    let mut door = pair.door(NOBODY);
    let _ = Pair::url(&mut door);
    let second = pair.door(NOBODY).end();
    assert_ne!(second.code, Some(0), "{second:?}");
    assert!(second.stderr.contains("cannot reach the keeper"), "{second:?}");
    // Nor does a second keeper work on the directory.
    let data = pair.stand.data.to_str().unwrap();
    let alone = pair.stand.dir().join("alone.toml");
    plant(&alone, format!("data = \"{data}\"\nlisten = \"127.0.0.1:0\"\n").as_bytes());
    let other = pawl_in_vain(["serve", "--config", alone.to_str().unwrap()]);
    assert!(other.stderr.contains("another pawl is serving this directory"), "{other:?}");
    assert!(!door.has_ended(), "{}", door.seen());
}

fn finished(output: &std::process::Output) -> Finished {
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn start_in_vain(dir: &Path, lines: &str, args: &[&str]) -> String {
    let config = dir.join("pawl.toml");
    let data = dir.join("data").display().to_string();
    plant(&config, format!("data = {data:?}\nlisten = \"127.0.0.1:0\"\n{lines}\n").as_bytes());
    let mut command = Command::new(pawl_binary());
    command.args(["serve", "--config"]).arg(config).args(args).env("NO_COLOR", "1");
    let ended = Run::start(command).end();
    assert_ne!(ended.code, Some(0), "{ended:?}");
    ended.stderr
}

#[test]
fn less_than_demanded_is_refused_and_the_reason_given() {
    let dir = tempfile::tempdir().unwrap();
    for abi in ["0", "1", "2"] {
        let said = start_in_vain(dir.path(), "confinement = \"same-user\"", &["--landlock-abi-max", abi]);
        assert!(said.contains("reaches only the level \"seccomp\""), "{said}");
        assert!(said.contains("Linux 6.2") && said.contains("confinement = \"seccomp\""), "{said}");
    }
    let said = start_in_vain(dir.path(), "confinement = \"strong\"", &[]);
    assert!(said.contains("keeper_socket"), "{said}");
}

#[test]
fn strong_is_refused_where_door_and_keeper_are_one_user() {
    if !is_root() {
        return;
    }
    let stand = Stand::new(Medium::Disk, NOBODY);
    let socket = stand.data.with_file_name("run").join("keeper.sock");
    let config = stand.config(&format!(
        "confinement = \"strong\"\nkeeper_socket = \"{}\"\nkeeper_for = \"nobody\"",
        socket.display()
    ));
    let mut command = as_user(NOBODY, &pawl_binary());
    command.args(["keeper", "--config"]).arg(&config);
    let keeper = Run::start(command);
    wait::until("the keeper listens", || listens(&socket).then_some(()));
    let mut command = as_user(NOBODY, &pawl_binary());
    command.args(["serve", "--config"]).arg(&config);
    let ended = Run::start(command).end();
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("reaches only the level \"same-user\""), "{ended:?}");
    let _ = keeper.end().expect_code(0);
}

#[test]
fn off_is_never_reached_by_itself() {
    let server = Server::build().config("confinement = \"off\"").start();
    let said = server.log().wait_for_line(&["confinement: off"]);
    assert!(said.contains("WARN") && said.contains("deleting included"), "{said}");
}
