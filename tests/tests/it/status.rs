//! Metrics and health: what the status listener says of what happened.
//!
//! Invariant: every number is compared with what the test did, and every metric that a dashboard or an alert names is
//! one that the server has.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod counted;
mod listener;
mod prometheus;
mod ready;
mod repositories;

use pawl_tests::clients;
use pawl_tests::content::id_of;
use pawl_tests::http::Client;
use pawl_tests::server::Server;
use pawl_tests::status::{ON, Status};

/// A server with the status listener, and a host whose repository is initialised.
fn serve() -> (Server, Status, Client) {
    let server = Server::build().config(ON).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let status = Status::of(&server);
    (server, status, web1)
}

fn target(file_type: &str, content: &[u8]) -> String {
    format!("/web1/{file_type}/{}", id_of(content))
}

fn store(client: &Client, file_type: &str, content: &[u8]) {
    assert_eq!(client.post(&target(file_type, content), content).unwrap().status, 200);
}
