//! `pawl host`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pawl_tests::command::pawl;
use pawl_tests::content::id_of;
use pawl_tests::server::Server;

const CONFIG: &str = "/web1/config";

fn hosts_file(server: &Server) -> String {
    fs::read_to_string(server.data().join(".pawl/hosts.toml")).unwrap()
}

#[test]
fn an_added_host_works_at_once() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    assert_eq!(server.add_client("web2", &[]).ask("GET", "/web2/config").unwrap().status, 404);
}

#[test]
fn add_prints_one_json_object() {
    let server = Server::start();
    let printed = server.host(&["add", "web1", "--json"]).expect_code(0).json();
    let keys: Vec<&String> = printed.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ca_file", "password", "repository", "user"], "{printed}");
    let text = |key: &str| printed.get(key).unwrap().as_str().unwrap();
    assert_eq!(text("user"), "web1");
    assert_eq!(text("repository"), format!("rest:{}/web1/", server.url()));
    assert!(printed.get("ca_file").unwrap().is_null());
    let secret = text("password").strip_prefix("pawl_").unwrap();
    assert_eq!(secret.len(), 64);
    assert!(secret.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{secret}");
}

#[test]
fn a_host_can_have_several_repositories_of_other_names() {
    let server = Server::start();
    let args = ["add", "web1", "--json", "--repository", "site/web1", "--repository", "db"];
    let printed = server.host(&args).expect_code(0).json();
    let urls = [format!("rest:{}/site/web1/", server.url()), format!("rest:{}/db/", server.url())];
    assert_eq!(printed.get("repositories").unwrap().as_array().unwrap(), &urls.map(serde_json::Value::from));
    let password = printed.get("password").unwrap().as_str().unwrap();
    let web1 = pawl_tests::http::Client::new(server.address(), "web1", password);
    assert_eq!(web1.ask("POST", "/site/web1/?create=true").unwrap().status, 200);
    assert_eq!(web1.ask("POST", "/db/?create=true").unwrap().status, 200);
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 403, "nothing of its own name besides");
}

#[test]
fn add_without_json_prints_what_to_paste() {
    let server = Server::start();
    let printed = server.host(&["add", "web1"]).expect_code(0).stdout;
    assert!(printed.contains("pawl_"), "{printed}");
    assert!(printed.contains(&server.address().to_string()), "{printed}");
    assert!(printed.contains("/web1/"), "{printed}");
    assert!(printed.contains("restic"), "{printed}");
    assert!(printed.contains("maintain enroll web1 --password-file FILE"), "{printed}");
}

#[test]
fn an_existing_host_is_never_replaced() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    let before = server.stored();
    let finished = server.host(&["add", "web1", "--repository", "other"]).expect_code(1);
    assert!(finished.stderr.contains("web1"), "{finished:#?}");
    assert_eq!(finished.stdout, "");
    before.assert_unchanged(&server.stored());
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 404);
}

#[test]
fn a_revoked_host_is_refused_at_once() {
    let server = Server::start();
    let (web1, web2) = (server.add_client("web1", &[]), server.add_client("web2", &[]));
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 404);
    let _ = server.host(&["revoke", "web1"]).expect_code(0);
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 401);
    assert_eq!(web2.ask("GET", "/web2/config").unwrap().status, 404);
}

#[test]
fn what_a_revoked_host_stored_stays() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    let target = format!("/web1/data/{}", id_of(b"a pack"));
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    assert_eq!(web1.post(&target, b"a pack").unwrap().status, 200);
    let _ = server.host(&["revoke", "web1"]).expect_code(0);
    let reader = server.add_client("reader", &["--repository", "web1", "--role", "restore"]);
    assert_eq!(reader.ask("GET", &target).unwrap().body, b"a pack");
}

#[test]
fn a_rotated_password_replaces_the_old_one_at_once() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    let printed = server.host(&["rotate", "web1", "--json"]).expect_code(0).json();
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 401);
    let password = printed.get("password").unwrap().as_str().unwrap();
    let rotated = pawl_tests::http::Client::new(server.address(), "web1", password);
    assert_eq!(rotated.ask("GET", CONFIG).unwrap().status, 404);
    assert_eq!(printed.get("user").unwrap(), "web1");
}

#[test]
fn revoking_or_rotating_an_unknown_host_fails_and_names_it() {
    let server = Server::start();
    let _web1 = server.add_client("web1", &[]);
    let before = server.stored();
    for verb in ["revoke", "rotate"] {
        let finished = server.host(&[verb, "web2"]).expect_code(1);
        assert!(finished.stderr.contains("web2"), "{finished:#?}");
    }
    before.assert_unchanged(&server.stored());
}

#[test]
fn list_names_every_host_and_its_grants_and_no_secret() {
    let server = Server::start();
    let web1 = server.add_host("web1", &["--allow-key-add"]);
    let reader = server.add_host("reader", &["--repository", "site/web1", "--role", "restore"]);
    let text = server.host(&["list"]).expect_code(0).stdout;
    let json = server.host(&["list", "--json"]).expect_code(0);
    assert_eq!(json.json().as_array().map(Vec::len), Some(2), "{json:#?}");
    for printed in [&text, &json.stdout] {
        for word in ["web1", "backup", "reader", "site/web1", "restore"] {
            assert!(printed.contains(word), "{word}: {printed}");
        }
        assert!(!printed.contains("pawl_"), "{printed}");
        for secret in [&web1.password, &reader.password] {
            assert!(!printed.contains(secret.trim_start_matches("pawl_")), "{printed}");
        }
    }
}

