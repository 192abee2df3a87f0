//! The report with which a new one is compared.
//!
//! Invariant: it is data alone, wherever it was found.

use super::audited::Since;
use super::remembered::{AlreadyRead, Expected};

/// What an earlier report expects, and where that was found.
#[derive(Debug, Clone)]
pub(super) struct Earlier {
    pub(super) with: String,
    /// From when on refused attempts are told.
    pub(super) since: Since,
    pub(super) expected: Expected,
    /// What of the audit logs need not be read again.
    pub(super) read: AlreadyRead,
}
