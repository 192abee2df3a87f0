//! The frontends, to hosts and to maintenance: the only place that knows HTTP.
//!
//! Invariant: `route` alone reads a URL, `respond` alone names a status, and what lies between them is a decision
//! of `pawl_policy` carried out on an `AppendStore`. What else a frontend can do is in its type: `NoDeletions` or
//! `Hiding`.

mod arrivals;
mod authenticate;
mod carry_out;
mod connection;
mod deadline;
mod gate;
mod listen;
mod listing;
mod metrics;
mod pending_upload;
mod promises;
pub mod proxy;
mod range;
mod record;
mod reservations;
mod respond;
mod route;
mod service;
pub mod status;
pub mod tls;
mod turned_away;
mod upload;

pub use listen::serve;
pub use service::Frontend;