#[test]
fn the_list_is_empty_json_without_hosts() {
    let server = Server::start();
    assert_eq!(server.host(&["list", "--json"]).expect_code(0).json(), serde_json::json!([]));
}

#[test]
fn the_hosts_file_holds_no_password_and_is_not_for_all_to_read() {
    let server = Server::start();
    let web1 = server.add_host("web1", &[]);
    let text = hosts_file(&server);
    assert!(text.contains("web1"), "{text}");
    assert!(!text.contains(web1.password.trim_start_matches("pawl_")), "{text}");
    let mode = fs::metadata(server.data().join(".pawl/hosts.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
}

#[test]
fn hosts_outlive_a_restart() {
    let mut server = Server::start();
    let web1 = server.add_client("web1", &[]);
    server.stop();
    let _ = server.host(&["add", "web2"]).expect_code(0);
    server.start_again();
    assert_eq!(web1.ask("GET", CONFIG).unwrap().status, 404);
    assert_eq!(server.host(&["list", "--json"]).expect_code(0).json().as_array().unwrap().len(), 2);
}

#[test]
fn a_bad_host_name_is_refused_with_what_a_name_is() {
    let server = Server::start();
    let before = server.stored();
    let [option, place] = server.place();
    let long = "a".repeat(65);
    for name in ["", ".", "..", "../web1", "a/b", "a b", "-x", "wéb", "a\nb", "a:b", &long] {
        let finished = pawl(["host", "add", option, place, "--", name]);
        assert!(matches!(finished.code, Some(1 | 2)), "{name:?}: {finished:#?}");
        assert!(finished.stderr.contains("a name "), "{name:?}: {finished:#?}");
    }
    before.assert_unchanged(&server.stored());
}

#[test]
fn a_bad_repository_name_is_refused_with_what_a_name_is() {
    let server = Server::start();
    let before = server.stored();
    for name in ["", "..", "data", "a/keys", "a//b", "/a", "a/", "a/b/c/d/e", ".pawl", "a/.pawl", "a b"] {
        let finished = server.host(&["add", "web1", &format!("--repository={name}")]);
        assert!(matches!(finished.code, Some(1 | 2)), "{name:?}: {finished:#?}");
        assert!(finished.stderr.contains("name"), "{name:?}: {finished:#?}");
    }
    // Named after itself, where that is one of restic's own names.
    let finished = server.host(&["add", "locks"]);
    assert!(matches!(finished.code, Some(1 | 2)), "{finished:#?}");
    before.assert_unchanged(&server.stored());
}

#[test]
fn maintenance_is_never_given_at_the_backup_door() {
    let server = Server::start();
    let before = server.stored();
    let finished = server.host(&["add", "admin", "--repository", "web1", "--role", "maintenance"]);
    assert!(matches!(finished.code, Some(1 | 2)), "{finished:#?}");
    assert!(finished.stderr.contains("maintenance"), "{finished:#?}");
    before.assert_unchanged(&server.stored());
}

#[test]
fn hosts_that_are_added_at_the_same_time_are_all_there() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let _ = server.host(&["add", &format!("web{number}")]).expect_code(0);
            });
        }
    });
    assert_eq!(server.host(&["list", "--json"]).expect_code(0).json().as_array().unwrap().len(), 8);
}

#[test]
fn no_host_is_named_like_a_user_who_maintains() {
    let server = Server::start();
    let refused = server.host(&["add", "uid-0"]).expect_code(1);
    assert!(refused.stderr.contains("begin with uid-"), "{refused:#?}");
    let listed = server.host(&["list", "--json"]).expect_code(0);
    assert!(!listed.stdout.contains("uid-0"), "{listed:#?}");
}

#[test]
fn a_host_gets_another_repository_and_keeps_its_password() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/mail/web1/?create=true").unwrap().status, 403);
    let more = ["add-repository", "web1", "--repository", "mail/web1", "--quota", "1MiB"];
    let added = server.host(&more).expect_code(0);
    assert!(added.stdout.contains("mail/web1"), "{added:#?}");
    for repository in ["web1", "mail/web1"] {
        assert_eq!(web1.ask("POST", &format!("/{repository}/?create=true")).unwrap().status, 200);
    }
    let listed = server.host(&["list"]).expect_code(0).stdout;
    assert!(
        listed.lines().any(|line| line.contains("mail/web1") && line.contains("up to 1.0 MiB")),
        "{listed}"
    );
    let again = server.host(&more).expect_code(1);
    assert!(again.stderr.contains("mail/web1"), "{again:#?}");
    let unknown = server.host(&["add-repository", "web2", "--repository", "mail/web2"]).expect_code(1);
    assert!(unknown.stderr.contains("no host 'web2'"), "{unknown:#?}");
}
