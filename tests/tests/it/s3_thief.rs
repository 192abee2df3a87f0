//! What a thief of a credential of the store can do: it is used directly, with the policies that `pawl policy s3`
//! prints in force.
//!
//! Invariant: every attack ends with a look at every version in the bucket and at the bucket's settings, by its owner.
//! What is said to be refused leaves them as they were; else every version that was there is still there, byte for
//! byte.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod maintenance;
mod overwriting;
mod reader;
mod server;
mod settings;
mod stand;
mod writer;
