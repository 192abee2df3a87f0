//! Whose turn it is to take the lock of the bucket, as some stores let several win a name, and in any order.
//!
//! Invariant: no two machines have their turn at once. Each says first that it wants it, and has it when it looks
//! afterwards and sees nobody else: of two, whoever looks last sees the other.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::S3Maintenance;
use super::lease_timing::LeaseTiming;
use crate::StoreError;
use crate::s3::names::{self, Object};

/// For so long a machine tries to get its turn. Others have theirs for some requests only.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks of whoever comes before all that wait.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// And at the most between two tries of the others: by chance, so that they do not come together again and again.
const STEP_BACK_MAX: Duration = Duration::from_secs(2);

/// A turn that somebody has, or waits for.
pub(super) struct LockTicket {
    key: String,
    began: Instant,
    /// Much shorter than others wait for it, so that what was on its way as it ended has arrived by then.
    lasts: Duration,
}

/// Who else was seen.
enum Seen {
    Nobody,
    /// All of them come after this machine.
    OnlyLater,
    /// Of those that wait, one has to stay, or all would step back for each other.
    Earlier,
}

impl S3Maintenance {
    /// Waits for this machine's turn. Of one machine only one run may ask.
    pub(super) async fn turn(&self, machine: &str, timing: LeaseTiming) -> Result<LockTicket, StoreError> {
        let key =
            format!("{}{}", self.store.layout.maintenance_turns(), hex::encode(Sha256::digest(machine)));
        // What a run of this machine left behind is older than what this one wants. Looked for in the list, as all turns are:
        // a store may refuse to say of a single name that it is not there.
        if self.turns().await?.iter().any(|left| left.key == key) {
            self.take_note_back(&key).await?;
        }
        let asked = Instant::now();
        loop {
            let turn = self.want_turn(&key, timing).await?;
            match self.wait_for(&turn, asked, timing).await {
                Ok(Seen::Nobody) => return Ok(turn),
                Ok(_) if asked.elapsed() < PATIENCE => turn.end(self).await,
                Ok(_) => {
                    turn.end(self).await;
                    return Err(in_the_way(timing));
                }
                Err(error) => {
                    turn.end(self).await;
                    return Err(error);
                }
            }
            tokio::time::sleep(up_to(STEP_BACK_MAX)?).await;
        }
    }

    async fn want_turn(&self, key: &str, timing: LeaseTiming) -> Result<LockTicket, StoreError> {
        let turn = LockTicket { key: key.to_owned(), began: Instant::now(), lasts: timing.turn_expired / 2 };
        match self.store.mark(key).await {
            Ok(()) => Ok(turn),
            Err(error) => {
                turn.end(self).await; // it may be there all the same
                Err(error)
            }
        }
    }

    /// Looks for others until there is none, or this machine has to step back.
    async fn wait_for(
        &self,
        turn: &LockTicket,
        asked: Instant,
        timing: LeaseTiming,
    ) -> Result<Seen, StoreError> {
        loop {
            let seen = self.others(turn, timing).await?;
            if !matches!(seen, Seen::OnlyLater) || asked.elapsed() >= PATIENCE {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn turns(&self) -> Result<Vec<Object>, StoreError> {
        names::all(&self.store, &self.store.settings.bucket, &self.store.layout.maintenance_turns()).await
    }

    async fn others(&self, turn: &LockTicket, timing: LeaseTiming) -> Result<Seen, StoreError> {
        let all = self.turns().await?;
        let own_ms = all.iter().find(|object| object.key == turn.key).map(|own| own.modified_ms);
        let own_ms = own_ms.ok_or_else(vanished)?;
        // Of a machine that was cut off. By the store's clock alone, as it is with the lock itself.
        let has_expired = |other: &Object| {
            u128::from(own_ms.saturating_sub(other.modified_ms)) > timing.turn_expired.as_millis()
        };
        let first = all
            .iter()
            .filter(|object| object.key != turn.key && !has_expired(object))
            .map(|other| &other.key)
            .min();
        Ok(match first {
            None => Seen::Nobody,
            Some(first) if turn.key < *first => Seen::OnlyLater,
            Some(_) => Seen::Earlier,
        })
    }
}

impl LockTicket {
    /// Fails if somebody may have looked and not seen it: it took too long, so that it was taken for one that was cut off, or a
    /// deletion that was on its way since an earlier run has arrived.
    pub(super) async fn must_have_held(&self, this: &S3Maintenance) -> Result<(), StoreError> {
        self.must_last()?;
        let is_there = this.turns().await?.iter().any(|turn| turn.key == self.key);
        if is_there { Ok(()) } else { Err(vanished()) }
    }

    /// Fails if it may have been taken for one that was cut off.
    pub(super) fn must_last(&self) -> Result<(), StoreError> {
        if self.began.elapsed() < self.lasts {
            return Ok(());
        }
        let cause = "the store took too long to give the lock of maintenance; try again";
        Err(StoreError::Unavailable(cause.to_owned()))
    }

    /// What fails is no harm: others wait until it has expired, and this machine need not.
    pub(super) async fn end(self, this: &S3Maintenance) {
        if let Err(error) = this.take_note_back(&self.key).await {
            tracing::warn!(%error, "a turn of maintenance could not be ended; it expires by itself");
        }
    }
}

fn in_the_way(timing: LeaseTiming) -> StoreError {
    StoreError::Unavailable(format!(
        "other maintenance is at work in this bucket, or was cut off as it began, and only one may be; try again, at the \
         latest in {} min",
        timing.turn_expired.as_secs().div_ceil(60)
    ))
}

fn vanished() -> StoreError {
    let cause = "another run of maintenance began in this bucket at this moment; try again";
    StoreError::Unavailable(cause.to_owned())
}

fn up_to(max: Duration) -> Result<Duration, StoreError> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(max.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)))
}
