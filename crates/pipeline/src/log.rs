//! The log of events, and the cursors that read it.
//!
//! The newest events are held in a bounded [`Tail`]. A cursor reads on from its own place: from the
//! tail, or, when it has fallen behind that, from the stream that the tail is the end of. So a slow
//! reader delays only itself, and resuming is the same as reading on.

mod tail;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::select_all;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Duration, Instant, MissedTickBehavior, interval},
};

use crate::{Audience, EventKind, event, queue::jetstream::Results};
use tail::{Look, Tail};

/// How often a log looks for events that are too old.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);

/// An event in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place: larger than that of every event before it.
    pub seq: u64,
    /// Its type.
    pub kind: EventKind,
    /// Whom it is for.
    pub audience: Audience,
    /// The JSON message to send, `seq` included.
    pub message: Bytes,
}

impl Entry {
    /// Reads an event as it was published; `None` for what is not an event.
    pub(crate) fn parse(seq: u64, audience: Audience, payload: &[u8]) -> Option<Self> {
        let (kind, message) = event::frame(payload, seq)?;
        Some(Self {
            seq,
            kind,
            audience,
            message,
        })
    }
}

/// What a cursor comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The next event.
    Entry(Arc<Entry>),
    /// Some of what lay at or before this place is gone; the cursor goes on after it.
    Gap(u64),
}

/// The events of the last ten minutes, for any number of readers.
#[derive(Debug, Clone)]
pub struct Log {
    tail: Arc<Mutex<Tail>>,
    /// Where to find what the tail no longer holds.
    stream: Option<Results>,
}

/// What keeps a log current. Somebody must [`run`](Feed::run) it.
#[derive(Debug)]
pub struct Feed(pub(crate) Log);

impl Log {
    /// A log that is all in memory and begins after `seq`.
    pub(crate) fn in_memory(limits: Limits, seq: u64) -> Self {
        let log = Self {
            tail: Arc::new(Mutex::new(Tail::new(limits))),
            stream: None,
        };
        log.begin(seq);
        log
    }

    /// A log whose newest events are in memory, once it is fed, and whose rest is a stream.
    pub(crate) fn of_stream(limits: Limits, stream: Results) -> Self {
        Self {
            tail: Arc::new(Mutex::new(Tail::new(limits))),
            stream: Some(stream),
        }
    }

    /// A reader of what is for `audiences` and of a wanted kind, from after `since`, or else from
    /// now on; `None` while the log has not yet found its own end, because a reader from "now on"
    /// could then miss something.
    #[must_use]
    pub fn cursor(
        &self,
        audiences: &[Audience],
        wanted: fn(EventKind) -> bool,
        since: Option<u64>,
    ) -> Option<Cursor> {
        let mut tail = self.tail.lock();
        let head = tail.head()?;
        Some(Cursor {
            news: audiences
                .iter()
                .map(|audience| tail.listen(audience))
                .collect(),
            audiences: audiences.to_vec(),
            wanted,
            position: since.unwrap_or(head),
            era: tail.era(),
            may_be_ahead: since.is_some_and(|since| since > head),
            log: self.clone(),
        })
    }

    /// Whether the log has found its end, so that cursors can be had.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.head().is_some()
    }

    pub(crate) fn head(&self) -> Option<u64> {
        self.tail.lock().head()
    }

    /// Says where the log's end is: nothing after `seq` was published yet.
    pub(crate) fn begin(&self, seq: u64) {
        self.tail.lock().begin(seq);
    }

    pub(crate) fn append(&self, entry: Entry) {
        self.tail.lock().append(entry, Instant::now());
    }

    /// Appends in the next free place what `entry` makes for that place.
    pub(crate) fn append_next(&self, entry: impl FnOnce(u64) -> Option<Entry>) {
        let mut tail = self.tail.lock();
        if let Some(entry) = entry(tail.head().unwrap_or_default() + 1) {
            tail.append(entry, Instant::now());
        }
    }
}

/// How much a tail may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The most bytes of messages.
    pub(crate) bytes: usize,
    /// The greatest age of an event.
    pub(crate) age: Duration,
}

impl Feed {
    /// Feeds the log for ever; to end it, drop it.
    pub async fn run(self) {
        let Self(log) = self;
        let mut tick = interval(EXPIRY_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let expire = async {
            loop {
                tick.tick().await;
                log.tail.lock().expire(Instant::now());
            }
        };
        match &log.stream {
            Some(stream) => tokio::join!(stream.feed(&log), expire).1,
            None => expire.await,
        }
    }
}

/// One reader's place in the log.
#[derive(Debug)]
pub struct Cursor {
    log: Log,
    audiences: Vec<Audience>,
    wanted: fn(EventKind) -> bool,
    /// The log that `position` lies in.
    era: u64,
    /// All up to here was read.
    position: u64,
    /// The reader named a place after the end that the tail knows, which needs a second look.
    may_be_ahead: bool,
    /// One for each audience: changes when something was appended for it.
    news: Vec<watch::Receiver<()>>,
}

impl Cursor {
    /// The next event, or the news that some were missed. Waits for as long as there is none.
    ///
    /// Dropping the future loses nothing: the place moves only with what is returned. It is small,
    /// since every socket waits in one: what is rarely needed is boxed.
    pub async fn next(&mut self) -> Item {
        if self.may_be_ahead {
            let end = Box::pin(self.end_if_ahead()).await;
            self.may_be_ahead = false;
            if let Some(end) = end {
                self.position = end;
                return Item::Gap(end);
            }
        }
        loop {
            // Seen before looked, so that news after the look ends the wait.
            for news in &mut self.news {
                news.mark_unchanged();
            }
            let look =
                self.log
                    .tail
                    .lock()
                    .look(&self.audiences, self.wanted, self.era, self.position);
            match (look, &self.log.stream) {
                (Look::Found(entry), _) => {
                    self.position = entry.seq;
                    return Item::Entry(entry);
                }
                (Look::UpToDate { head }, _) => {
                    self.position = self.position.max(head);
                    select_all(self.news.iter_mut().map(|news| Box::pin(news.changed())))
                        .await
                        .0
                        .ok();
                }
                (Look::Elsewhere, _) => {
                    self.era = self.log.tail.lock().era();
                    self.position = 0;
                    return Item::Gap(0);
                }
                (Look::Behind { floor, .. }, None) => {
                    self.position = floor;
                    return Item::Gap(floor);
                }
                (Look::Behind { head, .. }, Some(stream)) => {
                    let read = Box::pin(stream.next_after(&self.audiences, self.position)).await;
                    if read.first > self.position.saturating_add(1) {
                        self.position = read.first - 1;
                        return Item::Gap(self.position);
                    }
                    let Some(entry) = read.entry else {
                        self.position = self.position.max(head);
                        continue;
                    };
                    self.position = entry.seq;
                    if (self.wanted)(entry.kind) {
                        return Item::Entry(Arc::new(entry));
                    }
                }
            }
        }
    }

    /// The place to go back to, if the reader's own lies behind the log's end: that log is gone and
    /// another has begun.
    async fn end_if_ahead(&self) -> Option<u64> {
        match &self.log.stream {
            None => self.log.head(),
            // Another reader of the stream may have been faster than this process's tail.
            Some(stream) => {
                let (first, last) = stream.bounds().await;
                (last < self.position).then_some(first.saturating_sub(1))
            }
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.news.clear();
        let mut tail = self.log.tail.lock();
        for audience in &self.audiences {
            tail.unlisten(audience);
        }
    }
}
