//! `pawl maintain`: pruning and repairing, in a process of its own; and `pawl doctor`, whose findings a report has as well.
//!
//! Invariant: nothing here runs in a process that serves hosts; whatever acts holds the lock of maintenance, through its
//! keeper, so that two never work at once.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")
)]

mod admin;
mod amend;
mod archive;
mod batch_list;
mod clock;
pub mod command_line;
mod config;
mod content;
mod delete;
mod deletion_permit;
pub mod doctor;
mod enroll;
mod examine;
mod forget;
mod key;
mod listing;
mod lock_filter;
mod locks;
mod map_concurrent;
mod nights;
mod pending_audit;
mod probe_cache;
mod progress;
mod purge;
mod record;
mod report;
mod restic;
mod restore;
mod retire;
mod run;
mod sealed_files;
mod secret;
mod serve;
mod server;
mod session;
mod share;
mod state_file;
mod stop;
mod stores;
mod undelete;
mod verify;

use command_line::Maintain;
use pawl_config::print::Outcome;

pub use archive::run as archive;

/// Runs the command.
pub fn run(command: Maintain) -> Outcome {
    match command {
        Maintain::Serve(options) => serve::run(&options),
        Maintain::Admin(command) => admin::run(command),
        Maintain::Undelete(options) => undelete::run(&options),
        Maintain::Purge(options) => purge::run(&options),
        Maintain::Delete(options) => delete::run(&options),
        Maintain::Key(command) => key::run(command),
        Maintain::Forget(options) => forget::run(&options),
        Maintain::Run(options) => run::run(&options),
        Maintain::Nights { place, server } => nights::run(&place, server),
        Maintain::Trust(options) if options.amend_received => amend::run(&options),
        Maintain::Trust(options) => forget::trust(&options),
        Maintain::Report(options) => report::run(&options),
        Maintain::Enroll(options) => enroll::run(&options),
        Maintain::Retire(options) => retire::run(&options),
        Maintain::Verify(options) => verify::run(&options),
        Maintain::Restore(options) => restore::run(&options),
    }
}
