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

/// The time from one client to the next. It is shorter if all of them would otherwise take longer than the
/// window.
const SPACING: Duration = Duration::from_millis(2);

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
    /// Clients leave after `shutdown`, and the last one within `window`.
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

    /// When the next client leaves.
    fn take_turn(&self) -> Instant {
        let window = self.0.window;
        let schedule = self.0.schedule.get_or_init(|| {
            let connected = self.0.connected.load(Ordering::Relaxed).max(1);
            Schedule {
                start: Instant::now(),
                spacing: SPACING.min(window / connected),
            }
        });
        let turn = self.0.turns.fetch_add(1, Ordering::Relaxed);
        // The first one also leaves after a pause: by then the server accepts nothing more, so nobody comes
        // back to it. A client that was still connecting when the others were counted leaves with the last
        // of them.
        schedule.start + window.min(schedule.spacing * turn.saturating_add(1))
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
    use tokio::{task::JoinSet, time::timeout};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    /// The milliseconds after which each of `clients` leaves, in order.
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
        let mut left = tasks.join_all().await;
        left.sort_unstable();
        left
    }

    #[tokio::test(start_paused = true)]
    async fn many_clients_leave_evenly_within_the_window() {
        const CLIENTS: usize = 20_000;
        let left = leave(CLIENTS).await;
        let tenth_ms = WINDOW.as_millis() / 10;
        for (tenth, even) in (1..=10).zip((1..=10).map(|tenth| tenth * CLIENTS / 10)) {
            let gone = left.partition_point(|ms| *ms <= tenth * tenth_ms);
            assert!(gone.abs_diff(even) <= 20, "{gone} of {even}");
        }
        assert!(left.iter().all(|ms| *ms <= WINDOW.as_millis()));
    }

    #[tokio::test(start_paused = true)]
    async fn few_clients_leave_within_milliseconds() {
        let left = leave(5).await;
        assert!(left.iter().all(|ms| *ms <= 10), "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_window_all_leave_at_once() {
        let shutdown = CancellationToken::new();
        let drain = Drain::new(Duration::ZERO, shutdown.clone());
        let mut places: Vec<_> = (0..100).map(|_| drain.place()).collect();
        shutdown.cancel();
        let start = Instant::now();
        for place in &mut places {
            place.left().await;
        }
        assert!(start.elapsed() <= Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_was_still_connecting_leaves_within_the_window() {
        let shutdown = CancellationToken::new();
        let drain = Drain::new(WINDOW, shutdown.clone());
        let mut first = drain.place();
        shutdown.cancel();
        let start = Instant::now();
        first.left().await;
        let mut late: Vec<_> = (0..5000).map(|_| drain.place()).collect();
        for place in &mut late {
            place.left().await;
        }
        assert!(start.elapsed() <= WINDOW + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_leaves_before_the_shutdown_and_those_who_left_have_no_turn() {
        let shutdown = CancellationToken::new();
        let drain = Drain::new(WINDOW, shutdown.clone());
        let mut stays = drain.place();
        drop((0..100_000).map(|_| drain.place()).collect::<Vec<_>>());
        assert!(timeout(WINDOW, stays.left()).await.is_err());
        let mut also = drain.place();
        shutdown.cancel();
        let start = Instant::now();
        stays.left().await;
        also.left().await;
        assert!(start.elapsed().abs_diff(2 * SPACING) <= Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_again_keeps_its_turn() {
        let shutdown = CancellationToken::new();
        let drain = Drain::new(WINDOW, shutdown.clone());
        let (mut first, mut second) = (drain.place(), drain.place());
        shutdown.cancel();
        first.left().await;
        let start = Instant::now();
        for _ in 0..3 {
            assert!(timeout(Duration::ZERO, second.left()).await.is_err());
        }
        second.left().await;
        assert!(start.elapsed() <= SPACING + Duration::from_millis(1));
    }
}
