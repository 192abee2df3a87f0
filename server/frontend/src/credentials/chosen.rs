//! Passwords that people chose: they can be guessed, so that guessing must be slow, and bcrypt costs much, so that
//! nobody may burn the processor with it.
//!
//! Invariant: an address gets a steady trickle of verifications, one bcrypt runs at a time and few wait; a password
//! that was right is remembered under a hash keyed with a secret of this process.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{AuthenticationError, same};
use crate::peer::Origin;
use crate::throttle::Throttle;

/// bcrypts at a time: one, so that half of a small machine stays free for uploads.
const RUNNING_MAX: usize = 1;
/// Requests that wait for a bcrypt; more are told to come back.
const WAITING_MAX: usize = 32;
/// Right passwords remembered. Past this all are forgotten, and each costs one verification again.
const REMEMBERED_MAX: usize = 4096;
/// Verifications that one address can have at once, and how many more each second.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
const PER_SECOND: NonZeroU32 = NonZeroU32::MIN;
/// How often a request waits for its turn before it is told to come back.
const TURNS_MAX: u32 = 10;

/// What is stored of a password that somebody chose.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum ChosenPassword {
    Sha1([u8; 20]),
    Bcrypt(String),
}

impl std::fmt::Debug for ChosenPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChosenPassword(…)") // a hash of a weak password is nearly the password
    }
}

impl ChosenPassword {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(digest) => digest,
            Self::Bcrypt(hash) => hash.as_bytes(),
        }
    }
}

/// Verifies chosen passwords.
#[derive(Debug)]
pub(super) struct ChosenCheck {
    running: Semaphore,
    waiting: Semaphore,
    turns: Throttle,
    remembered: Mutex<HashSet<[u8; 32]>>,
    /// `None` if there was no randomness: then nothing is remembered.
    key: Option<[u8; 32]>,
}

impl ChosenCheck {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        Self {
            running: Semaphore::new(RUNNING_MAX),
            waiting: Semaphore::new(WAITING_MAX),
            turns: Throttle::per_second_with_burst(PER_SECOND, BURST),
            remembered: Mutex::default(),
            key: getrandom::fill(&mut key).is_ok().then_some(key),
        }
    }

    /// Whether `password` is the one that is stored.
    pub(super) async fn is_right(
        &self,
        stored: &ChosenPassword,
        password: &str,
        from: Origin,
    ) -> Result<bool, AuthenticationError> {
        let memory = self.key.map(|key| memory_of(&key, stored, password));
        if memory.is_some_and(|memory| self.remembered().contains(&memory)) {
            return Ok(true);
        }
        self.wait_for_turn(from).await?;
        let right = match stored {
            ChosenPassword::Sha1(digest) => same(digest, &Sha1::digest(password)),
            ChosenPassword::Bcrypt(hash) => self.verify_bcrypt(hash.clone(), password.to_owned()).await?,
        };
        if let (true, Some(memory)) = (right, memory) {
            let mut remembered = self.remembered();
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(memory);
        }
        Ok(right)
    }

    async fn wait_for_turn(&self, from: Origin) -> Result<(), AuthenticationError> {
        let mut wait = Duration::ZERO;
        for _ in 0..TURNS_MAX {
            match self.turns.count(from) {
                Ok(()) => return Ok(()),
                Err(longer) => wait = longer,
            }
            tokio::time::sleep(wait).await;
        }
        Err(AuthenticationError::Throttled(wait))
    }

    async fn verify_bcrypt(&self, stored: String, password: String) -> Result<bool, AuthenticationError> {
        let busy = |_| AuthenticationError::Throttled(Duration::from_secs(5));
        let _waiting = self.waiting.try_acquire().map_err(busy)?;
        let closed = |_| AuthenticationError::Unavailable("bcrypt is closed".to_owned());
        let _running = self.running.acquire().await.map_err(closed)?;
        let verified = tokio::task::spawn_blocking(move || bcrypt::verify(&password, &stored)).await;
        Ok(matches!(verified, Ok(Ok(true))))
    }

    fn remembered(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under what a right password is remembered. It ends with the stored hash, so a changed password is forgotten.
fn memory_of(key: &[u8; 32], stored: &ChosenPassword, password: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(Sha256::digest(password));
    hash.update(stored.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bcrypt_of(password: &str) -> ChosenPassword {
        ChosenPassword::Bcrypt(bcrypt::hash(password, 4).unwrap())
    }

    fn peer() -> Origin {
        Origin::User(1000)
    }

    #[tokio::test]
    async fn a_right_password_is_verified_once_and_a_wrong_one_is_never_right() {
        for stored in [bcrypt_of("right"), ChosenPassword::Sha1(Sha1::digest("right").into())] {
            let check = ChosenCheck::new();
            assert!(!check.is_right(&stored, "wrong", peer()).await.unwrap());
            assert!(check.is_right(&stored, "right", peer()).await.unwrap());
            assert_eq!(check.remembered().len(), 1);
            assert!(check.is_right(&stored, "right", peer()).await.unwrap());
            assert!(!check.is_right(&bcrypt_of("other"), "right", peer()).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_remembered_password_needs_no_turn() {
        let stored = bcrypt_of("right");
        let check = ChosenCheck::new();
        assert!(check.is_right(&stored, "right", peer()).await.unwrap());
        while check.turns.count(peer()).is_ok() {}
        assert!(check.is_right(&stored, "right", peer()).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_from_one_address_are_slowed_to_a_trickle() {
        let stored = ChosenPassword::Sha1(Sha1::digest("right").into());
        let check = ChosenCheck::new();
        while check.turns.count(peer()).is_ok() {}
        let guessed = check.is_right(&stored, "guess", peer()).await;
        assert!(matches!(guessed, Err(AuthenticationError::Throttled(_)))); // the paused clock gives no turns
    }
}
