//! What a deployment says, and the small tools that every process of Pawl shares.
//!
//! Invariant: a [`Config`] is free of contradictions. Nothing here knows a store, a protocol or a repository's content.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")
)]
#![forbid(unsafe_code)]

mod config;
pub mod files;
pub mod format;
pub mod hint;
pub mod lock_wait;
pub mod log;
pub mod pace;
pub mod place;
pub mod print;
mod proxies;
pub mod restic_options;
pub mod retention;
pub mod run_settings;
pub mod s3;
pub mod time;
pub mod url;
pub mod user;

pub use config::{
    Config, ConfigError, Demand, Format, IN_DATA, KeeperService, LISTEN_DEFAULT, Level, Limits, Listen,
    ListenError, Log, LogFormat, LogLevel, Maintenance, Nights, Report, Tls,
};
pub use place::Place;
pub use proxies::Proxies;
