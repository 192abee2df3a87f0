//! The lock of maintenance in the bucket, which machines share that have no file system in common.
//!
//! Invariant: who holds it stored it in its turn, without replacing; whoever cannot say any more that it holds it stops.
//! Whether a holder lives is judged by the store's clock alone. On one machine, the lock on its own directory comes first,
//! so that what a run of this machine left behind can be taken over at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::S3Maintenance;
use super::lease_timing::LeaseTiming;
use super::lock_ticket::LockTicket;
use crate::StoreError;
use crate::s3::facts::new_mark;
use crate::s3::failure::{Failure, failure, store_error};
use crate::s3::names;

/// What the lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// The machine's own directory, told from others by this.
    machine: String,
    /// This run, told from others.
    run: String,
    process: u32,
}

/// A lock that was found.
pub(super) struct Held {
    holder: Holder,
    /// Of the version that is shown, so that no other is removed for it.
    pub(super) etag: Option<String>,
}

/// The lock, held.
#[derive(Debug)]
pub struct MaintenanceLock {
    this: S3Maintenance,
    run: String,
    timing: LeaseTiming,
    /// When it was last shown that the holder lives.
    shown: Mutex<Instant>,
}

impl S3Maintenance {
    /// Takes the lock for a run of this machine, which holds the lock on its own directory already.
    pub async fn lock(&self, machine: &str) -> Result<MaintenanceLock, StoreError> {
        self.lock_with(machine, LeaseTiming::USUAL).await
    }

    pub(super) async fn lock_with(
        &self,
        machine: &str,
        timing: LeaseTiming,
    ) -> Result<MaintenanceLock, StoreError> {
        let turn = self.turn(machine, timing).await?;
        let lock = self.take_lock(machine, timing, &turn).await;
        turn.end(self).await;
        lock
    }

    /// As long as the turn lasts nobody else comes so far: a lock that is gone stays gone, and what is stored is alone.
    async fn take_lock(
        &self,
        machine: &str,
        timing: LeaseTiming,
        turn: &LockTicket,
    ) -> Result<MaintenanceLock, StoreError> {
        let holder = Holder { machine: machine.to_owned(), run: new_mark()?, process: std::process::id() };
        if let Some(Held { holder: other, etag }) = self.lock_holder().await? {
            if other.machine != machine {
                let silent_ms = self.silent_ms(&other, &holder).await?;
                if u128::from(silent_ms) < timing.expired.as_millis() {
                    return Err(taken(&other, silent_ms, timing));
                }
            }
            turn.must_last()?;
            self.end_lock(etag).await?;
        }
        let (key, began) = (self.store.layout.maintenance_lock(), Instant::now());
        let text = serde_json::to_vec(&holder).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        turn.must_last()?;
        let stored = self.write_down(&key, text).await?;
        turn.must_have_held(self).await?;
        match self.lock_holder().await? {
            Some(found) if found.holder == holder => {}
            Some(other) => return Err(taken(&other.holder, 0, timing)),
            None => {
                let cause = format!("the lock of maintenance vanished while it was taken (stored: {stored})");
                return Err(StoreError::Unavailable(cause));
            }
        }
        Ok(MaintenanceLock { this: self.clone(), run: holder.run, timing, shown: Mutex::new(began) })
    }

