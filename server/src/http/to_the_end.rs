//! Work that is not stopped half-way.
//!
//! Invariant: what was begun goes on to its end: with whoever waits for it, and in a task of its own once nobody does.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Work that whoever waits for it carries out. In a task of its own from the beginning, each piece of a body would wake
/// another thread, which costs more than handing the piece on, and twice as many pieces would be in memory.
pub(super) struct ToTheEnd<F: Future<Output: Send + 'static> + Send + 'static> {
    /// None while it is being polled, so that what panicked does not go on, and at the end.
    work: Option<Pin<Box<F>>>,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> ToTheEnd<F> {
    pub(super) fn new(work: F) -> Self {
        Self { work: Some(Box::pin(work)) }
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(mut work) = self.work.take() else {
            return Poll::Pending; // it has ended, and nobody may ask again
        };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[tokio::test]
    async fn what_was_begun_goes_on_when_nobody_waits_any_more() {
        let (go_on, until) = oneshot::channel::<()>();
        let (ended, mut end) = mpsc::channel(1);
        let mut work = ToTheEnd::new(async move {
            let _ = until.await;
            let _ = ended.send(()).await;
        });
        assert!((&mut work).now_or_never().is_none());
        drop(work);
        go_on.send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), end.recv()).await;
        assert_eq!(ended, Ok(Some(())));
    }

    #[tokio::test]
    async fn it_ends_once_and_with_its_own_answer() {
        let (ended, mut end) = mpsc::channel(2);
        let work = ToTheEnd::new(async move {
            tokio::task::yield_now().await;
            ended.send(()).await.unwrap();
            7
        });
        assert_eq!(work.await, 7);
        assert_eq!((end.recv().await, end.recv().await), (Some(()), None));
    }
}
