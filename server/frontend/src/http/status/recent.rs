//! What was found out a moment ago, for however many ask.
//!
//! Invariant: at most one search is under way, and at most one begins in a second: however often it is asked for, and
//! whether or not the answer is waited for, who is asked is troubled once. What is told is two seconds old at most.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How long a search may take. A keeper that works answers in milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long stands what was found, or that nothing was.
pub(super) const STANDS: Duration = Duration::from_secs(1);

pub(super) struct Recent<T> {
    known: Mutex<Known<T>>,
}

struct Known<T> {
    found: Option<(Instant, Option<T>)>,
    /// A search, and when it began. It may have taken too long, or nobody waits for it any more.
    under_way: Option<(Instant, JoinHandle<T>)>,
}

impl<T: Clone + Send + 'static> Recent<T> {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(Known { found: None, under_way: None }) }
    }

    /// What was found a moment ago, or is now; nothing if that takes too long. Those who ask meanwhile wait for the same.
    /// What is new is noted before anybody is told.
    pub(super) async fn find<F: Future<Output = T> + Send + 'static>(
        &self,
        search: impl FnOnce() -> F + Send,
        note: impl FnOnce(Option<&T>) + Send,
    ) -> Option<T> {
        let mut known = self.known.lock().await;
        if let Some((at, found)) = &known.found
            && at.elapsed() < STANDS
        {
            return found.clone();
        }
        // One that has ended since tells of the past.
        known.under_way.take_if(|(begun, search)| search.is_finished() && begun.elapsed() >= STANDS);
        let begin = || (Instant::now(), tokio::spawn(search()));
        let (_, under_way) = known.under_way.get_or_insert_with(begin);
        let found = match timeout(PATIENCE, under_way).await {
            Ok(ended) => {
                known.under_way = None;
                ended.ok() // a panic has been printed
            }
            Err(_) => None,
        };
        note(found.as_ref());
        known.found = Some((Instant::now(), found.clone()));
        found
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::watch;
    use tokio::time::advance;

    use super::*;

    /// Somebody who counts how often they are asked, and answers while they are awake.
    struct Asked {
        times: watch::Sender<u32>,
        awake: watch::Sender<bool>,
        recent: Recent<u32>,
    }

    impl Asked {
        fn new() -> Self {
            let (times, awake) = (watch::Sender::new(0), watch::Sender::new(true));
            Self { times, awake, recent: Recent::new() }
        }

        fn times(&self) -> u32 {
            *self.times.borrow()
        }

        async fn ask(&self) -> Option<u32> {
            let search = || {
                self.times.send_modify(|times| *times += 1);
                let (times, mut awake) = (self.times(), self.awake.subscribe());
                async move {
                    let _ = awake.wait_for(|awake| *awake).await;
                    times
                }
            };
            self.recent.find(search, |_| ()).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn asking_often_troubles_somebody_once_a_second() {
        let asked = Asked::new();
        for second in 1..=3 {
            for _ in 0..100 {
                assert_eq!(asked.ask().await, Some(second));
            }
            assert_eq!(asked.times(), second);
            advance(STANDS).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_not_asked_again_until_they_do() {
        let asked = Asked::new();
        asked.awake.send_replace(false);
        for _ in 0..10 {
            let started = Instant::now();
            assert_eq!(asked.ask().await, None);
            assert_eq!(started.elapsed(), PATIENCE);
            assert_eq!(asked.ask().await, None);
            assert_eq!(started.elapsed(), PATIENCE, "that nothing was found stands as well");
            advance(STANDS).await;
        }
        assert_eq!(asked.times(), 1);
        asked.awake.send_replace(true);
        assert_eq!(asked.ask().await, Some(1), "the answer to the first was still waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_long_ago_counts_for_nothing() {
        let asked = Asked::new();
        asked.awake.send_replace(false);
        assert_eq!(asked.ask().await, None);
        asked.awake.send_replace(true);
        tokio::time::sleep(Duration::from_hours(1)).await;
        asked.awake.send_replace(false);
        assert_eq!(asked.ask().await, None);
        assert_eq!(asked.times(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn asking_without_waiting_for_the_answer_troubles_nobody_more_often() {
        for awake in [true, false] {
            let asked = Asked::new();
            asked.awake.send_replace(awake);
            for _ in 0..100 {
                let _ = asked.ask().now_or_never(); // whoever asked is gone at once
                tokio::task::yield_now().await;
            }
            assert_eq!(asked.times(), 1, "awake: {awake}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_together_are_told_the_same() {
        let asked = Asked::new();
        let found = tokio::join!(asked.ask(), asked.ask(), asked.ask());
        assert_eq!(found, (Some(1), Some(1), Some(1)));
    }
}
