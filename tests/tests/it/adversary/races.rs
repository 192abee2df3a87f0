//! Attacks that race: many requests at once where one alone would be refused.

use std::sync::Barrier;
use std::thread;

use pawl_tests::content::{id_of, key_file, noise};
use pawl_tests::http::{Body, Client, Request};
use pawl_tests::server::Server;
use pawl_tests::store::path_of;

use super::initialised;

/// Sends all requests at the same moment and returns the answers' codes.
fn at_once(client: &Client, requests: Vec<Request>) -> Vec<u16> {
    let start = Barrier::new(requests.len());
    thread::scope(|scope| {
        let send = |request| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                client.send(request).map_or(0, |response| response.status)
            })
        };
        let running: Vec<_> = requests.into_iter().map(send).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn post(target: &str, content: &[u8]) -> Request {
    Request::new("POST", target).body(Body::Sized(content.to_vec()))
}

fn count(answers: &[u16], status: u16) -> usize {
    answers.iter().filter(|&&answer| answer == status).count()
}

/// A36: a host races uploads of one name, one of them with other content.
#[test]
fn a_race_of_uploads_stores_the_right_content_once() {
    let server = Server::start();
    let web1 = initialised(&server, "web1");
    for round in 0..5 {
        let right = noise(&format!("right {round}"), 2_000_000);
        let wrong = noise(&format!("wrong {round}"), 2_000_000);
        let name = format!("web1/data/{}", id_of(&right));
        let before = server.stored();
        let contents = (0..8).map(|racer| if racer == round { &wrong } else { &right });
        let answers = at_once(&web1, contents.map(|content| post(&format!("/{name}"), content)).collect());
        assert_eq!((count(&answers, 200), count(&answers, 400)), (7, 1), "{answers:?}");
        assert!(std::fs::read(path_of(server.data(), &name)).unwrap() == right, "round {round}");
        let after = server.stored();
        before.assert_kept(&after);
        assert_eq!(before.differences(&after).len(), 1, "{:?}", before.differences(&after));
    }
}

/// A37: a host races a second config against the first.
#[test]
fn a_race_of_configs_stores_one() {
    let server = Server::start();
    for round in 0..5 {
        let name = format!("web{round}");
        let client = server.add_client(&name, &[]);
        assert_eq!(client.ask("POST", &format!("/{name}/?create=true")).unwrap().status, 200);
        let before = server.stored();
        let target = format!("/{name}/config");
        let configs: Vec<Vec<u8>> = (0..8).map(|racer| noise(&format!("config {racer}"), 155)).collect();
        let answers = at_once(&client, configs.iter().map(|config| post(&target, config)).collect());
        assert_eq!((count(&answers, 200), count(&answers, 403)), (1, 7), "{answers:?}");
        let winner = answers.iter().position(|&answer| answer == 200).and_then(|at| configs.get(at)).unwrap();
        assert!(std::fs::read(path_of(server.data(), &format!("{name}/config"))).unwrap() == *winner);
        before.assert_kept(&server.stored());
    }
}

/// More than `allowed` requests at once: some are let through, never more than that, and those alone are stored.
/// A few that there was still room for may be refused: each counts until it is stored.
fn assert_at_most(allowed: usize, server: &Server, client: &Client, requests: Vec<Request>) {
    let before = server.stored();
    let answers = at_once(client, requests);
    let stored = count(&answers, 200);
    assert!((1..=allowed).contains(&stored), "{stored}: {answers:?}");
    assert_eq!(count(&answers, 403), answers.len() - stored, "{answers:?}");
    let after = server.stored();
    before.assert_kept(&after);
    assert_eq!(before.differences(&after).len(), stored);
}

/// A38: a host races locks past their number.
#[test]
fn a_race_of_locks_stays_within_their_number() {
    let server = Server::start();
    let web1 = initialised(&server, "web1");
    let lock = |number: usize| noise(&format!("lock {number}"), 150);
    let request = |number| post(&format!("/web1/locks/{}", id_of(&lock(number))), &lock(number));
    assert_at_most(64, &server, &web1, (0..100).map(request).collect());
}

/// A39: a host races keys past their number.
#[test]
fn a_race_of_keys_stays_within_their_number() {
    let server = Server::start();
    let web1 = server.add_client("web1", &[]);
    assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
    let key = |number: usize| key_file(&format!("key {number}"));
    let request = |number| post(&format!("/web1/keys/{}", id_of(&key(number))), &key(number));
    assert_at_most(16, &server, &web1, (0..40).map(request).collect());
}
