//! Attacks that learn what is not theirs from an answer, or make Pawl believe what is not so.

use std::time::{SystemTime, UNIX_EPOCH};

use pawl_tests::content::{basic, id_of, key_file};
use pawl_tests::http::{Body, Client, Request, Response};
use pawl_tests::server::Server;
use pawl_tests::store::{fact, path_of, plant, set_fact};

use super::initialised;

/// The answer without what differs each time.
fn answer(client: &Client, request: Request) -> Response {
    let mut response = client.send(request).unwrap();
    response.headers.retain(|(name, _)| name != "date");
    response
}

/// A4: somebody finds out which users there are by comparing answers.
#[test]
fn an_unknown_user_is_answered_like_a_wrong_password() {
    let server = Server::build().config("credentials.failed_logins_per_minute = 1000").start();
    let _web1 = initialised(&server, "web1");
    let before = server.stored();
    let ask = |authorization: &str| {
        answer(&server.nobody(), Request::new("GET", "/web1/config").header("Authorization", authorization))
    };
    let wrong_password = ask(&basic("web1", "guess"));
    assert_eq!(wrong_password.status, 401);
    assert_eq!(ask(&basic("web2", "guess")), wrong_password);
    assert_eq!(ask(&basic("", "guess")), wrong_password);
    before.assert_unchanged(&server.stored());
}

/// A24: a host finds out which repositories there are by comparing answers.
#[test]
fn a_foreign_repository_is_answered_like_none() {
    let server = Server::start();
    let web1 = initialised(&server, "web1");
    let _web2 = initialised(&server, "web2");
    let before = server.stored();
    let id = id_of(&key_file("the first key"));
    for (method, rest) in [
        ("GET", "config".to_owned()),
        ("HEAD", "config".to_owned()),
        ("GET", "keys/".to_owned()),
        ("GET", format!("keys/{id}")),
        ("HEAD", format!("keys/{id}")),
        ("DELETE", format!("locks/{id}")),
        ("DELETE", format!("keys/{id}")),
        ("POST", format!("keys/{id}")),
        ("POST", "config".to_owned()),
        ("POST", "?create=true".to_owned()),
        ("DELETE", String::new()),
    ] {
        let ask = |name: &str| {
            let request = Request::new(method, &format!("/{name}/{rest}"));
            answer(
                &web1,
                request.body(if method == "POST" {
                    Body::Sized(key_file("the first key"))
                } else {
                    Body::None
                }),
            )
        };
        let foreign = ask("web2");
        assert_eq!(foreign.status, 403, "{method} {rest}");
        assert_eq!(foreign, ask("web3"), "{method} {rest}");
    }
    before.assert_unchanged(&server.stored());
}

/// A40: a host finds maintenance's keys by comparing answers.
#[test]
fn a_key_for_maintenance_is_answered_like_none() {
    let server = Server::start();
    let web1 = initialised(&server, "web1");
    let credential = server.add_client("admin", &["--repository", "web1", "--allow-key-add"]);
    let (hidden, absent) = (key_file("of maintenance"), key_file("of nobody"));
    let path = path_of(server.data(), &format!("web1/keys/{}", id_of(&hidden)));
    plant(&path, &hidden);
    set_fact(&path, "audience", "maintenance");
    let before = server.stored();

    for (method, range) in [
        ("GET", None),
        ("GET", Some("bytes=0-")),
        ("GET", Some("bytes=99999-")),
        ("HEAD", None),
        ("DELETE", None),
    ] {
        for client in [&web1, &credential] {
            let ask = |key: &[u8]| {
                let request = Request::new(method, &format!("/web1/keys/{}", id_of(key)));
                answer(
                    client,
                    match range {
                        Some(range) => request.header("Range", range),
                        None => request,
                    },
                )
            };
            assert_eq!(ask(&hidden), ask(&absent), "{method} {range:?}");
        }
    }
    let post = |key: &[u8], content: &[u8]| {
        let target = format!("/web1/keys/{}", id_of(key));
        answer(&web1, Request::new("POST", &target).body(Body::Sized(content.to_vec())))
    };
    assert_eq!(post(&hidden, &hidden), post(&absent, &absent));
    assert_eq!(post(&hidden, &absent), post(&absent, &hidden));
    before.assert_unchanged(&server.stored());
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// A42: a host forges the time at which a snapshot was received.
#[test]
fn the_time_received_is_pawls_own() {
    let server = Server::start();
    let web1 = initialised(&server, "web1");
    let before = server.stored();
    let content = b"a snapshot from the future, of more than thirty-two bytes";
    let name = format!("web1/snapshots/{}", id_of(content));
    let earliest = now_ms();
    for year in ["1990", "2099"] {
        let date = format!("Thu, 01 Jan {year} 00:00:00 GMT");
        let request = Request::new("POST", &format!("/{name}"))
            .header("Date", &date)
            .header("Last-Modified", &date)
            .header("X-Amz-Date", "19900101T000000Z")
            .header("X-Received", "0")
            .body(Body::Sized(content.to_vec()));
        assert_eq!(web1.send(request).unwrap().status, 200);
    }
    let latest = now_ms();
    let received: u128 = fact(&path_of(server.data(), &name), "received").unwrap().parse().unwrap();
    assert!((earliest..=latest).contains(&received), "{earliest} <= {received} <= {latest}");
    before.assert_kept(&server.stored());
}
