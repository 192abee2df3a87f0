//! What the black-box tests stand on: a started server, a plain HTTP client, the stored files, scripts, S3 servers.
//!
//! Invariant: nothing here knows Pawl's code; it knows the command line, the protocol and the directory layout.

pub mod bucket;
pub mod clients;
pub mod clock;
pub mod command;
pub mod content;
pub mod cut;
pub mod disk;
pub mod document;
pub mod faults;
pub mod faulty;
pub mod forger;
pub mod http;
pub mod log;
pub mod maintenance;
pub mod memory;
pub mod moto;
pub mod plain_user;
pub mod port;
pub mod power;
pub mod process;
pub mod program;
pub mod proxy;
pub mod random;
pub mod rgw;
pub mod roles;
pub mod s3;
pub mod script;
pub mod server;
pub mod shared;
pub mod status;
pub mod store;
pub mod terminal;
pub mod wait;

use std::env;

/// Says that something is not tested here, and why.
///
/// # Panics
///
/// Where everything is to be tested.
pub fn not_tested(why: &str) {
    assert!(env::var_os("PAWL_FULL").is_none(), "NOT TESTED: {why}");
    eprintln!("NOT TESTED: {why}");
}
