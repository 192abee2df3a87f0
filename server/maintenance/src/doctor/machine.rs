//! What this machine offers: the kernel, confinement, the clock; and how hosts come in.
//!
//! Invariant: the level that is told is what a server started now, with this configuration, would reach or refuse.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pawl_config::Level;
use pawl_config::{Config, Listen, Tls};
use pawl_frontend::credentials::client_ca_path;
use pawl_frontend::http::tls::{CertificateFiles, Certificates, Protocols};
use pawl_keeper::confine::{self, Confined};
use pawl_policy::Clock;

use super::Line;

use crate::clock;
use pawl_config::user::user;

/// What was found.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) lines: Vec<Line>,
    /// What the frontend would reach.
    pub(super) level: Level,
    /// Whether what goes over a network is encrypted by Pawl.
    pub(super) encrypts: bool,
}

/// Looks at the machine.
pub(super) fn look(config: &Config) -> Machine {
    let kernel = rustix::system::uname();
    let abi = confine::landlock_abi(config.confinement.landlock_abi_max);
    let seccomp = rustix::thread::secure_computing_mode().is_ok();
    let has = format!(
        "Linux {} has {} and {}",
        kernel.release().to_string_lossy(),
        if abi == 0 { "no Landlock".to_owned() } else { format!("Landlock of ABI {abi}") },
        if seccomp { "seccomp" } else { "no seccomp" },
    );
    let mut lines = vec![Line::good(has)];
    let level = level(config, abi, seccomp, &mut lines);
    lines.push(of_level(config, level));
    let encrypts = of_connections(config, &mut lines);
    lines.push(of_clock(config.maintenance.run.general().assume_clock_synced));
    Machine { lines, level, encrypts }
}

fn level(config: &Config, abi: u8, seccomp: bool, lines: &mut Vec<Line>) -> Level {
    if config.confinement.least == Level::Off {
        return Level::Off;
    }
    let confined = |uid| Confined { seccomp, landlock_abi: abi, uid };
    let owner = std::fs::metadata(&config.data).map(|data| data.uid());
    let Some(service) = &config.keeper else {
        return confine::level(confined(1), confined(1)); // one user, whoever that is
    };
    match (user(&service.door), owner) {
        (Ok(door), Ok(owner)) => {
            if door == owner {
                let text =
                    format!("{} belongs to {:?}, the frontend's user", config.data.display(), service.door);
                let remedy =
                    "give it to the keeper's user: chown -R pawl-keeper:pawl, and 0750 for directories";
                lines.push(Line::fault(text, remedy));
            }
            confine::level(confined(door), confined(owner))
        }
        (Err(error), _) => {
            lines.push(Line::fault(error.to_string(), "the frontend cannot reach the keeper"));
            Level::Off
        }
        (_, Err(_)) => Level::Off, // what is wrong with the directory is told with it
    }
}

fn of_level(config: &Config, level: Level) -> Line {
    let least = config.confinement.least;
    let text = format!("confinement: {level}");
    if level < least {
        let refuses = format!("the configuration demands \"{least}\", so that `pawl serve` refuses to start");
        return Line::fault(text, refuses);
    }
    match level {
        Level::Off => Line::fault(text, format!("{}. Remove confinement = \"off\"", level.meaning())),
        Level::Seccomp => Line::note(text, format!("{}. Linux 6.2 or newer has it", level.meaning())),
        Level::SameUser | Level::Strong => {
            Line { consequence: Some(level.meaning().to_owned()), ..Line::good(text) }
        }
    }
}

/// Returns whether what hosts send is encrypted, or never leaves the machine.
fn of_connections(config: &Config, lines: &mut Vec<Line>) -> bool {
    let exposed = config.listen.iter().any(|place| Listen::exposed(place).is_some());
    match &config.tls {
        Tls::Off if !exposed => lines.push(Line::good("hosts come in from this machine only")),
        Tls::Off => {
            lines.push(Line::note(
                "plain HTTP is spoken on a network (plain_http)",
                "passwords and who backs up when can be read on the way, unless a proxy speaks TLS in front",
            ));
            return false;
        }
        Tls::Given { certificate, key } => {
            let files = CertificateFiles { certificate: certificate.clone(), key: key.clone() };
            match Certificates::load(files, client_ca_path(&config.data), Protocols::Both) {
                Ok(_) => {
                    lines.push(Line::good(format!("TLS, with the certificate {}", certificate.display())));
                }
                Err(error) => lines.push(Line::fault(
                    format!("the certificate cannot be used: {error}"),
                    "`pawl serve` does not start with it, and a running server keeps its last one",
                )),
            }
        }
        Tls::PrivateCa { .. } => lines.push(Line::good("TLS, with a certificate of Pawl's own CA")),
    }
    true
}

fn of_clock(is_right: bool) -> Line {
    match clock::state() {
        Clock::Unsynchronised | Clock::Unknown if is_right => Line::note(
            "the clock is right by the word of the configuration",
            "purging believes it (assume_clock_synced)",
        ),
        Clock::Synchronised => Line::good("the clock follows others"),
        Clock::Unsynchronised => Line::fault(
            "the clock does not follow others",
            "purging waits until it does, and times at which files are received may be wrong: enable NTP, or if something else \
             keeps it right, write assume_clock_synced = true under [maintenance.run]",
        ),
        Clock::Unknown => Line::note(
            "neither the kernel nor systemd says whether the clock follows others",
            "purging refuses to trust it unless told to (assume_clock_synced)",
        ),
    }
}

/// Who else can write to a place of Pawl's.
pub(super) fn is_open_to_others(path: &Path) -> std::io::Result<bool> {
    Ok(std::fs::metadata(path)?.mode() & 0o022 != 0)
}
