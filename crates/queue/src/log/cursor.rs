//! One reader's place in the log.

use std::sync::Arc;

use futures_util::future::select_all;
use parking_lot::Mutex;
use protocol::{Audience, event::Kind};
use tokio::{sync::watch, time::Instant};
use trace::Span;

use super::{
    entry::Entry,
    history::History,
    places::{Place, Places},
    tail::{Look, Tail},
};
use crate::{
    backoff::Backoff,
    spans::{self, System},
};

/// The next thing that a cursor finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The next event.
    Entry(Arc<Entry>),
    /// Some events at or before this place are gone. The cursor continues after it.
    Gap(u64),
}

/// One reader's place in the log. A reader that falls behind the tail reads on from the history, so a
/// slow reader delays only itself, and resuming is the same as reading on.
#[derive(Debug)]
pub struct Cursor {
    system: System,
    tail: Arc<Mutex<Tail>>,
    history: Option<Arc<dyn History>>,
    audiences: Vec<Audience>,
    wanted: fn(Kind) -> bool,
    /// The log that `position` belongs to.
    era: u64,
    /// Everything up to here was read.
    position: u64,
    /// Shows `position` to others.
    place: Place,
    /// The end of the log when the cursor was made.
    made_at: u64,
    /// The reader named a place after the last one that the tail knows. It has to be checked with the
    /// history, because another process may have read further than this one.
    may_be_ahead: bool,
    /// One receiver for each audience. It changes when an event is appended for it.
    news: Vec<watch::Receiver<()>>,
}

impl Cursor {
    /// A cursor that starts after `since`, or else at the end of the log. `None` if the tail does not
    /// know the end of the log yet.
    pub(super) fn new(
        system: System,
        tail: Arc<Mutex<Tail>>,
        history: Option<Arc<dyn History>>,
        places: &Places,
        audiences: &[Audience],
        wanted: fn(Kind) -> bool,
        since: Option<u64>,
    ) -> Option<Self> {
        let mut locked = tail.lock();
        let end = locked.end()?;
        let news = audiences
            .iter()
            .map(|audience| locked.listen(audience))
            .collect();
        let era = locked.era();
        drop(locked);
        let position = since.unwrap_or(end);
        Some(Self {
            system,
            tail,
            history,
            audiences: audiences.to_vec(),
            wanted,
            era,
            position,
            place: places.open(position),
            made_at: end,
            may_be_ahead: since.is_some_and(|since| since > end),
            news,
        })
    }

    /// The next event, or the information that some were missed. Waits for as long as there is
    /// neither.
    ///
    /// Cancel safe: the place moves only when an item is returned. Every idle socket waits
    /// in such a future, so it is kept small by boxing what is rarely needed.
    pub async fn next(&mut self) -> Item {
        if self.may_be_ahead {
            let end = Box::pin(self.end_if_ahead()).await;
            self.may_be_ahead = false;
            if let Some(end) = end {
                self.reach(end);
                return Item::Gap(end);
            }
        }
        loop {
            // Mark the channels as seen before looking, so that an event appended after the look
            // wakes us.
            for news in &mut self.news {
                news.mark_unchanged();
            }
            let look = self
                .tail
                .lock()
                .look(&self.audiences, self.wanted, self.era, self.position);
            match (look, &self.history) {
                (Look::Found(entry), _) => {
                    self.reach(entry.seq);
                    return Item::Entry(entry);
                }
                (Look::UpToDate { head }, _) => {
                    self.reach(self.position.max(head));
                    let _waiting = self.place.wait(self.position);
                    select_all(self.news.iter_mut().map(|news| Box::pin(news.changed())))
                        .await
                        .0
                        .ok();
                }
                (Look::Elsewhere { era, floor }, history) => {
                    let before_first = match history {
                        None => floor,
                        Some(history) => history.held().await.first.saturating_sub(1),
                    };
                    self.era = era;
                    self.reach(before_first);
                    return Item::Gap(before_first);
                }
                (Look::Behind { floor }, None) => {
                    self.reach(floor);
                    return Item::Gap(floor);
                }
                (Look::Behind { floor }, Some(history)) => {
                    let next = history.next_after(&self.audiences, self.position).await;
                    if next.first > self.position.saturating_add(1) {
                        self.reach(next.first - 1);
                        return Item::Gap(self.position);
                    }
                    // The history may lack the newest events. It may also have been read at one time for
                    // one audience and later for another, and have passed over an event that was stored
                    // in between. But the tail has everything after the floor.
                    let Some(entry) = next.entry.filter(|entry| entry.seq <= floor) else {
                        self.reach(floor);
                        continue;
                    };
                    self.reach(entry.seq);
                    if (self.wanted)(entry.kind) {
                        return Item::Entry(Arc::new(entry));
                    }
                }
            }
        }
    }

    /// Whether `entry` was published after the cursor was made. If not, the reader is catching up on it.
    #[must_use]
    pub fn is_news(&self, entry: &Entry) -> bool {
        entry.seq > self.made_at
    }

    /// The span of sending `entry` to this reader, which ends when it is dropped. `None` if its trace is
    /// not sampled, or not known.
    #[must_use]
    pub fn sending(&self, entry: &Entry) -> Option<Span> {
        spans::send(self.system, entry)
    }

    /// Says that everything up to `position` was read.
    fn reach(&mut self, position: u64) {
        self.position = position;
        self.place.reach(position);
    }

    /// The place to continue from, if this cursor's own place lies after the end of the log: that log
    /// is gone, and a new log has begun. It takes a while to be sure of that.
    async fn end_if_ahead(&self) -> Option<u64> {
        let Some(history) = &self.history else {
            return self.tail.lock().end();
        };
        let asked = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let held = history.held().await;
            if self.position <= held.last {
                return None;
            }
            if asked.elapsed() >= history.staleness() {
                return Some(held.first.saturating_sub(1));
            }
            backoff.wait().await;
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.news.clear();
        let mut tail = self.tail.lock();
        for audience in &self.audiences {
            tail.unlisten(audience);
        }
    }
}
