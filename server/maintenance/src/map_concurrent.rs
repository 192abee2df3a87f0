//! Working on several files at a time.
//!
//! Invariant: after an error nothing more is begun, and what was begun is finished: nothing is cut between two steps but
//! by the end of the process.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};

/// Files at a time: most of the time goes by waiting for a bucket's answers, and each holds less than 1 MiB of memory.
pub(super) const FILES_AT_A_TIME: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// Works on all of these, so many at a time. Results are in their order; of several errors, the first is told.
pub(super) async fn map_concurrent<T, R, E, F: Future<Output = Result<R, E>>>(
    items: impl IntoIterator<Item = T>,
    at_a_time: NonZeroUsize,
    work: impl Fn(T) -> F,
) -> Result<Vec<R>, E> {
    let failed = AtomicBool::new(false);
    let results: Vec<_> = stream::iter(items)
        .take_while(|_| std::future::ready(!failed.load(Ordering::Relaxed)))
        .map(|item| {
            let working = work(item);
            let failed = &failed;
            async move {
                let result = working.await;
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                result
            }
        })
        .buffered(at_a_time.get())
        .collect()
        .await;
    results.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn results_are_in_order_and_so_many_are_worked_on_at_a_time() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |number: u64| {
            let (now, most) = (&now, &most);
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20 - number)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                Ok::<_, ()>(number)
            }
        };
        let done = map_concurrent(0..20, NonZeroUsize::new(3).unwrap(), work).await.unwrap();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), 3);
    }

    #[tokio::test]
    async fn after_an_error_what_was_begun_is_finished_and_nothing_more_is_begun() {
        let (begun, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |number: u64| {
            let (begun, finished) = (&begun, &finished);
            async move {
                begun.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(number)).await;
                finished.fetch_add(1, Ordering::Relaxed);
                if number == 2 { Err(number) } else { Ok(()) }
            }
        };
        let done = map_concurrent(1..1000, NonZeroUsize::new(4).unwrap(), work).await;
        assert_eq!(done, Err(2));
        assert!(begun.load(Ordering::Relaxed) < 20);
        assert_eq!(begun.into_inner(), finished.into_inner());
    }
}
