//! Pruning, bringing back and repairing in a bucket, with the real client and the real commands, and with the policies in
//! force that `pawl policy s3` prints.
//!
//! Invariant: what is asserted is what lies in the bucket and what restic reads back, not exit codes alone.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod away;
mod cost;
mod cut;
mod elsewhere;
mod enrolled;
mod floor;
mod forget;
pub(crate) mod host;
mod killed;
mod locks;
mod machine;
mod purge;
mod report;
mod rot;
mod stores;
mod thief;
mod tried;
mod undone;
