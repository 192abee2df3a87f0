//! When work has to end: at a time of the day, or because somebody says so.
//!
//! Invariant: once it is over, it stays over.

use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The clock is looked at this often at least: it may be set while work goes on, and the machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The time that was set has come.
    Until,
    /// SIGTERM, or Ctrl-C.
    Told,
}

/// The end of some work; by default there is none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    told: Option<watch::Receiver<bool>>,
    until: Option<Timestamp>,
}

impl Stop {
    /// Over when SIGTERM or SIGINT arrives, which from now on do not end the process. Needs a runtime.
    pub(super) fn when_told() -> std::io::Result<Self> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tell.send_replace(true);
            tell.closed().await; // whoever still asks is answered
        });
        Ok(Self { told: Some(told), until: None })
    }

    /// Over when this says so.
    #[cfg(test)]
    pub(super) const fn when(told: watch::Receiver<bool>) -> Self {
        Self { told: Some(told), until: None }
    }

    /// Over at this moment as well.
    pub(super) fn and_at(&self, until: Option<Timestamp>) -> Self {
        Self { told: self.told.clone(), until }
    }

    /// Whether it is over, and why.
    pub(super) fn why(&self) -> Option<Why> {
        if self.told.as_ref().is_some_and(|told| *told.borrow()) {
            return Some(Why::Told);
        }
        self.until.filter(|until| Timestamp::now() >= *until).map(|_| Why::Until)
    }

    /// The time that was set, in Unix milliseconds.
    pub(super) fn until_ms(&self) -> Option<u64> {
        self.until.map(|until| u64::try_from(until.as_millisecond()).unwrap_or(0))
    }

    /// Whether somebody said so.
    pub(super) fn told_already(&self) -> bool {
        self.why() == Some(Why::Told)
    }

    /// Whether it can ever be over.
    pub(super) const fn is_possible(&self) -> bool {
        self.told.is_some() || self.until.is_some()
    }

    /// Waits until it is over.
    pub(super) async fn over(&self) {
        while self.why().is_none() {
            let left = self.until.map(|until| until.duration_since(Timestamp::now()));
            let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or(LOOK_EVERY);
            tokio::select! {
                () = self.told() => {}
                () = tokio::time::sleep(left.min(LOOK_EVERY)) => {}
            }
        }
    }

    /// Waits until somebody says so, whatever the time.
    pub(super) async fn told(&self) {
        let Some(mut told) = self.told.clone() else { return std::future::pending().await };
        if told.wait_for(|told| *told).await.is_err() {
            std::future::pending::<()>().await; // nobody is left who could
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[tokio::test]
    async fn it_is_over_at_the_time_that_was_set_and_never_without_one() {
        let now = Timestamp::now();
        assert_eq!(Stop::default().why(), None);
        let past = Stop::default().and_at(Some(now));
        assert_eq!(past.why(), Some(Why::Until));
        past.over().await;
        let run_with_timeout = Stop::default().and_at(Some(now + SignedDuration::from_millis(200)));
        run_with_timeout.over().await;
        assert!(Timestamp::now() >= now + SignedDuration::from_millis(200));
    }
}
