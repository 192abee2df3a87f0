//! `restic init`, undisturbed and disturbed.

use pawl_tests::clients::{Restic, Version};
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::server::Server;
use pawl_tests::{with_each_restic_on_each_store, with_newer_restic_on_each_store};

with_newer_restic_on_each_store! {
    an_init_whose_answers_are_lost_succeeds,
}

with_each_restic_on_each_store! {
    a_repository_is_made,
    an_interrupted_init_can_be_repeated,
    a_second_init_is_refused_and_changes_nothing,
}

fn a_repository_is_made(server: &Server, version: Version) {
    let restic = Restic::new(version, &server.add_host("web1", &[]));
    restic.succeed(["init"]);
    restic.check();
    assert!(restic.snapshots().is_empty());
}

fn an_interrupted_init_can_be_repeated(server: &Server, version: Version) {
    let credential = server.add_host("web1", &[]);
    let restic = Restic::new(version, &credential);
    // The machine dies between the key and the config.
    let line = Proxy::start(server.address(), Fault::Cut, "POST /web1/config");
    let init = restic.through(line.address()).start(["init"]);
    line.wait_for_fault();
    init.kill();
    let client = server.client(&credential);
    let keys = || client.ask("GET", "/web1/keys/").unwrap().text();
    let lost = keys();
    assert_eq!(lost.matches('"').count(), 2, "one key: {lost}");

    restic.succeed(["init"]);
    let made = keys();
    assert_eq!(made.matches('"').count(), 2, "one key: {made}");
    assert_ne!(made, lost);
    restic.check();
}

/// restic 0.14 gives up at once.
fn an_init_whose_answers_are_lost_succeeds(server: &Server, version: Version) {
    let restic = Restic::new(version, &server.add_host("web1", &[]));
    let config = Proxy::start(server.address(), Fault::LoseAnswer, "POST /web1/config");
    let key = Proxy::start(config.address(), Fault::LoseAnswer, "POST /web1/keys/");
    restic.through(key.address()).succeed(["init"]);
    for line in [key, config] {
        assert!(line.lost().starts_with("HTTP/1.1 200 "), "{:?}", line.lost());
    }
    restic.check();
}

fn a_second_init_is_refused_and_changes_nothing(server: &Server, version: Version) {
    let restic = Restic::new(version, &pawl_tests::clients::ready(server, "web1"));
    let before = server.stored();
    let ended = restic.run(["init"]).expect_code(1);
    assert!(ended.stderr.contains("config file already exists"), "{}", ended.stderr);
    before.assert_unchanged(&server.stored());
}
