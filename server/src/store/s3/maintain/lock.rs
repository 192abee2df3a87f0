//! The lock of maintenance in the bucket, which machines share that have no file system in common.
//!
//! Invariant: who holds it stored it without replacing and, where several can win, first; whoever cannot say any more
//! that it holds it stops. On one machine, the lock on its own directory comes first, so that what a run of this machine
//! left behind can be taken over at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::S3Maintenance;
use crate::store::s3::facts::new_mark;
use crate::store::s3::names;
use crate::store::{StoreError, now_ms};

/// How often the holder shows that it lives.
const BEAT_EVERY: Duration = Duration::from_mins(2);
/// After so long without a sign the holder stops by itself.
const SILENT_MAX: Duration = Duration::from_mins(10);
/// And only after so much longer do others take its place: clocks differ.
const EXPIRED_MS: u64 = 20 * 60 * 1000;

/// What the lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// The machine's own directory, told from others by this.
    machine: String,
    /// This run, told from others.
    run: String,
    process: u32,
}

/// The lock, held.
#[derive(Debug)]
pub struct MaintenanceLock {
    this: S3Maintenance,
    run: String,
}

impl S3Maintenance {
    /// Takes the lock for a run of this machine, which holds the lock on its own directory already.
    pub async fn lock(&self, machine: &str) -> Result<MaintenanceLock, StoreError> {
        let holder = Holder { machine: machine.to_owned(), run: new_mark()?, process: std::process::id() };
        let key = self.store.layout.maintenance_lock();
        if let Some(other) = self.lock_holder().await? {
            let alive_ms = now_ms().saturating_sub(self.last_sign_ms(&other).await?);
            if other.machine != machine && alive_ms < EXPIRED_MS {
                return Err(taken(&other, alive_ms));
            }
            self.take_note_back(&key).await?;
        }
        let text = serde_json::to_vec(&holder).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let stored = self.write_down(&key, text).await?;
        match self.lock_holder().await? {
            Some(found) if found == holder => {}
            Some(other) => return Err(taken(&other, 0)),
            None => {
                let cause = format!("the lock of maintenance vanished while it was taken (stored: {stored})");
                return Err(StoreError::Unavailable(cause));
            }
        }
        Ok(MaintenanceLock { this: self.clone(), run: holder.run })
    }

    /// Who holds the lock: the oldest version since it was last given back, for some stores let several win.
    async fn lock_holder(&self) -> Result<Option<Holder>, StoreError> {
        let (bucket, key) = (&self.store.settings.bucket, self.store.layout.maintenance_lock());
        let history = self.store.history(bucket, &key).await?;
        if history.shown().is_none() {
            return Ok(None);
        }
        let given_back_ms = history.markers_ms.iter().max().copied();
        let counts = history.versions.iter().rfind(|version| {
            version.is_latest || given_back_ms.is_none_or(|marker_ms| version.modified_ms > marker_ms)
        });
        let version = counts.and_then(|version| version.id.clone());
        let text = match self.store.read_small(bucket, &key, version, 4096).await {
            Ok(text) => text,
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let holder = serde_json::from_slice(&text);
        holder.map(Some).map_err(|error| StoreError::Unavailable(format!("{key} cannot be used: {error}")))
    }

    /// When a holder last showed that it lives.
    async fn last_sign_ms(&self, holder: &Holder) -> Result<u64, StoreError> {
        let bucket = &self.store.settings.bucket;
        let lock = self.store.head(bucket, &self.store.layout.maintenance_lock()).await?;
        let taken_ms = lock.map_or(0, |head| head.facts.received_ms); // nothing is recorded of it: the store's own time
        let beats =
            names::all(&self.store, bucket, &self.store.layout.maintenance_beats(&holder.run)).await?;
        Ok(beats.iter().map(|beat| beat.modified_ms).max().unwrap_or(0).max(taken_ms))
    }
}

fn taken(other: &Holder, alive_ms: u64) -> StoreError {
    let Holder { machine, process, .. } = other;
    let (ago, left) = (alive_ms / 60_000, EXPIRED_MS.saturating_sub(alive_ms).div_ceil(60_000));
    StoreError::Unavailable(format!(
        "other maintenance is at work in this bucket (process {process} of machine {machine}, last seen {ago} min ago), \
         and only one may be; wait until it has ended, or, if it was cut off, {left} min"
    ))
}

impl MaintenanceLock {
    /// Shows again and again that the holder lives. Returns if it cannot, or lost the lock: then the run has to stop.
    pub async fn keep(&self) -> StoreError {
        let mut shown = Instant::now();
        let mut before = None;
        for beat in 0_u64.. {
            tokio::time::sleep(BEAT_EVERY).await;
            match self.beat(beat).await {
                Ok(true) => {
                    shown = Instant::now();
                    if let Some(key) = before.replace(self.beat_key(beat)) {
                        let _ = self.this.take_note_back(&key).await; // it is only in the way
                    }
                }
                Ok(false) => break,
                Err(error) if shown.elapsed() >= SILENT_MAX => return error,
                Err(error) => {
                    tracing::warn!(%error, "the lock of maintenance could not be renewed; trying again");
                }
            }
        }
        StoreError::Unavailable("another run of maintenance has taken the lock of this bucket".to_owned())
    }

    fn beat_key(&self, beat: u64) -> String {
        format!("{}{beat}", self.this.store.layout.maintenance_beats(&self.run))
    }

    /// Whether the lock is still held.
    async fn beat(&self, beat: u64) -> Result<bool, StoreError> {
        if self.this.lock_holder().await?.is_none_or(|holder| holder.run != self.run) {
            return Ok(false);
        }
        self.this.store.mark(&self.beat_key(beat)).await?;
        Ok(true)
    }

    /// Gives it back. What fails is no harm: it expires, and this machine need not wait for that.
    pub async fn give_back(self) {
        let key = self.this.store.layout.maintenance_lock();
        let held = self.this.lock_holder().await;
        if !matches!(held, Ok(Some(holder)) if holder.run == self.run) {
            return;
        }
        if let Err(error) = self.this.take_note_back(&key).await {
            tracing::warn!(%error, "the lock of maintenance could not be given back; it expires by itself");
        }
        let beats = self.this.store.layout.maintenance_beats(&self.run);
        if let Ok(beats) = names::all(&self.this.store, &self.this.store.settings.bucket, &beats).await {
            for beat in beats {
                let _ = self.this.take_note_back(&beat.key).await; // it is only in the way
            }
        }
    }
}
