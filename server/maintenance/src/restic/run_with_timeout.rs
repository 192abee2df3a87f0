//! A program that ought to end before long: `restic version`, a password command.
//!
//! Invariant: it is waited for no longer than was said, and it is gone then; where nobody sits at a terminal, so is what
//! it started.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::stop::Stop;

/// The terminal of this process, which cannot be opened if it has none.
const TERMINAL: &str = "/dev/tty";

/// What such a program may print, in bytes; more is no answer.
const PRINTED_MAX: usize = 64 << 10;
/// How often is looked whether it has to end.
const POLL: Duration = Duration::from_millis(20);

/// Runs it with nothing to read, and returns what it printed.
pub(crate) fn run_with_timeout(command: Command, within: Duration, stop: &Stop) -> io::Result<Output> {
    // What may ask at a terminal has to stay in the group that the terminal listens to: in another it would be stopped as
    // soon as it reads (SIGTTIN). Ctrl-C reaches all of that group.
    let among = if File::open(TERMINAL).is_ok() { Group::Ours } else { Group::ItsOwn };
    run(command, among, within, stop)
}

/// Which process group a program is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Ours,
    ItsOwn,
}

fn run(mut command: Command, among: Group, within: Duration, stop: &Stop) -> io::Result<Output> {
    if among == Group::ItsOwn {
        command.process_group(0);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let ended = wait(&mut child, within, stop);
    if ended.is_err() {
        end(&mut child, among)?;
    }
    ended
}

/// Ends it, and what it started that is still in its group.
fn end(child: &mut Child, among: Group) -> io::Result<()> {
    let group = Pid::from_raw(child.id().cast_signed()).filter(|_| among == Group::ItsOwn);
    // Nobody has waited for it, so that the number is still its own.
    match group.map(|group| kill_process_group(group, Signal::KILL)) {
        None => child.kill()?,
        Some(Ok(()) | Err(Errno::SRCH)) => {}
        Some(Err(error)) => return Err(error.into()),
    }
    child.wait()?;
    Ok(())
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
    // What it has started may hold the pipe open when it is gone itself, and outlive it where it is not of a group that can
    // be ended. That keeps a thread waiting, and nobody else.
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
    use tokio::sync::watch;

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stderr(Stdio::null());
        command
    }

    fn ends(script: &str) -> io::Result<Output> {
        run_with_timeout(sh(script), Duration::from_millis(300), &Stop::default())
    }

    #[test]
    fn what_ends_has_said_what_it_printed() {
        let output =
            run_with_timeout(sh("echo yes; exit 3"), Duration::from_mins(1), &Stop::default()).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"yes\n".as_slice()));
    }

    /// Whether a process is there, and has not merely not been waited for yet.
    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }

    #[test]
    fn what_it_started_is_killed_with_it_unless_somebody_may_be_asked_at_a_terminal() {
        for (among, ends) in [(Group::ItsOwn, true), (Group::Ours, false)] {
            for goes_on in ["wait", "exit 0"] {
                let place = tempfile::tempdir().unwrap();
                let pid = place.path().join("pid");
                let script =
                    format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; {goes_on}", pid.display());
                // Told to stop as soon as it has said what it started, however long that takes on a busy machine.
                let (tell, told) = watch::channel(false);
                let said = pid.clone();
                let telling = thread::spawn(move || {
                    while !said.exists() && !tell.is_closed() {
                        thread::sleep(POLL);
                    }
                    tell.send_replace(true);
                });
                let killed = run(sh(&script), among, Duration::from_mins(5), &Stop::when(told)).unwrap_err();
                telling.join().unwrap();
                assert_eq!(killed.kind(), io::ErrorKind::TimedOut, "{killed}");
                let pid = std::fs::read_to_string(&pid).unwrap();
                let started = Instant::now();
                while ends && lives(pid.trim()) && started.elapsed() < Duration::from_mins(1) {
                    thread::sleep(POLL);
                }
                assert_eq!(lives(pid.trim()), !ends, "{among:?}, {goes_on}");
                if !ends {
                    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
                    rustix::process::kill_process(pid, Signal::KILL).unwrap();
                }
            }
        }
    }

    #[test]
    fn what_ended_well_leaves_what_it_started_alone() {
        // An agent that remembers a password, for example.
        let script = "exec 3>&1; sleep 600 >&- 3>&- & echo $!";
        let output = run(sh(script), Group::ItsOwn, Duration::from_mins(1), &Stop::default()).unwrap();
        let pid = String::from_utf8(output.stdout).unwrap();
        assert!(lives(pid.trim()));
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn what_does_not_end_is_killed() {
        for script in ["sleep 600", "echo yes; sleep 600", "exec >&-; sleep 600", "sleep 600 & exit 0"] {
            assert_eq!(ends(script).unwrap_err().kind(), io::ErrorKind::TimedOut, "{script}");
        }
        assert!(run_with_timeout(sh("exec yes"), Duration::from_mins(1), &Stop::default()).is_err());
    }
}
