//! The command line of Pawl: one function for each command.

use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches;
use pawl::cli::{self, Cli, Command, Policy};
use pawl::{audit_command, hosts, s3_policy, serve};
use pawl_config::{files, print};
use pawl_maintenance::doctor;

fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&cli::command().get_matches()).unwrap_or_else(|error| error.exit());
    let outcome = match cli.command {
        Command::Serve(options) => serve::serve(&options),
        Command::Keeper(options) => serve::keeper(&options),
        Command::Host(command) => hosts::run(command),
        Command::Maintain(command) => pawl_maintenance::run(command),
        Command::Audit(command) => audit_command::run(command),
        Command::Doctor(options) => doctor::run(&options),
        Command::Policy(Policy::Table(options)) => hosts::policy_table(options),
        Command::Policy(Policy::S3(options)) => s3_policy::run(*options),
        Command::Completions { shell } => completions(shell),
        Command::Man { directory: None } => man(),
        Command::Man { directory: Some(directory) } => man_pages(&directory),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print::failure(error.as_ref()),
    }
}

fn completions(shell: clap_complete::Shell) -> print::Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "pawl", &mut script);
    print::bytes(&script)
}

fn man_pages(directory: &Path) -> print::Outcome {
    let written = clap_mangen::generate_to(cli::command(), directory);
    written.map_err(|cause| files::FileError::new("write man pages into", directory, cause).into())
}

fn man() -> print::Outcome {
    let mut page = Vec::new();
    clap_mangen::Man::new(cli::command()).render(&mut page)?;
    print::bytes(&page)
}
