//! Nights without systemd: a process that `pawl serve` starts, and that starts `pawl maintain run` once a day.
//!
//! The configuration is read again whenever it has changed, so that no restart is needed for another time.
//!
//! Invariant: it ends when the server has ended, and nothing that the server does besides ends it. It does no work of
//! maintenance itself: each night is a process of its own.

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use jiff::Zoned;
use jiff::civil::{Date, Time};
use pawl_config::Place;
use pawl_config::files::{self, Stamp};
use pawl_config::hint;
use pawl_config::log;
use pawl_config::print::Outcome;
use pawl_store::now_ms;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;

use super::run::last_began_ms;

/// How often the clock is read: somebody may set it, and the machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long after a run that could not begin the next one is tried. `pawl maintain serve`, for one, may be in its way.
const TRY_AGAIN_AFTER: Duration = Duration::from_mins(30);

/// What this process waits for.
enum Event {
    ServerEnded,
    RunEnded(io::Result<Output>),
}

/// What came of a night.
#[derive(PartialEq, Eq)]
enum Night {
    Ended,
    CouldNotBegin,
    /// The server ended meanwhile.
    Cut,
}

/// Runs the command.
pub(super) fn run(place: &Place, server: u32) -> Outcome {
    let stamp = stamp(place);
    let config = place.configuration()?;
    log::start(config.log);
    let mut timetable =
        Timetable { place, stamp, at: config.maintenance.run.at(), since_ms: now_ms(), is_changed: false };
    if timetable.at.is_some() {
        tracing::info!("{}", timetable.text());
    }
    let (sender, events) = mpsc::channel();
    let server = process(server)?;
    let of_server = sender.clone();
    std::thread::spawn(move || {
        // It can be read once the process has ended.
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(&server, PollFlags::IN)], None) {}
        let _ = of_server.send(Event::ServerEnded);
    });
    let mut not_before = Instant::now();
    loop {
        timetable.look();
        if Instant::now() >= not_before && timetable.is_due(&config.data)? {
            match night(place, &sender, &events)? {
                Night::Ended => {}
                Night::CouldNotBegin => not_before = Instant::now() + TRY_AGAIN_AFTER,
                Night::Cut => return Ok(()),
            }
        }
        match events.recv_timeout(LOOK_EVERY) {
            Ok(Event::ServerEnded) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(Event::RunEnded(_)) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// When nights begin, as the configuration says.
struct Timetable<'a> {
    place: &'a Place,
    /// The configuration file as it was when it was read.
    stamp: Option<Stamp>,
    at: Option<Time>,
    /// From when on a night counts as missed, where none was begun yet.
    since_ms: u64,
    /// Whether the time was changed since, and nights that it would have begun before are not made up for.
    is_changed: bool,
}

impl Timetable<'_> {
    /// Reads the configuration again if it has changed.
    fn look(&mut self) {
        let stamp = stamp(self.place);
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        match self.place.configuration() {
            Ok(config) => {
                let at = config.maintenance.run.at();
                if at != self.at {
                    (self.at, self.since_ms, self.is_changed) = (at, now_ms(), true);
                }
                tracing::info!("the configuration has changed: {}", self.text());
            }
            Err(error) => {
                let text = self.text();
                tracing::error!(%error, "the configuration has changed, and cannot be read; before that: {text}");
            }
        }
    }

    fn text(&self) -> String {
        self.at.map_or_else(
            || "no night begins, because maintenance.run.at is not set".to_owned(),
            |at| format!("`pawl maintain run` begins every night at {}", at.strftime("%H:%M")),
        )
    }

    /// Whether a night is due.
    fn is_due(&self, data: &Path) -> Result<bool, Box<dyn Error>> {
        let Some(at) = self.at else { return Ok(false) };
        let last_ms = last_began_ms(data)?.filter(|last_ms| *last_ms <= now_ms());
        let since_ms = match last_ms {
            Some(last_ms) if self.is_changed => last_ms.max(self.since_ms),
            Some(last_ms) => last_ms,
            None => self.since_ms,
        };
        Ok(is_due(at, since_ms, &Zoned::now())?)
    }
}

