//! The backup door: the only place that knows HTTP.
//!
//! Invariant: `route` alone reads a URL, `respond` alone names a status, and what lies between them is a decision
//! of `pawl_policy` carried out on an `AppendStore`.

mod authenticate;
mod carry_out;
mod connection;
mod deadline;
mod gate;
mod listen;
mod listing;
mod metrics;
pub mod proxy;
mod range;
mod record;
mod reserve;
mod respond;
mod route;
mod service;
pub mod status;
pub mod tls;
mod upload;

pub use listen::serve;
pub use service::Door;
