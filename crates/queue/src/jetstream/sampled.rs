//! A figure that the server is asked for at intervals, so that nobody who reads it has to wait.

use std::{convert::Infallible, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the server is asked. Prometheus looks every 5 to 60 seconds.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long the server may take to answer. After that the figure is unknown.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The last answer, unless it is out of date. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Sampled<T>(Arc<Mutex<Option<T>>>);

impl<T: Copy> Sampled<T> {
    pub(super) fn unknown() -> Self {
        Self(Arc::default())
    }

    /// The figure; `None` while it is unknown.
    pub(super) fn latest(&self) -> Option<T> {
        *self.0.lock()
    }

    /// Asks at intervals, forever. When the future is dropped, as when the connection is lost, the figure
    /// is unknown.
    pub(super) async fn follow<F: Future<Output = Result<T, async_nats::Error>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Infallible {
        let _forget = Forget(self);
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let answer = timeout(TIMEOUT, ask()).await;
            if !matches!(answer, Ok(Ok(_))) {
                tracing::debug!("the queue did not report its figures");
            }
            *self.0.lock() = answer.ok().and_then(Result::ok);
        }
    }
}

struct Forget<'a, T>(&'a Sampled<T>);

impl<T> Drop for Forget<'_, T> {
    fn drop(&mut self) {
        *self.0.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_figure_is_unknown_unless_the_server_has_just_told_it() {
        let sampled = Sampled::unknown();
        let asked = std::cell::Cell::new(0);
        let ask = async || match asked.replace(asked.get() + 1) {
            0 => Ok(7),
            1 => std::future::pending().await,
            2 => Ok(8),
            _ => Err(async_nats::Error::from("away")),
        };
        let mut follow = Box::pin(sampled.follow(ask));
        for (seconds, figure) in [
            (1, Some(7)),
            (4, Some(7)),
            (3, None),
            (4, Some(8)),
            (5, None),
        ] {
            timeout(Duration::from_secs(seconds), &mut follow)
                .await
                .unwrap_err();
            assert_eq!(sampled.latest(), figure, "{seconds}");
        }
        asked.set(2);
        timeout(Duration::from_secs(5), &mut follow)
            .await
            .unwrap_err();
        assert_eq!(sampled.latest(), Some(8));
        drop(follow);
        assert_eq!(sampled.latest(), None);
    }
}
