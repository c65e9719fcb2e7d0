//! Names that were seen within the last two minutes.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

/// How long a name is remembered: JetStream's own default.
pub(crate) const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(120);

/// Remembers each name for [`DEDUPLICATION_WINDOW`], and at most `limit` names.
#[derive(Debug)]
pub(crate) struct Recent<K> {
    limit: usize,
    names: HashSet<K>,
    by_age: VecDeque<(Instant, K)>,
}

impl<K: Clone + Eq + Hash> Recent<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            names: HashSet::new(),
            by_age: VecDeque::new(),
        }
    }

    /// Whether `name` is remembered at `now`.
    pub(crate) fn contains(&mut self, name: &K, now: Instant) -> bool {
        self.forget_old(now);
        self.names.contains(name)
    }

    /// Remembers `name` from `now` on; answers `false` if it was remembered already.
    pub(crate) fn insert(&mut self, name: K, now: Instant) -> bool {
        self.forget_old(now);
        if !self.names.insert(name.clone()) {
            return false;
        }
        self.by_age.push_back((now, name));
        if self.by_age.len() > self.limit {
            self.forget_oldest();
        }
        true
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((seen, _)) = self.by_age.front()
            && now.duration_since(*seen) >= DEDUPLICATION_WINDOW
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, name)) = self.by_age.pop_front() {
            self.names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_remembered_for_two_minutes() {
        let start = Instant::now();
        let mut recent = Recent::new(10);
        assert!(recent.insert("a", start));
        let just_before = start + DEDUPLICATION_WINDOW - Duration::from_millis(1);
        assert!(!recent.insert("a", just_before));
        assert!(recent.contains(&"a", just_before));
        assert!(recent.insert("a", start + DEDUPLICATION_WINDOW));
    }

    #[test]
    fn the_oldest_name_makes_room() {
        let now = Instant::now();
        let mut recent = Recent::new(2);
        for name in ["a", "b", "c"] {
            assert!(recent.insert(name, now));
        }
        assert!(!recent.contains(&"a", now));
        assert!(recent.contains(&"b", now));
    }
}
