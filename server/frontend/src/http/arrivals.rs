//! Connections by whom they count for: an address until somebody authenticates, then that host.
//!
//! Invariant: an address has a bounded number of connections without a credential, begins a bounded number of them a
//! minute, and a bounded number of them waits. What authenticates is not counted there. Memory is bounded, whatever the
//! number of addresses that try.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::peer::Origin;

/// A connection without a credential that is older makes way where others wait. A handshake and a head take less, also
/// where a slow machine begins many at once.
const YOUNG: Duration = Duration::from_secs(3);
/// How often a connection that waits looks whether it may begin.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_mins(1);
/// Addresses whose new connections are remembered. While there are more, others wait.
const ADDRESSES_MAX: usize = 10_000;
/// Forgetting looks at all of them.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What is known of a connection where others want its place.
pub(super) trait Idle: std::fmt::Debug + Send + Sync {
    /// Since when nothing is asked on it; none if something is.
    fn idle_since(&self) -> Option<Instant>;

    /// Has it end, now or with the last answer that is on its way.
    fn end_when_idle(&self);
}

/// Connections that are open, by what they count for.
#[derive(Debug)]
pub(super) struct Roster<K>(Arc<Mutex<Connections<K>>>);

#[derive(Debug)]
struct Connections<K> {
    next: u64,
    /// Each key's connections, the oldest first.
    of: HashMap<K, BTreeMap<u64, Connection>>,
}

#[derive(Debug, Clone)]
struct Connection {
    idle: Weak<dyn Idle>,
    entered: Instant,
}

impl Connection {
    /// Has it end once it is idle, unless it is young.
    fn make_way(&self) {
        if self.entered.elapsed() >= YOUNG
            && let Some(connection) = self.idle.upgrade()
        {
            connection.end_when_idle();
        }
    }
}

/// A connection's place in a roster. Dropping it takes the connection out.
#[derive(Debug)]
pub(super) struct Listed<K: Hash + Eq> {
    roster: Roster<K>,
    key: K,
    number: u64,
}

impl<K> Default for Roster<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Connections { next: 0, of: HashMap::new() })))
    }
}

impl<K> Roster<K> {
    fn connections(&self) -> MutexGuard<'_, Connections<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> Roster<K> {
    /// Counts a connection for `key`. Returns how many there are with it as well.
    pub(super) fn enter(&self, key: &K, idle: &Arc<dyn Idle>) -> (Listed<K>, usize) {
        let mut connections = self.connections();
        let number = connections.next;
        connections.next = number.wrapping_add(1);
        let of_key = connections.of.entry(key.clone()).or_default();
        of_key.insert(number, Connection { idle: Arc::downgrade(idle), entered: Instant::now() });
        let count = of_key.len();
        drop(connections);
        (Listed { roster: Self(Arc::clone(&self.0)), key: key.clone(), number }, count)
    }

    fn count(&self, key: &K) -> usize {
        self.connections().of.get(key).map_or(0, BTreeMap::len)
    }

    fn oldest(&self, key: &K) -> Option<Connection> {
        self.connections().of.get(key)?.values().next().cloned()
    }

    /// The key's connections, the oldest first.
    fn of(&self, key: &K) -> Vec<Connection> {
        self.connections().of.get(key).map(|of_key| of_key.values().cloned().collect()).unwrap_or_default()
    }

    /// Ends the connection of `key` that has been idle for longest, or, if none is, has `last` end after its answer.
    pub(super) fn end_one(&self, key: &K, last: &Arc<dyn Idle>) {
        let open = self.of(key).into_iter().filter_map(|connection| connection.idle.upgrade());
        let idle = open.filter_map(|connection| Some((connection.idle_since()?, connection)));
        match idle.min_by_key(|(since, _)| *since) {
            Some((_, connection)) => connection.end_when_idle(),
            None => last.end_when_idle(),
        }
    }
}

impl<K: Hash + Eq> Drop for Listed<K> {
    fn drop(&mut self) {
        let mut connections = self.roster.connections();
        if let Some(of_key) = connections.of.get_mut(&self.key) {
            of_key.remove(&self.number);
            if of_key.is_empty() {
                connections.of.remove(&self.key);
            }
        }
    }
}

