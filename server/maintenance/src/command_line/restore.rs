//! The command line of `pawl maintain restore`.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::path::PathBuf;

use clap::Args;
use pawl_config::Place;
use pawl_config::restic_options::ResticOptions;
use pawl_policy::{Handle, RepositoryName};

use super::Reading;

/// Help beyond the options.
pub(super) const HELP: &str = "\
Examples:
  pawl maintain restore --dry-run --data ./pawl-data              # what verify found, and what can be done
  pawl maintain restore --data ./pawl-data                        # from copies in the store itself
  pawl maintain restore --from /mnt/second --data ./pawl-data     # and from another store
  pawl maintain restore --from /etc/pawl/second.toml --config /etc/pawl/pawl.toml  # which can be a bucket
  pawl maintain restore web1 data/5f0c…(64 digits) --from /mnt/second/web1 --data ./pawl-data
  pawl maintain restore web1 --as-of 2026-11-01T08:00:00Z --dry-run --data ./pawl-data
  pawl maintain restore web1 --set-aside --password-file web1.password --data ./pawl-data

A copy counts only if its content hashes to the file's name, wherever it comes from. The damaged file is moved into a
batch first; nothing is replaced. In a bucket, versions that were overwritten or hidden past Pawl are copies as well: run
`verify --all` first. Cut at any moment, it goes on when it is run again. Exit code: 0 if all is right now, 1 if something
is not or is lost, 2 if the work could not be done.";

/// Options of `pawl maintain restore`.
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Restore {
    /// Only this repository [default: all]
    pub repository: Option<RepositoryName>,
    /// Restore these files [default: what `verify` found]
    #[arg(value_name = "TYPE/ID", conflicts_with = "as_of")]
    pub files: Vec<Handle>,
    /// Read good copies from this directory, or from the store of this configuration
    #[arg(long, value_name = "DIR|CONFIG")]
    pub from: Option<PathBuf>,
    /// Bring files that are missing here as well
    #[arg(long, requires = "from")]
    pub missing: bool,
    /// Return the repository to its files at this moment or day (UTC)
    #[arg(long, value_name = "TIME", requires = "repository")]
    pub as_of: Option<String>,
    /// Soft-delete what was added since --as-of
    #[arg(long, requires = "as_of")]
    pub hide_added: bool,
    /// Move damaged files without a good copy away, and repair the index
    #[arg(long)]
    pub set_aside: bool,
    /// Change nothing; print what would change
    #[arg(long)]
    pub dry_run: bool,
    /// How fast, and how many files at a time
    #[command(flatten)]
    pub reading: Reading,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
    /// For --set-aside
    #[command(flatten)]
    pub restic: ResticOptions,
}
