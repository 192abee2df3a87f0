//! Room on the disk that is promised to uploads on their way, by what they announced.
//!
//! Invariant: what has arrived of an upload is promised no more, since the disk counts it. Promises to one host are
//! known apart from all others, so that none gets all the room by announcing much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pawl_policy::{PrincipalName, Room};

/// Of the room that there is, one part of so many is promised to one host, unless it is a single upload.
const PARTS: u64 = 4;

/// What is promised.
#[derive(Debug, Clone, Default)]
pub(super) struct Promises(Arc<Mutex<Promised>>);

#[derive(Debug, Default)]
struct Promised {
    next: u64,
    /// What is still to come, by host and number of the upload.
    of: HashMap<PrincipalName, HashMap<u64, u64>>,
}

/// Room for one upload. Dropping it gives back what has not arrived.
#[derive(Debug)]
pub(super) struct Promise {
    promises: Promises,
    host: PrincipalName,
    number: u64,
    /// Announced by this upload, and, when it was, still to come from its host and from all.
    own: u64,
    host_total: u64,
    total: u64,
}

impl Promises {
    fn promised(&self) -> MutexGuard<'_, Promised> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Promises this host room for an upload of so many bytes.
    pub(super) fn make(&self, host: &PrincipalName, own: u64) -> Promise {
        let mut promised = self.promised();
        let number = promised.next;
        promised.next = number.wrapping_add(1);
        promised.of.entry(host.clone()).or_default().insert(number, own);
        let sum = |uploads: &HashMap<u64, u64>| {
            uploads.values().fold(0, |sum: u64, left| sum.saturating_add(*left))
        };
        let host_total = promised.of.get(host).map_or(0, sum);
        let total = promised.of.values().map(sum).fold(0, u64::saturating_add);
        Promise { promises: self.clone(), host: host.clone(), number, own, host_total, total }
    }
}

impl Promise {
    /// Whether the upload can be taken where there is room for so many bytes.
    pub(super) const fn judge(&self, room_bytes: u64) -> Room {
        let is_more_than_its_share = self.host_total > self.own && self.host_total > room_bytes / PARTS;
        // What a host has announced itself is no reason to let it try again.
        if self.host_total > room_bytes {
            Room::Full
        } else if self.total > room_bytes || is_more_than_its_share {
            Room::Promised
        } else {
            Room::Enough
        }
    }

    /// So many more bytes have arrived.
    pub(super) fn arrived(&self, bytes: u64) {
        let mut promised = self.promises.promised();
        let uploads = promised.of.get_mut(&self.host);
        if let Some(left) = uploads.and_then(|uploads| uploads.get_mut(&self.number)) {
            *left = left.saturating_sub(bytes);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut promised = self.promises.promised();
        if let Some(uploads) = promised.of.get_mut(&self.host) {
            uploads.remove(&self.number);
            if uploads.is_empty() {
                promised.of.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> [PrincipalName; 2] {
        ["web1", "web2"].map(|name| name.parse().unwrap())
    }

    #[test]
    fn what_others_were_promised_is_not_the_same_as_a_full_disk() {
        let (promises, [web1, web2]) = (Promises::default(), hosts());
        let alone = promises.make(&web1, 60);
        assert_eq!([59, 60].map(|room| alone.judge(room)), [Room::Full, Room::Enough]);
        let beside = promises.make(&web2, 50);
        assert_eq!([49, 109, 110].map(|room| beside.judge(room)), [Room::Full, Room::Promised, Room::Enough]);
        drop(alone);
        assert_eq!(promises.make(&web2, 1).judge(204), Room::Enough);
        drop(beside);
        assert!(promises.promised().of.is_empty());
    }

    #[test]
    fn one_host_is_promised_its_share() {
        let (promises, [web1, web2]) = (Promises::default(), hosts());
        let _first = promises.make(&web1, 300);
        let second = promises.make(&web1, 1);
        let judged = [300, 301, 1203, 1204].map(|room| second.judge(room));
        assert_eq!(judged, [Room::Full, Room::Promised, Room::Promised, Room::Enough]);
        assert_eq!(promises.make(&web2, 700).judge(1200), Room::Enough);
    }

    #[test]
    fn what_has_arrived_is_promised_no_more() {
        let (promises, [web1, web2]) = (Promises::default(), hosts());
        let first = promises.make(&web1, 100);
        first.arrived(70);
        assert_eq!(promises.make(&web2, 10).judge(40), Room::Enough);
        first.arrived(70);
        assert_eq!(promises.make(&web2, 10).judge(10), Room::Enough);
    }
}
