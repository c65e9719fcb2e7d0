//! Ids that were seen recently, against duplicates.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

/// Remembers each id for a while, and at most a number of ids.
#[derive(Debug)]
pub(crate) struct Recent<K> {
    window: Duration,
    limit: usize,
    ids: HashSet<K>,
    by_age: VecDeque<(Instant, K)>,
}

impl<K: Clone + Eq + Hash> Recent<K> {
    pub(crate) fn new(window: Duration, limit: usize) -> Self {
        Self {
            window,
            limit,
            ids: HashSet::new(),
            by_age: VecDeque::new(),
        }
    }

    /// Whether `id` is remembered at `now`.
    pub(crate) fn contains(&mut self, id: &K, now: Instant) -> bool {
        self.forget_old(now);
        self.ids.contains(id)
    }

    /// Remembers `id` from `now` on. Returns `false` if it was remembered already.
    pub(crate) fn insert(&mut self, id: K, now: Instant) -> bool {
        self.forget_old(now);
        if !self.ids.insert(id.clone()) {
            return false;
        }
        self.by_age.push_back((now, id));
        if self.by_age.len() > self.limit {
            self.forget_oldest();
        }
        true
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((seen, _)) = self.by_age.front()
            && now.duration_since(*seen) >= self.window
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.by_age.pop_front() {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);

    #[test]
    fn an_id_is_remembered_for_the_window() {
        let start = Instant::now();
        let mut recent = Recent::new(WINDOW, 10);
        assert!(recent.insert("a", start));
        let just_before = start + WINDOW - Duration::from_millis(1);
        assert!(!recent.insert("a", just_before));
        assert!(recent.contains(&"a", just_before));
        assert!(recent.insert("a", start + WINDOW));
    }

    #[test]
    fn the_oldest_id_makes_room() {
        let now = Instant::now();
        let mut recent = Recent::new(WINDOW, 2);
        for id in ["a", "b", "c"] {
            assert!(recent.insert(id, now));
        }
        assert!(!recent.contains(&"a", now));
        assert!(recent.contains(&"b", now));
    }
}
