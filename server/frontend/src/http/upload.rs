//! A request's body as an upload.
//!
//! Invariant: a body from which too little arrives is given up, and only the client's time counts, not the time
//! that the disk takes.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, EXPECT};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Version};
use pawl_store::body::{Cut, Source, Upload};
use tokio::time::{Instant, timeout};

use super::deadline::REFUSAL;

/// Slowest client that is waited for, on average, in bytes a second. Slower than the slowest modem.
const RATE_MIN: u64 = 1 << 10;

/// Bytes that are read and forgotten after a refusal. A client of HTTP/1.1 that still sends when the connection is closed
/// sees a broken connection instead of the answer, and tries again for 15 minutes; restic stops to send when it reads the
/// answer.
const DRAIN_BYTES_MAX: u64 = 64 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes that are read so that a refusal reaches a client without a credential, within [`REFUSAL`].
const DRAIN_BYTES_MAX_UNKNOWN: u64 = 64 << 10;

/// The body of a request, given up when nothing arrives for `stall`.
pub(super) fn upload(headers: &HeaderMap, body: Incoming, stall: Duration) -> Upload {
    let declared = match headers.get(CONTENT_LENGTH) {
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()),
        None => body.is_end_stream().then_some(0),
    };
    Upload::new(source(body, stall), declared)
}

fn source(body: Incoming, stall: Duration) -> Source {
    let patience = Timeouts { waited: Duration::ZERO, received_bytes: 0, stall };
    Box::pin(stream::unfold(Some((body, patience)), |state| async move {
        let (mut body, mut patience) = state?;
        let started = Instant::now();
        match timeout(patience.left(), next_piece(&mut body)).await {
            Ok(Some(Ok(piece))) => {
                patience.note(started.elapsed(), piece.len());
                Some((Ok(piece), Some((body, patience))))
            }
            Ok(Some(Err(error))) => Some((Err(Cut::Broken(error.to_string())), None)),
            Ok(None) => None,
            Err(_) => Some((Err(Cut::Stalled), None)),
        }
    }))
}

async fn next_piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        match body.frame().await? {
            Ok(frame) => {
                if let Ok(piece) = frame.into_data() {
                    return Some(Ok(piece));
                } // else trailers, which mean nothing here
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// How long the client is still waited for.
struct Timeouts {
    waited: Duration,
    received_bytes: u64,
    stall: Duration,
}

impl Timeouts {
    fn left(&self) -> Duration {
        let earned = Duration::from_secs(self.received_bytes / RATE_MIN);
        self.stall.saturating_add(earned).saturating_sub(self.waited).min(self.stall)
    }

    fn note(&mut self, waited: Duration, bytes: usize) {
        self.waited = self.waited.saturating_add(waited);
        self.received_bytes = self.received_bytes.saturating_add(bytes as u64);
    }
}

/// How much is still read of a body that nobody wants, so that the answer arrives. A client with a credential is answered
/// first, and hears the answer while it still sends; the connection of any other one ends with the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    bytes_max: u64,
    time_max: Duration,
}

impl Drain {
    /// Over HTTP/2 an answer arrives in any case: nothing of somebody without a credential is read there.
    pub(super) fn of(head: &Parts, upload: &Upload, known: bool) -> Self {
        let waits = head.headers.contains_key(EXPECT) && upload.received_bytes() == 0;
        let (bytes_max, time_max) = match (known, head.version) {
            _ if waits => (0, Duration::ZERO), // the client has not begun to send, and now will not
            (true, _) => (DRAIN_BYTES_MAX, DRAIN_TIME_MAX),
            (false, Version::HTTP_2) => (0, Duration::ZERO),
            (false, _) => (DRAIN_BYTES_MAX_UNKNOWN, REFUSAL),
        };
        Self { bytes_max, time_max }
    }

    /// Reads so much.
    pub(super) async fn read(self, upload: &mut Upload) {
        if !self.time_max.is_zero() {
            let _ = timeout(self.time_max, upload.drain(self.bytes_max)).await; // late or not, it is over
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_is_given_up_and_a_slow_line_is_not() {
        let stall = Duration::from_mins(1);
        let mut drip = Timeouts { waited: Duration::ZERO, received_bytes: 0, stall };
        let mut slow = Timeouts { waited: Duration::ZERO, received_bytes: 0, stall };
        for _ in 0..100 {
            drip.note(Duration::from_secs(30), 1);
            slow.note(Duration::from_secs(30), 64 << 10);
        }
        assert_eq!(drip.left(), Duration::ZERO);
        assert_eq!(slow.left(), stall);
    }
}
