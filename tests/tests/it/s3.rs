//! Pawl in front of a bucket, and what those tests stand on: the servers, the client, the line that fails between them.
//!
//! Invariant: what is stored is looked at in the bucket itself, past Pawl; what the tests take for granted of an S3 server
//! is asserted here, on each.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod away;
mod faults;
mod full;
mod races;
mod rotated;
mod scale;
mod scripts;
mod servers;
mod signs;
mod watched;