/// The configuration file as it is now.
fn stamp(place: &Place) -> Option<Stamp> {
    files::stamp(&place.file()?).ok().flatten()
}

/// Whether the clock has shown `at` since then. A machine that was off makes up for one night.
fn is_due(at: Time, since_ms: u64, now: &Zoned) -> Result<bool, jiff::Error> {
    let shown_on = |date: Date| date.to_datetime(at).to_zoned(now.time_zone().clone());
    let today = shown_on(now.date())?;
    let shown = if today <= *now { today } else { shown_on(now.date().yesterday()?)? };
    Ok(u64::try_from(shown.timestamp().as_millisecond()).is_ok_and(|shown_ms| shown_ms > since_ms))
}

/// Starts a run and waits until it has ended. If the server ends first, the run is told to end as well.
fn night(place: &Place, sender: &Sender<Event>, events: &Receiver<Event>) -> io::Result<Night> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["maintain", "run", "--json"]).args(place.args());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let process = process(child.id())?;
    let of_run = sender.clone();
    std::thread::spawn(move || of_run.send(Event::RunEnded(child.wait_with_output())));
    let mut is_cut = false;
    loop {
        match events.recv() {
            Ok(Event::ServerEnded) => {
                is_cut = true;
                pidfd_send_signal(&process, Signal::TERM)?;
            }
            Ok(Event::RunEnded(output)) => {
                let night = tell(&output?);
                return Ok(if is_cut { Night::Cut } else { night });
            }
            Err(mpsc::RecvError) => return Ok(Night::Cut),
        }
    }
}

/// A process, to be waited for and to be told something.
fn process(number: u32) -> io::Result<OwnedFd> {
    let number = Pid::from_raw(number.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(number, PidfdFlags::empty())?)
}

/// What a run says at its end, as far as it is told here.
#[derive(Deserialize)]
struct Summary {
    repositories: usize,
    well: usize,
    notices: usize,
    failed: usize,
    left: u64,
    attention: Option<usize>,
    seconds: u64,
    error: Option<String>,
}

/// Writes into the log what came of a run.
fn tell(output: &Output) -> Night {
    let Ok(summary) = serde_json::from_slice::<Summary>(&output.stdout) else {
        tracing::error!(status = %output.status, "`pawl maintain run` ended without a word; its own message stands above");
        return Night::CouldNotBegin;
    };
    let Summary { repositories, well, notices, failed, left, attention, seconds, error } = summary;
    match error {
        Some(error) if repositories == 0 => {
            let minutes = TRY_AGAIN_AFTER.as_secs() / 60;
            tracing::warn!(
                error,
                "`pawl maintain run` did nothing; the next attempt is in {minutes} minutes"
            );
            return Night::CouldNotBegin;
        }
        Some(error) => tracing::error!(error, repositories, failed, "the night ended with an error"),
        None if output.status.success() => tracing::info!(repositories, seconds, "the night ended well"),
        None => tracing::warn!(
            repositories,
            well,
            notices,
            failed,
            left,
            attention,
            seconds,
            "the night ended; `{}` says what needs attention",
            hint::pawl("maintain report")
        ),
    }
    Night::Ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_due_once_the_clock_has_shown_its_time_since_the_last() {
        let at = "03:30".parse().unwrap();
        let now: Zoned = "2026-11-30T04:00:00+01:00[+01:00]".parse().unwrap();
        let is_due = |since: &str, now: &Zoned| {
            let since: jiff::Timestamp = since.parse().unwrap();
            is_due(at, since.as_millisecond().try_into().unwrap(), now).unwrap()
        };
        assert!(is_due("2026-11-30T02:29:59Z", &now)); // 03:29:59 here
        assert!(!is_due("2026-11-30T02:30:00Z", &now));
        assert!(is_due("2026-11-01T00:00:00Z", &now)); // it was off for weeks
        let before: Zoned = "2026-11-30T03:00:00+01:00[+01:00]".parse().unwrap();
        assert!(!is_due("2026-11-29T02:30:01Z", &before));
        assert!(is_due("2026-11-29T02:29:00Z", &before)); // yesterday's
    }
}
