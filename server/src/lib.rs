//! Pawl: a restic-compatible REST repository server whose hosts can only add.
//!
//! Dependencies point one way: `http` to `store` and `credentials`, `store` to `keeper`, all to `pawl_policy`.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")
)]

pub mod audit_command;
pub mod cli;
pub mod doctor;
pub mod hosts;
pub mod maintenance;
pub mod s3_policy;
pub mod serve;
