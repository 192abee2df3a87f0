//! `pawl maintain enrol`: introduces a host with the user's own restic.
//!
//! Invariant: no password is on a command line; the management password is used at a maintenance door alone, so that
//! the key that it opens is never shown to the host.

use std::error::Error;
use std::path::Path;
use std::process::{Output, Stdio};

use super::door::PrivateDoor;
use super::restic::Version;
use super::session;
use crate::cli::Enrol;
use crate::hosts::{self, Introduced};
use crate::print::{self, Outcome};

/// Runs the command.
pub(super) fn run(options: &Enrol) -> Outcome {
    let Enrol { name, password_file, management_password_file, restic, place } = options;
    for file in [password_file, management_password_file] {
        std::fs::metadata(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    }
    let version = Version::of(restic)?;
    session::act(place, async |session| {
        let introduced = hosts::introduce(&session.config, name)?;
        let restic = Restic { program: restic, password_file, ca_file: introduced.ca_file.as_deref() };
        let undo = format!("; `pawl host revoke {name}` takes the host away again");
        restic.run(&introduced.repository, &["init"]).await.map_err(|error| format!("{error}{undo}"))?;
        let repository = name.as_str().parse()?;
        let door = PrivateDoor::open(session, &repository, version).await?;
        let key = management_password_file.to_string_lossy().into_owned();
        let args = ["key", "add", "--new-password-file", &key];
        let at = door.address();
        let added = Restic { ca_file: at.ca, ..restic }.run(&at.repository, &args).await;
        door.close().await?;
        added.map_err(|error| format!("{error}{undo}"))?;
        let Introduced { lines, .. } = introduced;
        print::line(&format!(
            "{name} is enrolled. Its repository has a key for management, which {name} does not see. On {name}, with the \
             password of {}, paste:\n\n{lines}",
            password_file.display()
        ))
    })
}

/// The user's restic.
struct Restic<'a> {
    program: &'a Path,
    password_file: &'a Path,
    ca_file: Option<&'a Path>,
}

impl Restic<'_> {
    /// Runs a command on a repository, whose name holds a credential and so goes into the environment.
    async fn run(&self, repository: &str, args: &[&str]) -> Result<(), Box<dyn Error>> {
        let mut command = std::process::Command::new(self.program);
        command.args(args).stdin(Stdio::null());
        command.env("RESTIC_REPOSITORY", repository).env("RESTIC_PASSWORD_FILE", self.password_file);
        for other in ["RESTIC_PASSWORD", "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY_FILE"] {
            command.env_remove(other);
        }
        if let Some(ca) = self.ca_file {
            command.arg("--cacert").arg(ca); // restic 0.14 knows no variable for it
        }
        let said = args.join(" ");
        let run = tokio::task::spawn_blocking(move || command.output());
        let Output { status, stderr, .. } = run.await??;
        if status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&stderr);
        Err(format!("restic {said} ended with {status}: {}", words.trim()).into())
    }
}