/// The connections on which nobody has authenticated, and the limits on them.
#[derive(Debug, Clone)]
pub(super) struct Arrivals(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Connections of an address at a time.
    share: usize,
    /// Connections of an address at a time, with those that wait.
    share_and_waiting: usize,
    /// What one new connection takes of an address' minute.
    costs: Duration,
    /// All of them.
    open: Roster<Origin>,
    /// Those that had their turn.
    begun: Roster<Origin>,
    spent: Mutex<Spent>,
}

/// New connections of the last minute.
#[derive(Debug)]
struct Spent {
    /// Until when what an address began counts.
    until: HashMap<Origin, Instant>,
    swept: Instant,
}

/// A connection on which nobody has authenticated yet.
#[derive(Debug)]
pub(super) struct Arrival {
    arrivals: Arrivals,
    origin: Origin,
    is_proxy: bool,
    _listed: Listed<Origin>,
    /// Once it has begun, unless its address has no limits.
    begun: Option<Listed<Origin>>,
}

impl Arrivals {
    /// So many connections of each address at a time, and so many new ones a minute. A fleet behind one address comes
    /// all at once: as many more may wait, or an eighth of the places that there are.
    pub(super) fn new(share: u32, places: usize, per_minute: NonZeroU32) -> Self {
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let share_and_waiting = share.saturating_add(share.max(places / 8));
        let costs = MINUTE / per_minute.get();
        let spent = Mutex::new(Spent { until: HashMap::new(), swept: Instant::now() });
        Self(Arc::new(Shared {
            share,
            share_and_waiting,
            costs,
            open: Roster::default(),
            begun: Roster::default(),
            spent,
        }))
    }

    /// A new connection; none if too many of its address wait for their turn. One of a proxy is limited by nothing here.
    /// Those that need not wait begin here, so that the oldest of an address is the one that was accepted first.
    pub(super) fn arrive(&self, origin: Origin, idle: &Arc<dyn Idle>, is_proxy: bool) -> Option<Arrival> {
        let (listed, count) = self.0.open.enter(&origin, idle);
        let is_too_much = !is_proxy && count > self.0.share_and_waiting;
        let mut arrival = Arrival { arrivals: self.clone(), origin, is_proxy, _listed: listed, begun: None };
        if is_too_much {
            return None;
        }
        arrival.begin(idle);
        Some(arrival)
    }

    /// Has all that are no longer young end, from wherever they come: they keep others out.
    pub(super) fn make_room(&self) {
        let all: Vec<_> = self.0.open.connections().of.values().flat_map(BTreeMap::values).cloned().collect();
        all.iter().for_each(Connection::make_way);
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.0.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a new connection of the address, unless it had its number of them.
    fn spend(&self, origin: Origin) -> bool {
        let now = Instant::now();
        let mut spent = self.spent();
        if spent.until.len() >= ADDRESSES_MAX && now - spent.swept >= SWEEP_EVERY {
            spent.until.retain(|_, until| *until > now);
            spent.swept = now;
        }
        if spent.until.len() >= ADDRESSES_MAX && !spent.until.contains_key(&origin) {
            return false;
        }
        let until = spent.until.entry(origin).or_insert(now);
        let after = (*until).max(now) + self.0.costs;
        let is_within = after <= now + MINUTE;
        if is_within {
            *until = after;
        }
        is_within
    }

    fn give_back(&self, origin: Origin) {
        if let Some(until) = self.spent().until.get_mut(&origin) {
            *until = until.checked_sub(self.0.costs).unwrap_or(*until);
        }
    }
}

impl Arrival {
    /// Waits until the address may begin one more. Where its share is open already, the oldest makes way.
    pub(super) async fn turn(&mut self, idle: &Arc<dyn Idle>) {
        while !self.begin(idle) {
            // The more of an address wait, the less often each looks.
            let shared = &self.arrivals.0;
            let crowd = shared.open.count(&self.origin).checked_div(shared.share).unwrap_or_default();
            let crowd = u32::try_from(crowd).unwrap_or(u32::MAX).max(1);
            tokio::time::sleep(BETWEEN_LOOKS.saturating_mul(crowd)).await;
        }
    }

