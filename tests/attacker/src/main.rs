//! A frontend that was taken over: it enters the confinement of `pawl serve` by the same functions, and then makes one
//! attempt after another, each as it is told to on standard input.
//!
//! Invariant: it is let do nothing before it is confined that the real frontend does not do, but to look around.

#![expect(unsafe_code, reason = "code that was injected calls the kernel by itself")]

mod alter;
mod call;
mod destroy;
mod escape;
mod ground;
#[cfg(target_arch = "x86_64")]
mod old;
mod ring;

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use pawl::serve;
use pawl_config::Config;
use pawl_keeper::confine::{self, FrontendNeeds};

use call::Outcome;
use ground::Ground;

/// Its name, and how it is made.
type Attempt = (&'static str, fn(&Ground) -> Outcome);

/// What kinds there are: destroy, alter, escape.
fn kinds() -> Vec<(char, Vec<Attempt>)> {
    let mut kinds = vec![
        ('D', destroy::ATTEMPTS.to_vec()),
        ('M', alter::ATTEMPTS.to_vec()),
        ('X', escape::ATTEMPTS.to_vec()),
    ];
    #[cfg(target_arch = "x86_64")]
    kinds.extend([
        ('D', old::DESTROYING.to_vec()),
        ('M', old::ALTERING.to_vec()),
        ('X', old::ESCAPING.to_vec()),
    ]);
    kinds
}

fn main() -> ExitCode {
    match go() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("attacker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn go() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => {
            for (kind, attempts) in kinds() {
                for (name, _) in attempts {
                    println!("{kind} {name}");
                }
            }
            Ok(())
        }
        ["enter", config, abi_max] => enter(Path::new(config), abi_max.parse().ok(), false),
        ["enter", config, abi_max, "without-seccomp"] => enter(Path::new(config), abi_max.parse().ok(), true),
        _ => Err("expected list, or enter CONFIG LANDLOCK-ABI-MAX [without-seccomp]".into()),
    }
}

fn enter(config: &Path, landlock_abi_max: Option<u8>, without_seccomp: bool) -> Result<(), Box<dyn Error>> {
    let mut config = Config::read(config)?;
    config.confinement.landlock_abi_max = landlock_abi_max;
    let keeper = serve::start_keeper(&config)?;
    let ground = Ground::look(&config.data)?;
    if without_seccomp {
        let needs = FrontendNeeds { trees: vec![config.data.clone()], ..FrontendNeeds::default() };
        let abi = confine::door_without_seccomp(&needs, config.confinement, None)?;
        println!("ready landlock {abi}");
    } else {
        let level = serve::confine(&config, &keeper)?;
        println!("ready {level}");
    }
    let attempts = kinds().into_iter().flat_map(|(_, attempts)| attempts);
    #[cfg(target_arch = "x86_64")]
    let attempts = attempts.chain(old::LAST.iter().copied());
    let attempts: Vec<_> = attempts.collect();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (_, attempt) =
            attempts.iter().find(|(name, _)| *name == line).ok_or("there is no such attempt")?;
        let outcome = match attempt(&ground) {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        };
        println!("{outcome}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
