//! Reads the files that restic writes into a repository.
//!
//! Invariant: every byte may come from an attacker. What restic could not read is an error, never a panic; memory and
//! work are bounded before they are spent.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")
)]
#![forbid(unsafe_code)]

mod go_json;
pub mod id;
pub mod key;
pub mod node;
pub mod pack;
pub mod records;
pub mod sealed;
