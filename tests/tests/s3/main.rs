//! What tests of buckets stand on: the servers, the client, and the line that fails between them.
//!
//! Invariant: what other tests take for granted of an S3 server is asserted here, on each.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod faults;
mod servers;
