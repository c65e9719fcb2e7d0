//! The log of events, as a process that reads it holds it.
//!
//! The newest events are in a bounded [`Tail`]; what the tail no longer holds is read from a
//! [`History`]. Any number of [`Cursor`]s read the log, each from its own place.

mod cursor;
mod entry;
mod figures;
mod history;
mod places;
#[cfg(test)]
mod properties;
mod retention;
mod tail;

use std::{convert::Infallible, fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use protocol::{Audience, event::Kind};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

pub use cursor::{Cursor, Item};
pub use entry::Entry;
use figures::Figures;
pub use history::{Answer, Held, History, Next};
use places::Places;
pub use retention::Retention;
pub(crate) use retention::{MAX_AGE, MAX_BYTES};
use tail::Tail;

use crate::spans::System;

/// How often the tail looks for events that are too old.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);

/// The events of the last ten minutes, for any number of readers. Clones share one tail.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    system: System,
    tail: Arc<Mutex<Tail>>,
    history: Option<Arc<dyn History>>,
    places: Places,
}

impl Log {
    /// A log that consists of its tail and begins after `seq`.
    pub(crate) fn in_memory(retention: Retention, seq: u64) -> Self {
        let log = Self {
            system: System::Embedded,
            tail: Arc::new(Mutex::new(Tail::new(retention))),
            history: None,
            places: Places::default(),
        };
        log.begin(seq);
        log
    }

    /// A log whose older events are read from `history`. It can be read once it has been told where to
    /// [`begin`](Self::begin).
    pub(crate) fn with_history(
        system: System,
        retention: Retention,
        history: Arc<dyn History>,
    ) -> Self {
        Self {
            system,
            tail: Arc::new(Mutex::new(Tail::new(retention))),
            history: Some(history),
            places: Places::default(),
        }
    }

    /// A cursor; `None` before the log has begun.
    pub(crate) fn cursor(
        &self,
        audiences: &[Audience],
        wanted: fn(Kind) -> bool,
        since: Option<u64>,
    ) -> Option<Cursor> {
        Cursor::new(
            self.system,
            Arc::clone(&self.tail),
            self.history.clone(),
            &self.places,
            audiences,
            wanted,
            since,
        )
    }

    /// Says that the log has no event between `seq` and the next one that is appended.
    pub(crate) fn begin(&self, seq: u64) {
        self.tail.lock().begin(seq, seq);
    }

    /// Tells the tail which part of the log the history holds. Returns the place after which events must
    /// be appended: the place of the tail's last event, or `start` if the tail has no event from which
    /// the log still continues. `None` if the answer seems to lack the newest events. It is believed once it
    /// has been the same for longer than an answer may lack any.
    pub(crate) fn connect(&self, held: Held, start: u64) -> Option<u64> {
        let staleness = self
            .history
            .as_ref()
            .map_or(Duration::ZERO, |history| history.staleness());
        self.tail
            .lock()
            .connect(held, start, staleness, Instant::now())
    }

    pub(crate) fn append(&self, entry: Entry) {
        self.tail.lock().append(entry, Instant::now());
    }

    /// Appends the entry that `entry` returns for the next free place.
    pub(crate) fn append_next(&self, entry: impl FnOnce(u64) -> Entry) {
        let mut tail = self.tail.lock();
        let seq = tail.end().unwrap_or_default() + 1;
        tail.append(entry(seq), Instant::now());
    }

    /// Evicts events that are too old, forever.
    pub(crate) async fn expire(&self) -> Infallible {
        let mut tick = interval(EXPIRY_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.tail.lock().expire(Instant::now());
        }
    }
}

impl Collector for Log {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (end, tail_events, tail_bytes) = {
            let tail = self.tail.lock();
            (tail.end(), tail.events(), tail.bytes())
        };
        let figures = Figures {
            lag: self.places.lag(end.unwrap_or_default()),
            tail_events,
            tail_bytes,
            log_bytes: match &self.history {
                Some(history) => history.bytes(),
                None => Some(tail_bytes as u64),
            },
            log_limit_bytes: MAX_BYTES,
        };
        figures.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use futures_util::FutureExt;

    use super::*;

    /// A history that was asked for each audience at a different time: in between, an event was
    /// stored for the one that was asked first, and another one for the other.
    #[derive(Debug, Default)]
    struct AskedOneByOne(AtomicBool);

    impl History for AskedOneByOne {
        fn next_after<'a>(&'a self, _: &'a [Audience], _: u64) -> Answer<'a, Next> {
            self.0.store(true, Ordering::Relaxed);
            let entry = Some(entry(12, Audience::Public));
            Box::pin(async { Next { entry, first: 1 } })
        }

