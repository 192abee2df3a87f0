//! The status listener of a server, as a monitoring system sees it.
//!
//! Invariant: it is asked without a credential.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::http::{Client, Response};
use crate::server::Server;
use crate::wait;

/// Switches it on, on a free port.
pub const ON: &str = "status.listen = \"127.0.0.1:0\"";

/// How a server announces it.
pub const ANNOUNCED: &str = "metrics and health at http://";

/// The status listener of a server.
#[derive(Debug, Clone)]
pub struct Status {
    address: SocketAddr,
}

impl Status {
    /// That of a server which was started with [`ON`]. A port lasts until the server's next start.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        let log = server.log().text();
        let (_, after) = log.rsplit_once(ANNOUNCED).unwrap();
        Self { address: after.split_whitespace().next().unwrap().parse().unwrap() }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for a page.
    #[must_use]
    pub fn page(&self, page: &str) -> Response {
        Client::nobody(self.address).ask("GET", page).unwrap()
    }

    /// Asks for a page of JSON: its status and what it says.
    #[must_use]
    pub fn json(&self, page: &str) -> (u16, Value) {
        let response = self.page(page);
        assert_eq!(response.header("content-type"), Some("application/json"), "{response:?}");
        (response.status, serde_json::from_slice(&response.body).unwrap())
    }

    /// All metrics with their labels, as in `pawl_requests_total{action="read data",status="200"}`.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, i64> {
        let text = self.page("/metrics").text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                (series.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// Waits until the metrics say this: a request is counted only when its answer was taken.
    pub fn wait_for(&self, expected: &[(&str, i64)]) {
        for (series, value) in expected {
            let mut seen = None;
            wait::until(&format!("{series} is {value}"), || {
                seen = self.metrics().get(*series).copied();
                (seen == Some(*value)).then_some(())
            });
        }
    }
}
