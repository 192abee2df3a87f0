//! What commands say: results on standard output, errors on standard error.
//!
//! Invariant: a reader that closes the pipe early is no error.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

/// How a command ends. The error's chain of causes is printed one a line.
pub type Outcome = Result<(), Box<dyn Error>>;

/// An end with an exit code of its own: of a command that looks for something, 1 says that it was found.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExitStatus {
    /// 1 or 2.
    pub code: u8,
    /// What is printed as the error; nothing if it is empty.
    pub message: String,
}

/// Prints why a command failed, and says how it ends.
#[must_use]
pub fn failure(failed: &(dyn Error + 'static)) -> ExitCode {
    let ended = failed.downcast_ref::<ExitStatus>();
    if ended.is_none_or(|ended| !ended.message.is_empty()) {
        error(failed);
    }
    ended.map_or(ExitCode::FAILURE, |ended| ExitCode::from(ended.code))
}

/// Prints a line.
pub fn line(text: &str) -> Outcome {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints JSON.
pub fn json(value: &impl serde::Serialize) -> Outcome {
    line(&serde_json::to_string(value)?)
}

/// Prints what came of a command, as JSON or for people, and ends with this code and message.
pub fn report<R: serde::Serialize>(
    report: &R,
    text: impl FnOnce(&R) -> String,
    end: ExitStatus,
    is_json: bool,
) -> Outcome {
    if is_json {
        json(report)?;
    } else {
        line(&text(report))?;
    }
    if end.code == 0 { Ok(()) } else { Err(end.into()) }
}

/// Prints bytes as they are.
pub fn bytes(bytes: &[u8]) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints what is worth knowing beside the results, on standard error.
pub fn warning(text: &str) {
    let _ = std::io::stderr().write_all(format!("pawl: {text}\n").as_bytes()); // nowhere left to say it
}

/// Prints an error and its causes.
pub fn error(error: &dyn Error) {
    use std::fmt::Write as _;

    let mut text = format!("pawl: {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(text, "  because: {error}"); // writing to a String cannot fail
        cause = error.source();
    }
    let _ = std::io::stderr().write_all(text.as_bytes()); // nowhere left to say it
}
