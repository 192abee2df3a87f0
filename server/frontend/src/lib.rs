//! The frontend: what listens to hosts and admins, without a right to name, change or remove a file.
//!
//! Invariant: `http::route` alone reads a URL, `http::respond` alone names a status. What lies between them is a decision of
//! `pawl_policy`, carried out on a store.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]
#![forbid(unsafe_code)]

mod capacity;
pub mod credentials;
pub mod http;
pub mod invitation;
pub mod peer;
pub mod running;
pub mod service_manager;
pub mod socket;
mod throttle;
