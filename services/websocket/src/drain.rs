//! Sending the clients away when the server shuts down: one after the other, so that they do not all
//! come back in one moment.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The time from one client to the next. It is shorter if they would otherwise take longer than the
/// window.
const SPACING: Duration = Duration::from_micros(500);

/// The order in which clients leave. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Drain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shutdown: CancellationToken,
    /// The longest time from the shutdown until the last client leaves.
    window: Duration,
    /// How many clients are connected.
    connected: AtomicU32,
    /// How many clients have a turn.
    turns: AtomicU32,
    /// Known from the moment when the first client takes its turn.
    schedule: OnceLock<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    start: Instant,
    spacing: Duration,
}

/// The place of one connected client in the order.
#[derive(Debug)]
pub(crate) struct Place {
    drain: Drain,
    leaves_at: Option<Instant>,
}

impl Drain {
    pub(crate) fn new(window: Duration, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            shutdown,
            window,
            connected: AtomicU32::new(0),
            turns: AtomicU32::new(0),
            schedule: OnceLock::new(),
        }))
    }

    /// The place of a client that connects.
    pub(crate) fn place(&self) -> Place {
        self.0.connected.fetch_add(1, Ordering::Relaxed);
        Place {
            drain: self.clone(),
            leaves_at: None,
        }
    }

    fn take_turn(&self) -> Instant {
        let schedule = self.0.schedule.get_or_init(|| {
            let connected = self.0.connected.load(Ordering::Relaxed).max(1);
            Schedule {
                start: Instant::now(),
                spacing: SPACING.min(self.0.window / connected),
            }
        });
        let turn = self.0.turns.fetch_add(1, Ordering::Relaxed);
        schedule.start + schedule.spacing * turn
    }
}

impl Place {
    /// Waits until the server is shutting down and it is this client's turn to leave.
    ///
    /// Cancel safe: a client that has a turn keeps it.
    pub(crate) async fn left(&mut self) {
        self.drain.0.shutdown.cancelled().await;
        let leaves_at = match self.leaves_at {
            Some(leaves_at) => leaves_at,
            None => *self.leaves_at.insert(self.drain.take_turn()),
        };
        sleep_until(leaves_at).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.drain.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    /// After how many milliseconds each of `clients` leaves.
    async fn leave(clients: usize) -> Vec<u128> {
        let shutdown = CancellationToken::new();
        let drain = Drain::new(WINDOW, shutdown.clone());
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for _ in 0..clients {
            let mut place = drain.place();
            tasks.spawn(async move {
                place.left().await;
                start.elapsed().as_millis()
            });
        }
        shutdown.cancel();
        tasks.join_all().await
    }

    #[tokio::test(start_paused = true)]
    async fn many_clients_leave_evenly_within_the_window() {
        let mut left = leave(20_000).await;
        left.sort_unstable();
        assert!(left[19_999] <= WINDOW.as_millis(), "{}", left[19_999]);
        let tenth_ms = WINDOW.as_millis() / 10;
        for tenth in 1..=10 {
            let gone = left.partition_point(|ms| *ms < tenth * tenth_ms);
            let even = 2000 * usize::try_from(tenth).unwrap();
            assert!(gone.abs_diff(even) <= 20, "{gone} of {even}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_clients_leave_at_once() {
        assert!(leave(20).await.into_iter().all(|ms| ms <= 11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_looks_again_keeps_its_turn() {
        let shutdown = CancellationToken::new();
        let drain = Drain::new(WINDOW, shutdown.clone());
        let (mut first, mut second) = (drain.place(), drain.place());
        shutdown.cancel();
        first.left().await;
        let start = Instant::now();
        for _ in 0..3 {
            let waited = tokio::time::timeout(SPACING / 4, second.left()).await;
            assert!(waited.is_err());
        }
        second.left().await;
        assert!(start.elapsed() <= SPACING + Duration::from_millis(1));
    }
}
