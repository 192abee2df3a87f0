//! Pawl: a restic-compatible REST repository server whose hosts can only add.
//!
//! The program itself: its command line, and what each command does with the crates below it: maintenance, the frontend, the
//! store, the keeper and the policy.
//!
//! Invariant: what somebody may do is decided in `pawl_policy`, and done by `pawl_store`.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]
#![forbid(unsafe_code)]

pub mod audit_command;
pub mod cli;
pub mod hosts;
pub mod s3_policy;
pub mod serve;
