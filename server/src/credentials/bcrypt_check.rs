//! bcrypt, which is slow on purpose, without letting anybody burn the processor with it.
//!
//! Invariant: one verification runs at a time, few wait, and an address gets a steady trickle of them; a password
//! that was right is remembered under a hash keyed with a secret of this process.

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::AuthenticationError;
use super::throttle::Throttle;

/// Verifications at a time: one, so that half of a small machine stays free for uploads.
const RUNNING_MAX: usize = 1;
/// Requests that wait for a verification; more are told to come back.
const WAITING_MAX: usize = 32;
/// Right passwords remembered. Past this all are forgotten, and each costs one verification again.
const REMEMBERED_MAX: usize = 4096;
/// Verifications that one address can cause at once, and how many more each second.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
const PER_SECOND: NonZeroU32 = NonZeroU32::MIN;
/// How often a request waits for its turn before it is told to come back.
const TURNS_MAX: u32 = 10;

#[derive(Debug)]
pub(super) struct BcryptCheck {
    running: Semaphore,
    waiting: Semaphore,
    turns: Throttle,
    remembered: Mutex<HashSet<[u8; 32]>>,
    key: [u8; 32],
}

impl BcryptCheck {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        // Without randomness nothing is remembered under a guessable key: the all-zero key disables the memory.
        let _ = getrandom::fill(&mut key);
        Self {
            running: Semaphore::new(RUNNING_MAX),
            waiting: Semaphore::new(WAITING_MAX),
            turns: Throttle::per_second_with_burst(PER_SECOND, BURST),
            remembered: Mutex::default(),
            key,
        }
    }

    /// Whether `password` belongs to the `stored` bcrypt hash.
    pub(super) async fn is_right(
        &self,
        stored: &str,
        password: &str,
        peer: IpAddr,
    ) -> Result<bool, AuthenticationError> {
        let memory = self.memory_of(stored, password);
        if self.remembered().contains(&memory) {
            return Ok(true);
        }
        self.wait_for_turn(peer).await?;
        let right = self.verify(stored.to_owned(), password.to_owned()).await?;
        if right && self.key != [0; 32] {
            let mut remembered = self.remembered();
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(memory);
        }
        Ok(right)
    }

    async fn wait_for_turn(&self, peer: IpAddr) -> Result<(), AuthenticationError> {
        let mut wait = std::time::Duration::ZERO;
        for _ in 0..TURNS_MAX {
            match self.turns.count(peer) {
                Ok(()) => return Ok(()),
                Err(longer) => wait = longer,
            }
            tokio::time::sleep(wait).await;
        }
        Err(AuthenticationError::Throttled(wait))
    }

    async fn verify(&self, stored: String, password: String) -> Result<bool, AuthenticationError> {
        let busy = |_| AuthenticationError::Throttled(std::time::Duration::from_secs(5));
        let _waiting = self.waiting.try_acquire().map_err(busy)?;
        let closed = |_| AuthenticationError::Unavailable("bcrypt is closed".to_owned());
        let _running = self.running.acquire().await.map_err(closed)?;
        let verified = tokio::task::spawn_blocking(move || bcrypt::verify(&password, &stored)).await;
        Ok(matches!(verified, Ok(Ok(true))))
    }

    fn memory_of(&self, stored: &str, password: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update((stored.len() as u64).to_le_bytes());
        hash.update(stored);
        // Hashed on its own, so that its length cannot be played with.
        hash.update(Sha256::digest(password));
        hash.finalize().into()
    }

    fn remembered(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_right_password_is_verified_once_and_a_wrong_one_is_never_right() {
        let stored = bcrypt::hash("right", 4).unwrap();
        let check = BcryptCheck::new();
        let peer = "192.0.2.1".parse().unwrap();
        assert!(!check.is_right(&stored, "wrong", peer).await.unwrap());
        assert!(check.is_right(&stored, "right", peer).await.unwrap());
        assert_eq!(check.remembered().len(), 1);
        assert!(check.is_right(&stored, "right", peer).await.unwrap());
        let rotated = bcrypt::hash("other", 4).unwrap();
        assert!(!check.is_right(&rotated, "right", peer).await.unwrap());
    }

    #[tokio::test]
    async fn a_remembered_password_needs_no_turn() {
        let stored = bcrypt::hash("right", 4).unwrap();
        let check = BcryptCheck::new();
        let peer = "192.0.2.1".parse().unwrap();
        assert!(check.is_right(&stored, "right", peer).await.unwrap());
        while check.turns.count(peer).is_ok() {}
        assert!(check.is_right(&stored, "right", peer).await.unwrap());
    }
}
