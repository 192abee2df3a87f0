//! The command line of `pawl maintain report`.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::path::PathBuf;

use clap::Args;
use pawl_policy::RepositoryName;

use pawl_config::Place;

/// Help beyond the options.
pub(super) const HELP: &str = "\
Examples:
  pawl maintain report --data ./pawl-data                     # what is wrong is on top
  pawl maintain report --html report.html --data ./pawl-data  # with charts, for a browser
  pawl maintain report --json --data ./pawl-data >monday.json    # keep it on another machine
  pawl maintain report --compare monday.json --data ./pawl-data  # what is gone since?
  pawl maintain report --deliver --config /etc/pawl/pawl.toml    # see [maintenance.report]

The report only reads, and works while servers and maintenance run. Pawl remembers a delivered report: the
next one lists what was refused since, and compares with it unless --compare names another. Snapshots of the
remembered report that are neither there nor deleted by maintenance are missing, in every report until
--acknowledge. An audit log without its remembered last record was cut or rewritten.

Exit code: 0 nothing needs attention, 1 something does, 2 the report could not be made or delivered.
The last line of the text is for programs:
  pawl-report: {\"exit\":0,\"made\":\"2026-11-21T09:00:00Z\",\"repositories\":1,\"snapshots\":41,
  \"files\":1310,\"bytes\":9876543210,\"attention\":0,\"missing\":0,\"damaged\":0,\"held\":0,
  \"pending_batches\":1,\"pending_bytes\":123456,\"refused\":0,\"delivered\":false}
`attention` counts the items that need attention, `held` the snapshots that `pawl maintain forget` held \
back, `refused` the requests that were refused since the last report. Without a report it has only \
`exit` and `error`.

The JSON has this as `summary`, and: `pawl_report` (the form, 1), `version`, `made`, `since`, \
`attention` (each with `grade`, which is loss or look, `repository`, `text`), `compared` (`with`, `made`, \
`missing`, `logs`), `repositories` (each with `repository`, `unreadable`, `last_backup`, which was found \
good or is the last where nobody ever looked, `newest` if that is another, `snapshots`, \
`files`, `bytes`, `growth`, `received`, `verified`, `findings`, `pending`, `held`, `junk`, `last_run`), \
`frees`, `refused`, `audit`, `store`, `adversaries`, and `expected` (`made`, `repositories`, `audit`), which \
is what --compare compares with.";

/// Options of `pawl maintain report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Repositories [default: all]
    #[arg(value_name = "REPOSITORY", conflicts_with_all = ["deliver", "acknowledge"])]
    pub repositories: Vec<RepositoryName>,
    /// Write a page for a browser into this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Compare with the JSON of this earlier report
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Send it to the configuration's command or webhook
    #[arg(long)]
    pub deliver: bool,
    /// Accept the present state as what has to be there
    #[arg(long, conflicts_with = "deliver")]
    pub acknowledge: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}
