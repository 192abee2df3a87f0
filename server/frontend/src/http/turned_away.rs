//! Connections that end before there is a request, of which no other line tells.
//!
//! Invariant: of each cause there is a line at once, and then one a minute at most, with a count. Nobody fills the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::peer::Peer;

const BETWEEN_LINES: Duration = Duration::from_mins(1);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    PlainHttp,
    TooMany,
    Handshake,
    NoHttp,
    NoRequest,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlainHttp => {
                "clients sent plain HTTP to a port with TLS; their URL must begin with https://"
            }
            Self::TooMany => {
                "an address had too many connections without a credential (limits.connections_per_address)"
            }
            Self::Handshake => "TLS handshakes failed",
            Self::NoHttp => "clients sent what is no HTTP request; to a port without TLS their URL must begin with http://",
            Self::NoRequest => "no request came in time, or others needed the place (limits.header_seconds)",
        })
    }
}

#[derive(Debug, Default)]
struct Counted {
    logged: Option<Instant>,
    unlogged: u64,
    last: String,
}

/// Counts refused connections by cause, so that the log has one line a minute for each.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(Mutex<BTreeMap<Cause, Counted>>);

impl TurnedAway {
    /// Counts one, and logs it unless the last line was just now.
    pub(super) fn note(&self, cause: Cause, peer: Peer, detail: &str) {
        tracing::debug!(%peer, detail, "closed before a request: {cause}");
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = counts.entry(cause).or_default();
        counted.unlogged = counted.unlogged.saturating_add(1);
        counted.last = if detail.is_empty() { peer.to_string() } else { format!("{peer}: {detail}") };
        counted.log(cause);
    }

    /// Logs once a minute what was counted meanwhile.
    pub(super) async fn log_each_minute(&self) {
        loop {
            tokio::time::sleep(BETWEEN_LINES).await;
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            counts.iter_mut().for_each(|(cause, counted)| {
                counted.log(*cause);
            });
        }
    }
}

impl Counted {
    /// Writes the line that is due. Returns how many connections it tells of.
    fn log(&mut self, cause: Cause) -> u64 {
        if self.unlogged == 0 || self.logged.is_some_and(|logged| logged.elapsed() < BETWEEN_LINES) {
            return 0;
        }
        self.logged = Some(Instant::now());
        let connections = std::mem::take(&mut self.unlogged);
        tracing::info!(connections, last = self.last, "closed before a request: {cause}");
        connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_logged_at_once_and_the_others_with_their_number() {
        let mut counted = Counted::default();
        let mut lines = Vec::new();
        for _ in 0..100 {
            counted.unlogged += 1;
            lines.push(counted.log(Cause::Handshake));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        lines.retain(|connections| *connections > 0);
        assert_eq!(lines, [1, 60]);
        tokio::time::sleep(BETWEEN_LINES).await;
        assert_eq!((counted.log(Cause::Handshake), counted.log(Cause::Handshake)), (39, 0));
    }
}
