//! What can be typed after `pawl maintain`, with the help that teaches it, and the options of what else works on this crate.
//!
//! Invariant: as for all of the command line, parsing has no effect.

mod forget;
mod maintain;
mod report;
mod restore;
mod run;
mod verify;

use std::path::PathBuf;

use clap::Args;
use pawl_config::Place;

pub use forget::{Forget, Trust};
pub use maintain::{
    Admin, DeleteFiles, Enroll, Key, Maintain, OneKey, Purge, Retire, ServeMaintenance, Undelete,
};
pub use report::Report;
pub use restore::Restore;
pub use run::Run;
pub use verify::{Reading, Verify};

/// Options of `pawl audit archive`.
#[derive(Debug, Args)]
pub struct ArchiveAudit {
    /// Archive files whose records are all older than this day (UTC) or moment
    #[arg(long, value_name = "TIME")]
    pub before: String,
    /// Move files into this existing directory outside of the data directory
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// Options of `pawl doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