        fn held(&self) -> Answer<'_, Held> {
            Box::pin(async { Held { first: 1, last: 10 } })
        }
    }

    fn entry(seq: u64, audience: Audience) -> Entry {
        Entry {
            seq,
            kind: Kind::Result,
            audience,
            context: None,
            message: "x".into(),
        }
    }

    /// A history read from a node that does not know the newest events until it is asked the third time.
    #[derive(Debug, Default)]
    struct NodeThatIsBehind(AtomicU64);

    impl History for NodeThatIsBehind {
        fn next_after<'a>(&'a self, _: &'a [Audience], _: u64) -> Answer<'a, Next> {
            let entry = None;
            Box::pin(async { Next { entry, first: 1 } })
        }

        fn held(&self) -> Answer<'_, Held> {
            let asked = self.0.fetch_add(1, Ordering::Relaxed);
            let last = if asked < 2 { 10 } else { 20 };
            Box::pin(async move { Held { first: 1, last } })
        }

        fn staleness(&self) -> Duration {
            Duration::from_secs(15)
        }
    }

    /// A history that holds the events from 6 to 10.
    #[derive(Debug)]
    struct From6To10;

    impl History for From6To10 {
        fn next_after<'a>(&'a self, _: &'a [Audience], position: u64) -> Answer<'a, Next> {
            let entry = entry(6.max(position + 1), Audience::Public);
            Box::pin(async {
                Next {
                    entry: Some(entry),
                    first: 6,
                }
            })
        }

        fn held(&self) -> Answer<'_, Held> {
            Box::pin(async { Held { first: 6, last: 10 } })
        }
    }

    fn log_over(history: impl History + 'static) -> Log {
        Log::with_history(System::Nats, Retention::LOG, Arc::new(history))
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_behind_does_not_make_a_reader_miss_anything() {
        let log = log_over(NodeThatIsBehind::default());
        log.connect(Held { first: 1, last: 10 }, 10);
        let mut cursor = log.cursor(&[Audience::Public], |_| true, Some(15)).unwrap();
        let appended = async {
            tokio::time::sleep_until(Instant::now() + Duration::from_secs(5)).await;
            for seq in 11..=16 {
                log.append(entry(seq, Audience::Public));
            }
        };
        let (next, ()) = tokio::join!(cursor.next(), appended);
        assert_eq!(next, Item::Entry(Arc::new(entry(16, Audience::Public))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_from_a_log_that_is_gone_is_told_once_no_node_can_be_behind() {
        let log = log_over(NodeThatIsBehind::default());
        log.connect(Held { first: 1, last: 20 }, 20);
        let mut cursor = log
            .cursor(&[Audience::Public], |_| true, Some(1000))
            .unwrap();
        let asked = Instant::now();
        assert_eq!(cursor.next().await, Item::Gap(0));
        assert!(asked.elapsed() >= Duration::from_secs(15));
    }

    #[tokio::test]
    async fn a_reader_is_told_of_a_gap_only_if_an_event_after_its_place_is_gone() {
        let log = log_over(From6To10);
        log.connect(Held { first: 6, last: 10 }, 10);
        let first = || Item::Entry(Arc::new(entry(6, Audience::Public)));
        let read = |since| log.cursor(&[Audience::Public], |_| true, Some(since));
        assert_eq!(read(5).unwrap().next().await, first());
        let mut behind = read(4).unwrap();
        assert_eq!(behind.next().await, Item::Gap(5));
        assert_eq!(behind.next().await, first());
    }

    #[tokio::test]
    async fn news_is_what_was_published_after_the_cursor_was_made() {
        let log = log_over(From6To10);
        log.connect(Held { first: 6, last: 10 }, 10);
        let cursor = log.cursor(&[Audience::Public], |_| true, Some(5)).unwrap();
        let is_news = |seq| cursor.is_news(&entry(seq, Audience::Public));
        assert_eq!([9, 10, 11, 12].map(is_news), [false, false, true, true]);
    }

    #[tokio::test]
    async fn what_the_tail_has_is_not_skipped_because_a_node_does_not_know_it() {
        let log = log_over(NodeThatIsBehind::default());
        log.connect(Held { first: 1, last: 10 }, 10);
        log.append(entry(11, Audience::Public));
        let mut cursor = log.cursor(&[Audience::Public], |_| true, Some(5)).unwrap();
        let next = cursor.next().now_or_never();
        let expected = Item::Entry(Arc::new(entry(11, Audience::Public)));
        assert_eq!(next, Some(expected));
    }

    #[tokio::test]
    async fn an_event_that_is_stored_while_the_history_is_read_is_not_skipped() {
        let history = Arc::new(AskedOneByOne::default());
        let log = Log::with_history(
            System::Nats,
            Retention::LOG,
            Arc::clone(&history) as Arc<dyn History>,
        );
        log.connect(Held { first: 1, last: 10 }, 10);
        let client = Audience::Client("0123456789abcdef".parse().unwrap());
        let audiences = [client.clone(), Audience::Public];
        let mut cursor = log.cursor(&audiences, |_| true, Some(5)).unwrap();
        let next = cursor.next();
        let appended = async {
            while !history.0.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            log.append(entry(11, client.clone()));
            log.append(entry(12, Audience::Public));
        };
        let (first, ()) = tokio::join!(next, appended);
        assert_eq!(first, Item::Entry(Arc::new(entry(11, client))));
        let second = cursor.next().await;
        assert_eq!(second, Item::Entry(Arc::new(entry(12, Audience::Public))));
    }
}
