//! The command line of `pawl maintain run`, whose settings can be written into the configuration as well.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::path::PathBuf;

use clap::Args;
use pawl_config::Place;
use pawl_config::run_settings::RunSettings;
use pawl_policy::RepositoryName;

use crate::record::Step;

/// Help beyond the options.
pub(super) const HELP: &str = "\
Examples:
  pawl maintain run --data ./pawl-data    # settings that `enroll` wrote
  pawl maintain run --keep-daily 14 --keep-weekly 8 --keep-monthly 12 \\
      --password-file management.password --data ./pawl-data
  pawl maintain run web1 --only forget,prune --config /etc/pawl/pawl.toml

Steps: verify, restore, compare, purge, examine, forget, prune and check, then
the report. Options with a heading are keys of [maintenance.run]. Undo what was
removed: `pawl maintain undelete`. A run that was cut continues for 12 hours.
Exit code: 0 all is well, 1 something needs attention, 2 something failed. The
page \"Nightly run\" explains the steps, and the last line for programs.";

/// Options of `pawl maintain run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Repositories [default: all]
    #[arg(value_name = "REPOSITORY")]
    pub repositories: Vec<RepositoryName>,
    /// Do only these steps
    #[arg(long, value_name = "STEP,…", value_enum, value_delimiter = ',', hide_possible_values = true)]
    pub only: Vec<Step>,
    /// Compare with the JSON of this earlier report
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// What can be written into the configuration as well
    #[command(flatten)]
    pub settings: RunSettings,
}
