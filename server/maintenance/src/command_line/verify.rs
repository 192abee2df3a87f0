//! The command line of `pawl maintain verify`, and how restic is found and told a password.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::num::NonZeroUsize;

use bytesize::ByteSize;
use clap::Args;
use pawl_config::Place;
use pawl_config::restic_options::ResticOptions;
use pawl_policy::RepositoryName;

use crate::share::Share;

/// Help beyond the options.
pub(super) const HELP: &str = "\
Examples:
  pawl maintain verify --data ./pawl-data                    # run it every day: everything is read in 7 days
  pawl maintain verify --all --bytes-per-second 100MiB --config /etc/pawl/pawl.toml
  pawl maintain verify web1 --password-file web1.password --data ./pawl-data   # names the snapshots affected

Every run looks at all names, sizes and facts, and reads what was read longest ago. One that was cut goes on where it was
if it is run again within a day. Exit code: 0 if all is well, 1 if something was found, 2 if it could not be found out.";

/// Options of `pawl maintain verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Repositories [default: all]
    #[arg(value_name = "REPOSITORY")]
    pub repositories: Vec<RepositoryName>,
    /// Read this share of all bytes, oldest readings first, e.g. 1/7 [default: what is due today]
    #[arg(long, value_name = "PART", conflicts_with = "all")]
    pub share: Option<Share>,
    /// Read everything
    #[arg(long)]
    pub all: bool,
    /// Read data also where the store keeps checksums
    #[arg(long)]
    pub read_data: bool,
    /// How fast, and how many files at a time
    #[command(flatten)]
    pub reading: Reading,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// How the snapshots affected are found out
    #[command(flatten)]
    pub restic: ResticOptions,
}

/// How much is read at a time.
#[derive(Debug, Default, Args)]
pub struct Reading {
    /// Limit reading, e.g. 100MiB
    #[arg(long, value_name = "SIZE")]
    pub bytes_per_second: Option<ByteSize>,
    /// Read N files at a time [default: one for each processor; 16 for `restore`]
    #[arg(long, value_name = "NUMBER")]
    pub jobs: Option<NonZeroUsize>,
}
