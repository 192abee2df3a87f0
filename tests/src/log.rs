//! What a server has printed so far.
//!
//! Invariant: bytes are kept as they came, so that a test can look for raw control characters.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::wait;

/// One stream of a server's output, across restarts.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects the stream until it ends.
    pub(crate) fn collect(&self, mut stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.0.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                log.lock().unwrap().extend(buffer.iter().take(read));
            }
        })
    }

    /// Everything so far.
    ///
    /// # Panics
    ///
    /// When the collecting thread panicked.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    /// Everything so far as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits for a whole line that contains all of these, and returns it.
    #[must_use]
    pub fn wait_for_line(&self, parts: &[&str]) -> String {
        let what = format!("the log has a line with {parts:?}");
        wait::until(&what, || {
            let text = self.text();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
        })
    }
}
