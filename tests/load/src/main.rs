//! Puts the same load on several servers of restic's REST protocol in turn, and measures what it costs each of them.
//!
//! Invariant: an answer counts only with the status and the length that it must have; the first other one ends the
//! program. What is sent is made and hashed before the clock starts.

mod client;
mod content;
mod cost;
mod drive;
mod measurement;
mod report;
mod work;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::{Args, Parser};

use client::Protocol;
use cost::{Cost, Spent};
use drive::Server;
use measurement::Measurement;
use work::Work;

/// What went wrong, in words.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T = ()> = Result<T, Failure>;

/// Puts load on servers in turn, and measures what it costs them.
#[derive(Debug, Parser)]
enum Cli {
    /// Prints one line of JSON for each round of each work on each server.
    Measure {
        #[command(flatten)]
        setting: Setting,
        /// name=…,pid=…,url=http://127.0.0.1:8000/web1/[,user=…][,password=…][,data=DIRECTORY of the repository]
        #[arg(long = "server", required = true)]
        servers: Vec<Server>,
        /// KIND[/SIZE][@CONNECTIONS][xREQUESTS], of these kinds: put, get, range, head, list (SIZE is the number of
        /// files that there must be), hold (uploads of which half is sent), idle
        #[arg(long = "work", required = true)]
        works: Vec<Work>,
        /// How often each work is done on each server.
        #[arg(long, default_value_t = 1)]
        rounds: u32,
        /// The certificate authority to trust, in PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
    },
    /// Runs a program and prints, as one such line, what it costs a server meanwhile.
    Run {
        #[command(flatten)]
        setting: Setting,
        /// What the work is called.
        #[arg(long)]
        work: String,
        /// The server's name.
        #[arg(long)]
        name: String,
        /// The server's process.
        #[arg(long)]
        pid: u32,
        #[arg(long)]
        round: u32,
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// Makes a repository's directory have this many empty files of data.
    Plant { repository: PathBuf, files: u64 },
    /// Reads such lines from standard input and prints tables with each server's ratio to the first one.
    Report {
        /// Writes the medians, the ratios and all lines there as well.
        #[arg(long)]
        json: Option<PathBuf>,
    },
}

/// Under what circumstances something was measured.
#[derive(Debug, Clone, Args)]
struct Setting {
    /// Where files lie, such as "disk".
    #[arg(long)]
    place: String,
    /// What is spoken.
    #[arg(long, value_enum, default_value_t = Protocol::Http)]
    protocol: Protocol,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pawl-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Outcome {
    match cli {
        Cli::Measure { setting, servers, works, rounds, ca } => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let mut drive = drive::Drive::new(setting.protocol, ca.as_deref())?;
            for server in &servers {
                runtime
                    .block_on(drive.prepare(server))
                    .map_err(|error| format!("{}: {error}", server.name))?;
            }
            for round in 1..=rounds {
                for work in &works {
                    for server in &servers {
                        let done = runtime
                            .block_on(drive.measure(server, work))
                            .map_err(|error| format!("{}: {work}: {error}", server.name))?;
                        eprintln!(
                            "{} {} {work}, round {round}: {}",
                            setting.place, setting.protocol, server.name
                        );
                        Measurement::new(&setting, &server.name, &work.to_string(), round, done).print()?;
                    }
                }
            }
            Ok(())
        }
        Cli::Run { setting, work, name, pid, round, program } => {
            let spent = run_program(pid, &program)?;
            eprintln!("{} {} {work}, round {round}: {name}", setting.place, setting.protocol);
            Measurement::new(&setting, &name, &work, round, spent).print()
        }
        Cli::Plant { repository, files } => plant(&repository, files),
        Cli::Report { json } => {
            let lines = std::io::stdin().lock().lines().map(|line| Ok(serde_json::from_str(&line?)?));
            report::print(&lines.collect::<Outcome<Vec<Measurement>>>()?, json.as_deref())
        }
    }
}

/// One run of a program counts as one request.
fn run_program(pid: u32, program: &[String]) -> Outcome<Spent> {
    let (name, arguments) = program.split_first().ok_or("no program is named")?;
    let cost = Cost::watch(pid)?;
    let started = Instant::now();
    let output = Command::new(name).args(arguments).output().map_err(|error| format!("{name}: {error}"))?;
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let mut spent =
        Spent { requests: 1, bytes: 0, seconds, latencies_ms: vec![seconds * 1e3], ..Spent::default() };
    cost.note(&mut spent)?;
    Ok(spent)
}

/// Files of data with names of their own, and nothing in them: no listing looks at content. Those that are there count.
fn plant(repository: &Path, files: u64) -> Outcome {
    for first in 0..=u8::MAX {
        std::fs::create_dir_all(repository.join(format!("data/{first:02x}")))?;
    }
    for number in 0..files {
        // An odd factor gives each number another name, and spreads them over the directories.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let path = format!("data/{:02x}/{spread:016x}{number:048x}", spread >> 56);
        match std::fs::OpenOptions::new().write(true).create_new(true).open(repository.join(path)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => drop(made?),
        }
    }
    Ok(())
}
