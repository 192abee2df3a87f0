//! Passwords that are kept in a htpasswd file, as rest-server has them.

use pawl_tests::http::Client;
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use pawl_tests::wait;
use rustix::process::Signal;

use super::write;

const PASSWORD: &str = "a password of the tests";
/// `PASSWORD` in every form that is accepted.
const LINES: &str = "sha1:{SHA}JhzQDvDwP+N4YqMN3P5XlOd+qBc=
bcrypt-y:$2y$04$abcdefghijklmnopqrstuuzzjWYX9ziq/z9PGEfqaY.69BPe06tMC
bcrypt-b:$2b$04$abcdefghijklmnopqrstuuzzjWYX9ziq/z9PGEfqaY.69BPe06tMC
";

struct Users {
    server: Server,
    _dir: tempfile::TempDir,
    file: std::path::PathBuf,
}

impl Users {
    fn start(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("htpasswd");
        write(&file, lines);
        let config = format!(
            "credentials.htpasswd = \"{}\"\ncredentials.failed_logins_per_minute = 1000",
            file.display()
        );
        Self { server: Server::build().config(&config).start(), _dir: dir, file }
    }

    fn add(&self, name: &str) {
        let args = ["add", name, "--password-in-htpasswd", "--json"];
        let printed = self.server.host(&args).expect_code(0).json();
        assert!(!printed.to_string().contains("pawl_"), "there is no password to print: {printed}");
    }

    fn status(&self, name: &str, password: &str) -> u16 {
        let client = Client::new(self.server.address(), name, password);
        client.ask("GET", &format!("/{name}/config")).unwrap().status
    }
}

#[test]
fn sha1_and_bcrypt_passwords_are_accepted_and_wrong_ones_are_not() {
    let users = Users::start(LINES);
    for name in ["sha1", "bcrypt-y", "bcrypt-b"] {
        users.add(name);
        assert_eq!(users.status(name, PASSWORD), 404, "{name}");
        assert_eq!(users.status(name, "wrong"), 401, "{name}");
        assert_eq!(users.status(name, ""), 401, "{name}");
        assert_eq!(users.status(name, PASSWORD), 404, "{name}");
    }
}

#[test]
fn a_user_of_the_file_alone_has_the_repository_of_its_own_name_and_those_below_and_no_other() {
    let users = Users::start(LINES);
    let _web1 = users.server.add_host("web1", &[]);
    let client = Client::new(users.server.address(), "sha1", PASSWORD);
    for own in ["sha1", "sha1/sub", "sha1/sub/sub"] {
        assert_eq!(client.ask("POST", &format!("/{own}/?create=true")).unwrap().status, 200, "{own}");
    }
    for other in ["web1", "bcrypt-y", "sha1-sub", "web1/sha1", "bcrypt-y/sha1", "sha"] {
        assert_eq!(client.ask("POST", &format!("/{other}/?create=true")).unwrap().status, 403, "{other}");
    }
}

#[test]
fn the_grants_of_a_host_replace_those_of_the_file() {
    let users = Users::start(LINES);
    let args = ["add", "sha1", "--password-in-htpasswd", "--role", "restore", "--repository", "web1"];
    let _ = users.server.host(&args).expect_code(0);
    let client = Client::new(users.server.address(), "sha1", PASSWORD);
    assert_eq!(client.ask("GET", "/web1/config").unwrap().status, 404);
    assert_eq!(client.ask("POST", "/web1/?create=true").unwrap().status, 403);
    assert_eq!(client.ask("GET", "/sha1/config").unwrap().status, 403);
}

#[test]
fn a_revoked_host_is_refused_though_the_file_still_has_its_password() {
    let users = Users::start(LINES);
    users.add("sha1");
    assert_eq!(users.status("sha1", PASSWORD), 404);
    let _ = users.server.host(&["revoke", "sha1"]).expect_code(0);
    let status = users.status("sha1", PASSWORD);
    assert!([401, 403].contains(&status), "{status}");
}

#[test]
fn the_file_does_not_replace_a_password_that_pawl_made() {
    let users = Users::start(LINES);
    let sha1 = users.server.add_host("sha1", &[]);
    assert_eq!(users.status("sha1", &sha1.password), 404);
    assert_eq!(users.status("sha1", PASSWORD), 401);
}

#[test]
fn a_host_that_is_not_in_the_file_is_refused() {
    let users = Users::start(LINES);
    users.add("absent");
    assert_eq!(users.status("absent", PASSWORD), 401);
    assert_eq!(users.status("absent", ""), 401);
}

#[test]
fn a_changed_file_counts_after_sighup() {
    let users = Users::start(LINES);
    users.add("sha1");
    users.add("late");
    assert_eq!(users.status("late", PASSWORD), 401);
    plant(&users.file, LINES.replace("sha1:", "late:").as_bytes());
    users.server.signal(Signal::HUP);
    wait::until("the new user is let in", || (users.status("late", PASSWORD) == 404).then_some(()));
    assert_eq!(users.status("sha1", PASSWORD), 401);
}

#[test]
fn a_line_that_is_not_understood_lets_nobody_in_and_is_named_in_the_log() {
    let lines = "apr1:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\nplain:a password of the tests\nnocolon\n";
    let users = Users::start(&format!("{lines}{LINES}"));
    for name in ["apr1", "plain", "nocolon"] {
        for password in [PASSWORD, "", "$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00"] {
            assert_eq!(users.status(name, password), 401, "{name}");
        }
    }
    for line in ["line=1", "line=2", "line=3"] {
        let _ = users.server.log().wait_for_line(&["htpasswd", line]);
    }
    assert!(!users.server.log().text().contains("a password of the tests"), "the log quotes the line");
    assert_eq!(users.status("bcrypt-y", PASSWORD), 404, "the other lines count");
}

#[test]
fn when_the_file_is_gone_nobody_is_let_in_by_it() {
    let users = Users::start(LINES);
    assert_eq!(users.status("sha1", PASSWORD), 404);
    pawl_tests::store::remove(&users.file);
    users.server.signal(Signal::HUP);
    wait::until("the user is refused", || [401, 503].contains(&users.status("sha1", PASSWORD)).then_some(()));
}

#[test]
fn users_of_the_file_alone_are_listed_and_lines_that_let_nobody_in_are_named() {
    let users = Users::start(&format!("ana maria:{{SHA}}JhzQDvDwP+N4YqMN3P5XlOd+qBc=\n{LINES}"));
    let listed = users.server.host(&["list"]).expect_code(0);
    for name in ["sha1", "bcrypt-y", "bcrypt-b"] {
        let line = listed.stdout.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.contains("backup") && line.contains("password in htpasswd"), "{line}");
    }
    assert!(listed.stderr.contains("line 1") && listed.stderr.contains("ASCII letters"), "{listed:#?}");
    users.add("sha1");
    let listed = users.server.host(&["list", "--json"]).expect_code(0).json();
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|host| host["user"].as_str().unwrap()).collect();
    assert_eq!(names, ["sha1", "bcrypt-y", "bcrypt-b"]);
}
