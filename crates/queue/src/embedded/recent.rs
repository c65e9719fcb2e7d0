//! Ids that were seen recently, against duplicates.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

use super::clock::Instant;

/// Into how many slices the window and the limit are divided.
const SLICES: usize = 16;

/// Remembers each id for a while at least, unless there are too many.
///
/// The ids are in slices by age, and a slice is forgotten as a whole. An id therefore costs no more
/// than its place in a hash set: its size and one byte, at a load of 44 to 88 percent.
#[derive(Debug)]
pub(super) struct Recent<K> {
    window: Duration,
    slice_limit: usize,
    /// The newest slice is the last one.
    slices: VecDeque<Slice<K>>,
}

#[derive(Debug)]
struct Slice<K> {
    /// When the first and the last of its ids were seen.
    first: Instant,
    last: Instant,
    ids: HashSet<K>,
}

impl<K: Eq + Hash> Recent<K> {
    /// Remembers ids for `window`, unless they are more than `limit`.
    pub(super) fn new(window: Duration, limit: usize) -> Self {
        Self {
            window,
            slice_limit: limit.div_ceil(SLICES),
            slices: VecDeque::new(),
        }
    }

    pub(super) fn contains(&self, id: &K) -> bool {
        self.slices.iter().rev().any(|slice| slice.ids.contains(id))
    }

    /// Remembers `id` from `now` on. Returns `false` if it was remembered already.
    pub(super) fn insert(&mut self, id: K, now: Instant) -> bool {
        self.forget_old(now);
        if self.contains(&id) {
            return false;
        }
        let slice_age = self.window / u32::try_from(SLICES).expect("a small number");
        match self.slices.back_mut() {
            Some(slice)
                if slice.ids.len() < self.slice_limit && now.since(slice.first) < slice_age =>
            {
                slice.last = slice.last.max(now);
                slice.ids.insert(id);
            }
            _ => {
                while self.held() >= SLICES * self.slice_limit {
                    self.slices.pop_front();
                }
                self.slices.push_back(Slice {
                    first: now,
                    last: now,
                    ids: HashSet::from([id]),
                });
            }
        }
        true
    }

    /// Forgets an id, as if it had never been inserted.
    pub(super) fn forget(&mut self, id: &K) {
        for slice in self.slices.iter_mut().rev() {
            if slice.ids.remove(id) {
                break;
            }
        }
    }

    fn held(&self) -> usize {
        self.slices.iter().map(|slice| slice.ids.len()).sum()
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(slice) = self.slices.front()
            && now.since(slice.last) >= self.window
        {
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000)
    }

    #[test]
    fn an_id_is_remembered_for_the_window_and_a_sixteenth_more_at_most() {
        let mut recent = Recent::new(WINDOW, 1000);
        assert!(recent.insert("a", at(100)));
        assert!(recent.insert("b", at(137)));
        assert!(!recent.insert("a", at(699)));
        assert!(!recent.insert("b", at(736)));
        assert!(recent.insert("a", at(738)));
    }

    #[test]
    fn the_oldest_ids_make_room() {
        let mut recent = Recent::new(WINDOW, 160);
        for id in 0..1000 {
            assert!(recent.insert(id, at(0)));
        }
        assert!((160..=170).contains(&recent.held()), "{}", recent.held());
        assert!((840..1000).all(|id| recent.contains(&id)));
        assert!(!recent.contains(&0));
    }

    #[test]
    fn an_id_that_was_forgotten_is_new() {
        let mut recent = Recent::new(WINDOW, 10);
        recent.insert("a", at(0));
        recent.forget(&"a");
        assert!(recent.insert("a", at(1)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_id_older() {
        let mut recent = Recent::new(WINDOW, 10);
        recent.insert("a", at(1000));
        assert!(!recent.insert("a", at(10)));
    }
}
