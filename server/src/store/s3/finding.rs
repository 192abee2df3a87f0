//! What was found out about a store, one thing at a time.
//!
//! Invariant: a weakness has a name, by which alone it can be accepted.

use serde::{Deserialize, Serialize};

use super::settings::Weakness;

/// One thing that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How good that is.
    pub sort: Sort,
    /// What it is, in a sentence.
    pub text: String,
}

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Has to be accepted by name.
    Weak(Weakness),
}
