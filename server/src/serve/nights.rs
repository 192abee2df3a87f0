//! The process that starts `pawl maintain run` every night, where the configuration asks for it.
//!
//! Invariant: it is started before this process is confined and has connections. It shares nothing with it but a pipe,
//! whose end tells it to end.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cli::Place;

/// How long a night may take to end: its restic has 20 seconds to remove its lock.
const END_WAIT_MAX: Duration = Duration::from_secs(30);

/// A process that was started.
#[derive(Debug)]
pub(super) struct Nights {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Nights {
    /// Starts it.
    pub(super) fn start(place: &Place) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("pawl").args(["maintain", "nights"]).args(place.args());
        command.stdin(Stdio::piped()).process_group(0); // Ctrl-C is for the server, which then ends it
        let mut child = command.spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Waits for it, so that its end is told. Needs a runtime.
    pub(super) fn watch(self) -> Watched {
        let Self { mut child, pipe } = self;
        let is_ending = Arc::new(AtomicBool::new(false));
        let is_meant = Arc::clone(&is_ending);
        let waiting = tokio::task::spawn_blocking(move || {
            let ended = child.wait();
            if !is_meant.load(Ordering::Relaxed) {
                let status = ended.as_ref().map(ToString::to_string).unwrap_or_default();
                tracing::error!(status, "the process that runs the nights has ended; restart the server");
            }
            ended
        });
        Watched { pipe, waiting, is_ending }
    }
}

/// A process that is waited for.
#[derive(Debug)]
pub(super) struct Watched {
    pipe: Option<ChildStdin>,
    waiting: JoinHandle<io::Result<ExitStatus>>,
    is_ending: Arc<AtomicBool>,
}

impl Watched {
    /// Has it end, with the night that may be going on.
    pub(super) async fn end(mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        drop(self.pipe.take());
        if tokio::time::timeout(END_WAIT_MAX, self.waiting).await.is_err() {
            tracing::warn!("a night is still ending; the next one goes on with it");
        }
    }
}
