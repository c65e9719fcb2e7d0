//! How far each open cursor has read, for whoever asks which is the furthest behind.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

/// The value of a place whose reader has read everything and waits.
const WAITING: u64 = u64::MAX;

/// The places of all open cursors. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    places: HashMap<u64, Arc<AtomicU64>>,
}

/// The place of one cursor. It counts as open until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    position: Arc<AtomicU64>,
    places: Places,
}

/// A reader that waits for news. When this is dropped, it no longer does.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    place: &'a Place,
    position: u64,
}

impl Places {
    /// The place of a new cursor, which has read everything up to `position`.
    pub(super) fn open(&self, position: u64) -> Place {
        let shared = Arc::new(AtomicU64::new(position));
        let mut open = self.0.lock();
        open.last_id += 1;
        let id = open.last_id;
        open.places.insert(id, Arc::clone(&shared));
        Place {
            id,
            position: shared,
            places: self.clone(),
        }
    }

    /// How many events the furthest-behind cursor is behind `end`.
    pub(super) fn lag(&self, end: u64) -> u64 {
        let open = self.0.lock();
        let furthest = open
            .places
            .values()
            .map(|position| position.load(Ordering::Relaxed))
            .min();
        furthest.map_or(0, |position| end.saturating_sub(position))
    }
}

impl Place {
    /// Says that everything up to `position` was read.
    pub(super) fn reach(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Says that everything there is was read, up to `position`, and that the cursor waits for more until
    /// the returned value is dropped.
    pub(super) fn wait(&self, position: u64) -> Waiting<'_> {
        self.position.store(WAITING, Ordering::Relaxed);
        Waiting {
            place: self,
            position,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.place.reach(self.position);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.lock().places.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_behind_cursor_is_the_one_that_does_not_wait() {
        let places = Places::default();
        assert_eq!(places.lag(10), 0);
        let (slow, quick) = (places.open(4), places.open(9));
        assert_eq!(places.lag(10), 6);
        let waiting = slow.wait(4);
        assert_eq!(places.lag(10), 1);
        drop(waiting);
        assert_eq!(places.lag(10), 6);
        slow.reach(10);
        assert_eq!(places.lag(10), 1);
        drop(quick);
        assert_eq!(places.lag(10), 0);
    }
}
