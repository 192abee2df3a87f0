//! `pawl-keeper`: started by `pawl`, with its socket as standard input.
//!
//! Invariant: it serves one frontend, at the other end of one socket, and ends when that hangs up.

use std::error::Error;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use pawl_config::print::{self, Outcome};
use pawl_config::{Demand, Level, Log, LogFormat, LogLevel, log};
use pawl_keeper::Tenant;

/// Signals that stop a service.
const STOPPING: [rustix::process::Signal; 3] =
    [rustix::process::Signal::TERM, rustix::process::Signal::INT, rustix::process::Signal::HUP];

/// The process of Pawl that names files. `pawl serve` starts it; `pawl keeper` starts it as a service
#[derive(Debug, Parser)]
#[command(name = "pawl-keeper", version)]
struct Options {
    /// The version of the `pawl` that starts it
    #[arg(long, value_name = "VERSION")]
    started_by: String,
    /// The directory that holds all repositories
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Work for maintenance
    #[arg(long)]
    maintenance: bool,
    /// The form of the log
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// The least severe level that is logged
    #[arg(long, value_enum, default_value = "info")]
    log_level: LogLevel,
    /// The least confinement that is accepted
    #[arg(long, value_enum, default_value = "seccomp")]
    confinement: Level,
    /// As if the kernel's Landlock were older
    #[arg(long, hide = true)]
    landlock_abi_max: Option<u8>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print::failure(error.as_ref()),
    }
}

fn run(options: &Options) -> Outcome {
    let ours = env!("CARGO_PKG_VERSION");
    if options.started_by != ours {
        return Err(format!(
            "pawl-keeper {ours} was started by pawl {}; install both from one release, and restart both",
            options.started_by
        )
        .into());
    }
    log::start(Log { format: options.log_format, level: options.log_level });
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    leave_stopping_to_the_frontend()?;
    pawl_keeper::raise_descriptor_limit();
    let side = if options.maintenance { Tenant::Maintenance } else { Tenant::Hosts };
    let demand = Demand { least: options.confinement, landlock_abi_max: options.landlock_abi_max };
    pawl_keeper::run(&socket, &options.data, side, demand).map_err(|error| -> Box<dyn Error> {
        format!("the keeper cannot work in {}: {error}", options.data.display()).into()
    })
}

/// A stop is for the frontend, which lets uploads finish; the keeper ends when the frontend does.
fn leave_stopping_to_the_frontend() -> std::io::Result<()> {
    for signal in STOPPING {
        signal_hook::flag::register(signal.as_raw(), Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}