    /// Whether it has begun.
    fn begin(&mut self, idle: &Arc<dyn Idle>) -> bool {
        if self.is_proxy || self.begun.is_some() {
            return true;
        }
        let shared = &self.arrivals.0;
        let (begun, count) = shared.begun.enter(&self.origin, idle);
        if count > shared.share {
            drop(begun);
            if let Some(oldest) = shared.begun.oldest(&self.origin) {
                oldest.make_way();
            }
            return false;
        }
        let may_begin = self.arrivals.spend(self.origin);
        self.begun = may_begin.then_some(begun);
        may_begin
    }

    /// Somebody has authenticated: the connection counts for its address no more.
    pub(super) fn authenticated(mut self) {
        if self.begun.take().is_some() {
            self.arrivals.give_back(self.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::deadline::Clock;

    const SHARE: u32 = 2;
    const PLACES: usize = 24;

    fn arrivals(per_minute: u32) -> (Arrivals, Origin) {
        let origin = Origin::of("192.0.2.1".parse().unwrap());
        (Arrivals::new(SHARE, PLACES, NonZeroU32::new(per_minute).unwrap()), origin)
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_authenticate_use_up_nothing_of_their_address() {
        let (arrivals, origin) = arrivals(3);
        for _ in 0..100 {
            let clock = Clock::start();
            let mut arrival = arrivals.arrive(origin, &clock.idle(), false).unwrap();
            assert!(arrival.begin(&clock.idle()));
            arrival.authenticated();
        }
        for expected in [true, true, true, false] {
            let clock = Clock::start();
            let mut arrival = arrivals.arrive(origin, &clock.idle(), false).unwrap();
            assert_eq!(arrival.begin(&clock.idle()), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_its_number_a_minute_a_connection_waits() {
        let (arrivals, origin) = arrivals(60);
        let clock = Clock::start();
        for _ in 0..60 {
            arrivals.arrive(origin, &clock.idle(), false).unwrap().turn(&clock.idle()).await;
        }
        let started = Instant::now();
        arrivals.arrive(origin, &clock.idle(), false).unwrap().turn(&clock.idle()).await;
        assert!(started.elapsed() >= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_makes_way_and_a_young_one_does_not() {
        let (arrivals, origin) = arrivals(1000);
        let [one, two, three] = [(); 3].map(|()| Clock::start());
        let [mut first, mut second, mut third] =
            [&one, &two, &three].map(|clock| arrivals.arrive(origin, &clock.idle(), false).unwrap());
        assert_eq!(
            (first.begin(&one.idle()), second.begin(&two.idle()), third.begin(&three.idle())),
            (true, true, false)
        );
        assert!(!one.is_over());
        tokio::time::sleep(YOUNG).await;
        assert!(!third.begin(&three.idle()));
        assert_eq!((one.is_over(), two.is_over(), three.is_over()), (true, false, false));
        drop(first);
        assert!(third.begin(&three.idle()));
        arrivals.make_room();
        assert!(two.is_over() && three.is_over());
    }

    #[test]
    fn of_those_that_wait_an_address_has_an_eighth_of_all_places_and_a_proxy_has_no_limit() {
        let (arrivals, origin) = arrivals(1);
        let clock = Clock::start();
        let waiting: Vec<_> = (0..5).filter_map(|_| arrivals.arrive(origin, &clock.idle(), false)).collect();
        assert_eq!(waiting.len(), 5);
        assert!(arrivals.arrive(origin, &clock.idle(), false).is_none());
        assert!(arrivals.arrive(origin, &clock.idle(), true).is_some());
        drop(waiting);
        assert!(arrivals.arrive(origin, &clock.idle(), false).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_a_hosts_number_the_one_that_is_idle_for_longest_ends() {
        let roster = Roster::default();
        let [busy, used, unused] = [(); 3].map(|()| Clock::start());
        let _working = busy.begin();
        tokio::time::sleep(YOUNG).await;
        drop(used.begin());
        let _listed = [&busy, &used, &unused].map(|clock| roster.enter(&"web1", &clock.idle()));
        roster.end_one(&"web1", &busy.idle());
        assert_eq!((busy.is_over(), used.is_over(), unused.is_over()), (false, false, true));
    }
}
