//! Attacks on the log, and through it.

use pawl_tests::content::{base64, basic};
use pawl_tests::http::{Connection, Request};
use pawl_tests::server::Server;

use super::initialised;

/// Bytes that end a line or drive a terminal.
fn controls(log: &[u8]) -> Vec<u8> {
    log.iter().copied().filter(|&byte| (byte < b' ' && byte != b'\n') || byte == 0x7f).collect()
}

/// A44: somebody writes lines or terminal commands of their own into the log, through names and paths.
#[test]
fn nobody_writes_lines_of_their_own_into_the_log() {
    for format in ["text", "json"] {
        let mut server = talkative(format);
        let web1 = initialised(&server, "web1");
        let before = server.stored();

        let forged = "x\n2026-01-01T00:00:00Z INFO forged-line principal=web1 outcome=allowed";
        let hostile = [
            forged,
            "x\r\nforged-line",
            "\x1b[2J\x1b[31mforged-line",
            "a\u{9b}2J",
            "a\0b",
            "\u{202e}forged",
            "a\tb\x7f",
        ];
        for name in hostile {
            let guess = Request::new("GET", "/web1/config").header("Authorization", &basic(name, "guess"));
            assert_eq!(server.nobody().send(guess).unwrap().status, 401, "{name:?}");
            let guess = Request::new("GET", "/web1/config")
                .header("Authorization", &format!("Basic {}", base64(name.as_bytes())));
            assert_eq!(server.nobody().send(guess).unwrap().status, 401, "{name:?}");
            // As it is, which is mostly not HTTP, and escaped.
            let raw = format!(
                "GET /{name}/config HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nUser-Agent: {name}\r\n\r\n",
                basic("web1", name)
            );
            let mut connection = Connection::open(server.address()).unwrap();
            connection.send_bytes(raw.as_bytes()).unwrap();
            let _ = connection.close_sending(); // it may have hung up already
            connection.read_to_end().unwrap();
            let escaped = name.bytes().fold(String::new(), |path, byte| path + &format!("%{byte:02x}"));
            assert_eq!(web1.ask("GET", &format!("/{escaped}/config")).unwrap().status, 404, "{name:?}");
            let mut agent = Request::new("GET", "/web1/config");
            agent.headers.push(("User-Agent".to_owned(), "a\tforged".to_owned()));
            assert_eq!(web1.send(agent).unwrap().status, 200);
        }
        server.stop();
        let log = server.log().text();
        assert!(log.contains("web1"), "the log names who asked:\n{log}");
        assert_eq!(controls(log.as_bytes()), Vec::<u8>::new(), "{log}");
        assert!(!log.contains(['\u{9b}', '\u{202e}']), "{log}");
        let own_line = |line: &&str| {
            line.trim_start().starts_with("forged-line")
                || line.starts_with("2026-01-01T00:00:00Z INFO forged")
        };
        assert_eq!(log.lines().find(own_line), None);
        if format == "json" {
            for line in log.lines() {
                assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
            }
        }
        before.assert_unchanged(&server.stored());
    }
}

/// A server that logs all it can, in this format.
fn talkative(format: &str) -> Server {
    let log = format!("log.format = \"{format}\"\nlog.level = \"trace\"");
    let config = format!("credentials.failed_logins_per_minute = 1000\n{log}");
    Server::build().config(&config).start()
}

/// Ends the server and looks for the secrets in all that it printed and in its title.
fn assert_never_printed(server: &mut Server, secrets: &[&str]) {
    let title = std::fs::read_to_string(format!("/proc/{}/cmdline", server.door_pid())).unwrap();
    server.stop();
    let printed = server.log().text() + &server.output().text() + &title;
    assert!(printed.contains("web1"), "the log names who asked:\n{printed}");
    for secret in secrets {
        assert!(!printed.contains(secret), "{secret} is in the log:\n{printed}");
    }
}

/// A45: a reader of the log learns passwords from it.
#[test]
fn no_secret_reaches_the_log() {
    for format in ["text", "json"] {
        let mut server = talkative(format);
        let credential = server.add_host("web1", &[]);
        let web1 = server.client(&credential);
        let before = server.stored();

        for (method, target, status) in [
            ("GET", "/web1/config", 404),
            ("GET", "/web2/config", 403),
            ("GET", "/web1/no/such/path", 404),
            ("PUT", "/web1/config", 405),
            ("POST", "/web1/?create=false", 400),
        ] {
            assert_eq!(web1.ask(method, target).unwrap().status, status, "{method} {target}");
        }
        // Nearly right is a secret too.
        let nearly = format!("{}x", credential.password);
        let bearer = format!("Bearer {}", credential.password);
        for authorization in [basic("web1", &nearly), basic("web1", "hunter2-guess"), bearer] {
            let request = Request::new("GET", "/web1/config").header("Authorization", &authorization);
            assert_eq!(server.nobody().send(request).unwrap().status, 401);
        }
        // Not HTTP, so that an error might quote it.
        let right = basic("web1", &credential.password);
        let broken = format!("GET /web1/config HTTP/1.1\r\nAuthorization: {right}\r\nno colon\r\n\r\n");
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send_bytes(broken.as_bytes()).unwrap();
        connection.read_to_end().unwrap();
        before.assert_unchanged(&server.stored());

        let rotated = server.host(&["rotate", "web1", "--json"]).expect_code(0).json();
        let rotated = rotated.get("password").unwrap().as_str().unwrap();
        let secret = credential.password.strip_prefix("pawl_").unwrap();
        let encoded = right.strip_prefix("Basic ").unwrap();
        let guessed = base64(b"web1:hunter2-guess");
        assert_never_printed(&mut server, &[secret, encoded, rotated, "hunter2-guess", &guessed]);
    }
}

/// A50: a reader of the log learns a password that somebody typed where the user name belongs.
#[test]
fn a_password_in_place_of_the_user_name_does_not_reach_the_log() {
    for format in ["text", "json"] {
        let mut server = talkative(format);
        let credential = server.add_host("web1", &[]);
        let before = server.stored();
        let swapped = basic(&credential.password, "web1");
        let request = Request::new("GET", "/web1/config").header("Authorization", &swapped);
        assert_eq!(server.nobody().send(request).unwrap().status, 401);
        before.assert_unchanged(&server.stored());
        let secret = credential.password.strip_prefix("pawl_").unwrap();
        assert_never_printed(&mut server, &[secret, swapped.strip_prefix("Basic ").unwrap()]);
    }
}
