//! The repository's password, as restic would get it.
//!
//! Invariant: it is in no log and on no command line.

use std::process::Command;
use std::time::Duration;

use super::super::restic::soon;
use super::super::stop::Stop;
use crate::cli::UsersRestic;

/// More than any password.
const BYTES_MAX: usize = 4 << 10;
/// A password may come from another machine, or from hardware that somebody has to touch.
const COMMAND_ENDS_WITHIN: Duration = Duration::from_mins(5);

impl UsersRestic {
    /// The password from the file or the command that was named, without space around it, as restic takes it.
    pub(in crate::maintenance) fn password(&self) -> Result<Vec<u8>, String> {
        let (from, text) = match (&self.password_file, &self.password_command) {
            (Some(file), _) => {
                let from = file.display().to_string();
                let text = std::fs::read(file).map_err(|error| format!("cannot read {from}: {error}"))?;
                (from, text)
            }
            (None, Some(command)) => {
                ("the password command".to_owned(), printed(command, &self.bounds.stop)?)
            }
            (None, None) => return Err("say --password-file or --password-command".to_owned()),
        };
        let password = text.trim_ascii();
        if password.is_empty() || password.len() > BYTES_MAX {
            return Err(format!("{from} gave {} bytes; expected a password", password.len()));
        }
        Ok(password.to_owned())
    }
}

/// What a command prints that is started as restic starts it: in words, without a shell.
fn printed(command: &str, stop: &Stop) -> Result<Vec<u8>, String> {
    let words = shlex::split(command).unwrap_or_default();
    let Some((program, arguments)) = words.split_first() else {
        return Err("the password command has no words, or quotes that do not end".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let run = soon(command, COMMAND_ENDS_WITHIN, stop);
    let run = run.map_err(|error| format!("the password command, {program}, gave no password: {error}"))?;
    if !run.status.success() {
        return Err(format!("the password command ended with {}", run.status));
    }
    Ok(run.stdout)
}
