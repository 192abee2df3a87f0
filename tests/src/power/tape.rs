//! What a disk was asked to do, in order.
//!
//! Invariant: an entry stands on it before the disk answers, so whoever has learnt of an answer reads a position behind it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A moment in the life of a disk: how much it had been asked to do by then.
pub type Position = usize;

/// One thing that a disk was asked to do.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// To write this here.
    Write { offset: usize, bytes: Arc<[u8]> },
    /// To bring all that was written before to where no power cut reaches it.
    Flush,
}

/// All that a disk was asked to do. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tape {
    entries: Arc<Mutex<Vec<(Duration, Entry)>>>,
    begin: Instant,
}

impl Tape {
    pub(super) fn new() -> Self {
        Self { entries: Arc::default(), begin: Instant::now() }
    }

    /// Where it ends now.
    #[must_use]
    pub fn position(&self) -> Position {
        self.entries().len()
    }

    /// When the disk had been asked for so much, counted from the tape's beginning.
    #[must_use]
    pub fn time(&self, position: Position) -> Duration {
        self.entries().get(..position).and_then(<[_]>::last).map_or(Duration::ZERO, |(time, _)| *time)
    }

    /// The positions between these two just behind a flush.
    #[must_use]
    pub fn flushes(&self, from: Position, to: Position) -> Vec<Position> {
        let entries = self.entries();
        let is_behind_flush = |&position: &Position| {
            matches!(position.checked_sub(1).and_then(|last| entries.get(last)), Some((_, Entry::Flush)))
        };
        (from..=to).filter(is_behind_flush).collect()
    }

    pub(super) fn record(&self, entry: Entry) {
        self.entries().push((self.begin.elapsed(), entry));
    }

    /// What it was asked to do between two positions.
    pub(super) fn between(&self, from: Position, to: Position) -> Vec<Entry> {
        let entries = self.entries();
        entries.get(from..to).unwrap_or_default().iter().map(|(_, entry)| entry.clone()).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<(Duration, Entry)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