    /// Who holds the lock: the oldest version since it was last given back, should the store have let several win.
    pub(super) async fn lock_holder(&self) -> Result<Option<Held>, StoreError> {
        let (bucket, key) = (&self.store.settings.bucket, self.store.layout.maintenance_lock());
        let history = self.store.history(bucket, &key).await?;
        let Some(shown) = history.shown() else { return Ok(None) };
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
        // What cannot be read is a lock all the same, which expires as any other.
        let holder = serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, "{key} cannot be understood");
            Holder { machine: "unknown".to_owned(), run: "unknown".to_owned(), process: 0 }
        });
        Ok(Some(Held { holder, etag: shown.etag.clone() }))
    }

    /// Takes a lock back, provided that it is still the one that was looked at.
    pub(super) async fn end_lock(&self, etag: Option<String>) -> Result<(), StoreError> {
        let (bucket, key) = (&self.store.settings.bucket, self.store.layout.maintenance_lock());
        let delete = self.store.clients.quick.delete_object().bucket(bucket).key(&key);
        let mut deleted = delete.clone().set_if_match(etag.clone()).send().await;
        let condition_fails = match deleted.as_ref().map_err(failure) {
            Err(Failure::Unsupported) => true,
            // OpenStack Swift refuses a condition that holds.
            Err(Failure::Taken) => self.lock_holder().await?.is_some_and(|held| held.etag == etag),
            _ => false,
        };
        if condition_fails {
            deleted = delete.send().await;
        }
        match deleted {
            Ok(_) => Ok(()),
            Err(error) => match failure(&error) {
                Failure::Absent => Ok(()),
                // Its holder may have given it back at this moment.
                Failure::Taken if self.lock_holder().await?.is_none() => Ok(()),
                Failure::Taken | Failure::Conflict => Err(StoreError::Unavailable(
                    "another run of maintenance took the lock of this bucket at this moment; wait until it has ended"
                        .to_owned(),
                )),
                _ => Err(store_error("cannot take back the lock of maintenance", &error)),
            },
        }
    }

    /// For how long a holder has given no sign of life. By the store's clock alone: machines' clocks differ, and one that
    /// is wrong by half an hour would take the place of a holder that lives.
    async fn silent_ms(&self, other: &Holder, asking: &Holder) -> Result<u64, StoreError> {
        let key = format!("{}asked", self.store.layout.maintenance_beats(&asking.run));
        self.store.mark(&key).await?;
        // Nothing is recorded of it, so that the time is the store's own.
        let asked = self.store.head(&self.store.settings.bucket, &key).await?;
        let now_ms = asked.map(|head| head.facts.received_ms).ok_or_else(|| {
            StoreError::Unavailable(
                "the store does not say what time it is: a mark of it vanished".to_owned(),
            )
        })?;
        let silent_ms = now_ms.saturating_sub(self.last_sign_ms(other).await?);
        let _ = self.take_note_back(&key).await; // it is only in the way
        Ok(silent_ms)
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

fn taken(other: &Holder, silent_ms: u64, timing: LeaseTiming) -> StoreError {
    let Holder { machine, process, .. } = other;
    let left = timing.expired.saturating_sub(Duration::from_millis(silent_ms));
    let (ago, left) = (silent_ms / 60_000, left.as_secs().div_ceil(60));
    StoreError::Unavailable(format!(
        "other maintenance is at work in this bucket (process {process} of machine {machine}, last seen {ago} min ago), \
         and only one may be; wait until it has ended, or, if it was cut off, {left} min"
    ))
}

impl MaintenanceLock {
    /// Shows again and again that the holder lives. Returns if it cannot, or lost the lock: then the run has to stop.
    pub async fn keep(&self) -> StoreError {
        let mut before = None;
        for beat in 0_u64.. {
            tokio::time::sleep(self.timing.beat_every).await;
            match self.beat(beat).await {
                Ok(true) => {
                    if let Some(key) = before.replace(self.beat_key(beat)) {
                        let _ = self.this.take_note_back(&key).await; // it is only in the way
                    }
                }
                Ok(false) => break,
                Err(error) if self.is_silent() => return error,
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
        if self.this.lock_holder().await?.is_none_or(|held| held.holder.run != self.run) {
            return Ok(false);
        }
        let began = Instant::now();
        self.this.store.mark(&self.beat_key(beat)).await?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = began;
        Ok(true)
    }

    /// Whether it has given no sign for so long that others may soon take its place.
    fn is_silent(&self) -> bool {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= self.timing.silent_max
    }

    /// Gives it back. What fails is no harm: it expires, and this machine need not wait for that.
    pub async fn give_back(self) {
        if self.is_silent() {
            return; // some stores would remove the lock of whoever takes its place at this moment
        }
        let Ok(Some(Held { holder, etag })) = self.this.lock_holder().await else { return };
        if holder.run != self.run {
            return;
        }
        if let Err(error) = self.this.end_lock(etag).await {
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
