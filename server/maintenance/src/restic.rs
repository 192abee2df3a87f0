//! The user's own restic, run on a repository.
//!
//! Invariant: neither the repository's password nor a credential is on a command line. A restic that has to end is asked
//! to, so that it removes its lock.

mod run_with_timeout;
mod version;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pawl_config::restic_options::ResticOptions;
use pawl_config::run_settings::RunSettings;
use pawl_store::s3::Direct;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::stop::Stop;
pub(super) use run_with_timeout::run_with_timeout;
pub(super) use version::Version;

/// So long a restic that was asked to end may take to remove its lock. What it waits for is a server of this machine.
const END_WAIT_MAX: Duration = Duration::from_secs(20);
/// restic counts what it may read in this many bytes.
const LIMIT_UNIT_BYTES: u64 = 1 << 10;

/// Why restic did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResticError {
    /// It does not start.
    #[error("cannot start {program}: {cause}; see --restic")]
    Start {
        /// Which.
        program: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It ended in an error.
    #[error("restic {command} ended with {status}: {words}")]
    Failed {
        /// What it was to do.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        words: String,
    },
    /// It was ended.
    #[error("restic {0} was ended")]
    Stopped(String),
    /// It could not be waited for.
    #[error("restic could not be waited for: {0}")]
    Cut(String),
}

impl ResticError {
    /// Whether it did nothing because of a lock, of somebody else or of junk: the same words in all versions, where an exit
    /// code is there in new ones and for the first only.
    pub(super) fn is_for_a_lock(&self) -> bool {
        matches!(self, Self::Failed { words, .. } if words.contains("unable to create lock in backend"))
    }
}

/// A repository as restic knows it.
#[derive(Debug)]
pub(super) struct Address<'a> {
    /// A directory, or a URL with the credential in it.
    pub(super) repository: String,
    /// Where it lies, if restic is to read a bucket by itself.
    pub(super) bucket: Option<&'a Direct>,
    /// The CA that signed for it, if it is one of Pawl's own.
    pub(super) ca: Option<&'a Path>,
}

/// The user's own restic, and the bounds within which it works.
#[derive(Debug, Clone, Default)]
pub(super) struct Restic {
    /// The program, and where the repository's password comes from.
    pub(super) options: ResticOptions,
    /// When it has to end.
    pub(super) stop: Stop,
    /// Bytes that it reads a second.
    bytes_per_second: Option<u64>,
}

impl From<ResticOptions> for Restic {
    /// Without bounds.
    fn from(options: ResticOptions) -> Self {
        Self { options, ..Self::default() }
    }
}

impl Restic {
    /// The restic of these settings, which reads no faster than they say.
    pub(super) fn of(settings: &RunSettings, stop: Stop) -> Self {
        let bytes_per_second = settings.bytes_per_second.map(|size| size.as_u64());
        Self { options: settings.restic.clone(), stop, bytes_per_second }
    }

    /// Whether the repository's password was given.
    pub(super) const fn knows_password(&self) -> bool {
        self.options.knows_password()
    }

    /// The program to start.
    pub(super) fn program(&self) -> &Path {
        self.options.program()
    }

    /// Runs a command on a repository to its end, and returns what it printed, with what it said besides behind it.
    pub(super) async fn run(&self, at: &Address<'_>, args: Vec<String>) -> Result<String, ResticError> {
        let Output { stdout, stderr, .. } = self.output(at, args).await?;
        Ok(text(&stdout) + &text(&stderr))
    }

    /// Runs a command on a repository to its end, and returns what it printed. What it said besides is warned of.
    pub(super) async fn ask(&self, at: &Address<'_>, args: Vec<String>) -> Result<String, ResticError> {
        let Output { stdout, stderr, .. } = self.output(at, args).await?;
        for line in text(&stderr).lines() {
            tracing::warn!(line, "restic warns");
        }
        Ok(text(&stdout))
    }

    /// Runs a command on a repository to its end, whatever it prints.
    pub(super) async fn succeeds(&self, at: &Address<'_>, args: Vec<String>) -> Result<(), ResticError> {
        let said = args.join(" ");
        let mut command = self.command(at);
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        let Output { status, .. } = self.to_its_end(command, &said).await?;
        if status.success() {
            return Ok(());
        }
        Err(ResticError::Failed { command: said, status: status.to_string(), words: String::new() })
    }

    async fn output(&self, at: &Address<'_>, args: Vec<String>) -> Result<Output, ResticError> {
        let said: Vec<_> = args.iter().take(2).map(String::as_str).collect();
        let said = said.join(" ");
        let mut command = self.command(at);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self.to_its_end(command, &said).await?;
        if output.status.success() {
            return Ok(output);
        }
        let words = (text(&output.stdout) + &text(&output.stderr)).trim().to_owned();
        Err(ResticError::Failed { command: said, status: output.status.to_string(), words })
    }

    /// Waits for it, or has it end.
    async fn to_its_end(&self, command: Command, said: &str) -> Result<Output, ResticError> {
        let stop = &self.stop;
        if stop.why().is_some() {
            return Err(ResticError::Stopped(said.to_owned()));
        }
        let cut = |error: std::io::Error| ResticError::Cut(error.to_string());
        let mut command = tokio::process::Command::from(command);
        let child = command.kill_on_drop(true).spawn().map_err(|cause| self.no_start(cause))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let process = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())).transpose();
        let process = process.map_err(|error| cut(error.into()))?;
        let tell = |signal| process.as_ref().map(|process| pidfd_send_signal(process, signal));
        let mut ended = std::pin::pin!(child.wait_with_output());
        tokio::select! {
            output = &mut ended => return output.map_err(cut),
            () = stop.over() => {}
        }
        tell(Signal::INT);
        let in_time = tokio::time::timeout(END_WAIT_MAX, &mut ended).await;
        let output = if let Ok(output) = in_time {
            output
        } else {
            tell(Signal::KILL);
            ended.await
        };
        // It may just have come to its end by itself.
        output.map_err(cut).and_then(|output| {
            if output.status.success() { Ok(output) } else { Err(ResticError::Stopped(said.to_owned())) }
        })
    }

    /// The user's restic on a repository. The command is still to be added.
    pub(super) fn command(&self, at: &Address<'_>) -> Command {
        let mut command = Command::new(self.program());
        command.arg("--no-cache").stdin(Stdio::null());
        for other in ["RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_HOST"] {
            command.env_remove(other);
        }
        command.env_remove("RESTIC_REPOSITORY_FILE").env("RESTIC_REPOSITORY", &at.repository);
        if let Some(bucket) = at.bucket {
            command.args(bucket.options());
            for (name, value) in bucket.variables() {
                command.env_remove(name).envs(value.map(|value| (name, value)));
            }
        }
        if let Some(ca) = at.ca {
            command.arg("--cacert").arg(ca);
        }
        if let Some(bytes) = self.bytes_per_second {
            command.args(["--limit-download", &bytes.div_ceil(LIMIT_UNIT_BYTES).to_string()]);
        }
        if self.stop.is_possible() {
            // Ctrl-C is for Pawl, which asks restic to end.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        if let Some(file) = &self.options.password_file {
            command.env("RESTIC_PASSWORD_FILE", file);
        }
        if let Some(how) = &self.options.password_command {
            command.env("RESTIC_PASSWORD_COMMAND", how);
        }
        command
    }

    /// Why it did not start.
    pub(super) fn no_start(&self, cause: std::io::Error) -> ResticError {
        ResticError::Start { program: self.program().display().to_string(), cause }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
