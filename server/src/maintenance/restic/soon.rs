//! A program that ought to end before long: `restic version`, a password command.
//!
//! Invariant: it is waited for no longer than was said, and it is gone then.

use std::io::{self, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::stop::Stop;

/// What such a program may print, in bytes; more is no answer.
const PRINTED_MAX: usize = 64 << 10;
/// How often is looked whether it has to end.
const POLL: Duration = Duration::from_millis(20);

/// Runs it with nothing to read, and returns what it printed.
pub(in crate::maintenance) fn soon(
    mut command: Command,
    within: Duration,
    stop: &Stop,
) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let ended = wait(&mut child, within, stop);
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    ended
}

fn wait(child: &mut Child, within: Duration, stop: &Stop) -> io::Result<Output> {
    let began = Instant::now();
    let in_time = || {
        if began.elapsed() < within && stop.why().is_none() {
            return Ok(());
        }
        let text = format!("it had not ended after {} s, and was killed", began.elapsed().as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    };
    // What it has started may hold the pipe open when it is gone itself. That keeps a thread waiting, and nobody else.
    let (tell, told) = mpsc::channel();
    let stdout = child.stdout.take();
    thread::spawn(move || {
        let mut printed = Vec::new();
        let max = PRINTED_MAX as u64 + 1;
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(max).read_to_end(&mut printed));
        let _ = tell.send(read.map(|_| printed)); // nobody listens once the time is over
    });
    let stdout = loop {
        match told.recv_timeout(POLL) {
            Ok(printed) => break printed?,
            Err(_) => in_time()?,
        }
    };
    if stdout.len() > PRINTED_MAX {
        return Err(io::Error::other(format!("it printed more than {PRINTED_MAX} bytes, and was killed")));
    }
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Output { status, stdout, stderr: Vec::new() });
        }
        in_time()?;
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stderr(Stdio::null());
        command
    }

    fn ends(script: &str) -> io::Result<Output> {
        soon(sh(script), Duration::from_millis(300), &Stop::default())
    }

    #[test]
    fn what_ends_has_said_what_it_printed() {
        let output = soon(sh("echo yes; exit 3"), Duration::from_mins(1), &Stop::default()).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"yes\n".as_slice()));
    }

    #[test]
    fn what_does_not_end_is_killed() {
        for script in ["sleep 600", "echo yes; sleep 600", "exec >&-; sleep 600", "sleep 600 & exit 0"] {
            assert_eq!(ends(script).unwrap_err().kind(), io::ErrorKind::TimedOut, "{script}");
        }
        assert!(soon(sh("exec yes"), Duration::from_mins(1), &Stop::default()).is_err());
    }
}
