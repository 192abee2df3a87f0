//! Code that has got to run in the frontend's process, and every level at which the kernel holds it.
//!
//! Invariant: what must not be harmed is looked at from outside, by a process that nothing confines.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod case;
mod evidence;
mod flooded;
mod forged;
mod forger;
mod levels;
mod matrix;
mod stand;
