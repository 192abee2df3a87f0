//! The command line of `pawl maintain run`, whose settings can be written into the configuration as well.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::path::PathBuf;

use clap::Args;
use pawl_config::Place;
use pawl_config::run_settings::RunSettings;
use pawl_policy::RepositoryName;

use crate::maintenance::Step;

/// Help beyond the options.
pub(super) const HELP: &str = "\
Examples:
  pawl maintain run --data ./pawl-data     # with the settings that `enroll` wrote; without any: verify, restore, purge
  pawl maintain run --keep-daily 14 --keep-weekly 8 --keep-monthly 12 \\
      --password-file management.password --data ./pawl-data
  pawl maintain run web1 db1 --until 06:00 --bytes-per-second 50MiB --config /etc/pawl/pawl.toml
  pawl maintain run web1 --only forget,prune --config /etc/pawl/pawl.toml   # at once, with the settings of the night
  pawl maintain run --json --config /etc/pawl/pawl.toml

In every repository: verify, restore what is damaged and has a good copy, compare with the last report, purge what is due,
open what is new and hide what restic would choke on, forget, prune, `restic check` of one portion; in the end a report is
handed out. A surprise (damage that stays, an error of restic's) ends the work in its repository, and the others go on;
nothing is purged where verify found damage. Rules that would take more than --max-share stop forget alone. Without keep rules nothing is forgotten,
and pruned only what was deleted. What is removed can be brought back, as always: `pawl maintain undelete`.

Settings can be written into the configuration, for all repositories and for single ones; the command line goes before
both. In a file of passwords one line is the password, and nobody but its owner may read it:
  [maintenance.run]
  password_file = \"/etc/pawl/management.password\"
  keep_daily = 14
  until = \"06:00\"
  [maintenance.run.repositories.\"db1\"]
  keep_daily = 30

Cut at any moment it goes on where it was, if it is run again within 12 hours. It ends at --until, by SIGTERM and by Ctrl-C
alike: restic removes its locks, and what is left is done first the next time. Two runs never work at once.

Its last line is for programs: `pawl-run: ` and JSON. The keys, which --json has as well, with the steps beside them:
  exit          the exit code
  repositories  how many there were; well, notices, failed: how many of these ended how. Those of which something is
                left are none of the well ones
  left          steps for which there was no time
  ended_by      \"until\" or \"signal\" if it was ended, else null
  resumed       whether it went on with a run that was cut
  delivered     whether a report was handed out ([maintenance.report])
  attention     at how many things somebody should look, which `pawl maintain report` lists: also at what this run is not
                about, such as a host that sends no backups
  began, seconds
  unknown       repositories that the configuration has a table for, and that are not there
  error         why nothing was done, else null
Exit code: 0 if all is well, 1 if somebody should look at something, as `notices`, `attention` or `unknown` say, 2 if
something could not be done.";

/// Options of `pawl maintain run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Repositories [default: all]
    #[arg(value_name = "REPOSITORY")]
    pub repositories: Vec<RepositoryName>,
    /// Do only these steps: verify, restore, compare, purge, examine, forget, prune or check; several with commas
    #[arg(long, value_name = "STEP,…", value_enum, value_delimiter = ',', hide_possible_values = true)]
    pub only: Vec<Step>,
    /// What can be written into the configuration as well
    #[command(flatten)]
    pub settings: RunSettings,
    /// Compare with the JSON of an earlier report, kept on another machine, instead of the last that Pawl keeps itself
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}
