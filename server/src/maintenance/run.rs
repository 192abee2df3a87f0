//! What runs did, as far as others want to know.
//!
//! Invariant: nothing is run here.

#[expect(dead_code, reason = "the report reads what a run writes")]
pub(super) mod record;
