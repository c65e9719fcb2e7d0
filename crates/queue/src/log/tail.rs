//! The newest events, in memory, up to a limit of bytes and age.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use protocol::{Audience, event::Kind};
use tokio::{sync::watch, time::Instant};

use super::{entry::Entry, history::Held, retention::Retention};

/// The bytes that an entry takes besides its message: its place in two queues, and its fields.
const ENTRY_OVERHEAD: usize = 240;

/// The end of the log. Entries are kept in order of age, for eviction, and by audience, for reading,
/// so that a reader never looks at the events of other clients.
#[derive(Debug)]
pub(super) struct Tail {
    retention: Retention,
    /// Everything up to here was appended, or lies before the tail. `None` before the tail has begun.
    head: Option<u64>,
    /// The place of the last event that is known to exist. It is after `head` while older events are
    /// still being appended.
    end: u64,
    /// How many logs came before this one. A queue that lost its disk begins another log.
    era: u64,
    /// The place of the last event that was evicted.
    floor: u64,
    /// When the log was first said to end before `head`, if that has been so ever since.
    doubted_at: Option<Instant>,
    bytes: usize,
    by_age: VecDeque<(Instant, Arc<Entry>)>,
    channels: HashMap<Audience, Channel>,
}

/// The entries for one audience.
#[derive(Debug)]
struct Channel {
    /// Every event for this audience after this place is in `entries`. Each channel has a floor of its
    /// own, so that a waiting reader does not fall behind because of events for other clients.
    floor: u64,
    entries: VecDeque<Arc<Entry>>,
    news: watch::Sender<()>,
}

/// The result of looking for an event in the tail.
#[derive(Debug)]
pub(super) enum Look {
    /// The next event.
    Found(Arc<Entry>),
    /// Everything up to `head` was read.
    UpToDate { head: u64 },
    /// The cursor's place belongs to a log that is gone. The tail holds everything after `floor` of
    /// the log of `era`.
    Elsewhere { era: u64, floor: u64 },
    /// The next event was evicted. The tail holds everything after `floor`.
    Behind { floor: u64 },
}

impl Tail {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            head: None,
            end: 0,
            era: 0,
            floor: 0,
            doubted_at: None,
            bytes: 0,
            by_age: VecDeque::new(),
            channels: HashMap::new(),
        }
    }

    /// The place of the last event that is known to exist.
    pub(super) fn end(&self) -> Option<u64> {
        self.head.map(|head| head.max(self.end))
    }

    pub(super) fn events(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn era(&self) -> u64 {
        self.era
    }

    /// See [`Log::connect`](super::Log::connect).
    pub(super) fn connect(
        &mut self,
        held: Held,
        start: u64,
        staleness: Duration,
        now: Instant,
    ) -> Option<u64> {
        match self.head {
            // The log goes on from the tail.
            Some(head) if held.first <= head + 1 && head <= held.last => {
                self.end = held.last;
                self.doubted_at = None;
                Some(head)
            }
            // The newest events are gone, or whoever answered does not know them yet.
            Some(head)
                if held.last < head
                    && now.duration_since(*self.doubted_at.get_or_insert(now)) < staleness =>
            {
                None
            }
            // This is the first connection, or the events after the tail are gone, perhaps because
            // the log was lost.
            _ => {
                self.begin(start, held.last);
                self.doubted_at = None;
                Some(start)
            }
        }
    }

    /// Empties the tail and lets it begin after `seq`, in a log whose last event is at `end`. If the
    /// log ends before the tail's current end, it is another log.
    pub(super) fn begin(&mut self, seq: u64, end: u64) {
        if self.end().is_some_and(|known| end < known) {
            self.era += 1;
        }
        self.end = end;
        self.by_age.clear();
        self.bytes = 0;
        self.head = Some(seq);
        self.floor = seq;
        for channel in self.channels.values_mut() {
            channel.entries.clear();
            channel.floor = seq;
            channel.news.send_replace(());
        }
    }

    /// Appends an event. An event that was appended before is ignored. If the event before it is
    /// missing, the tail begins again from here, so that it never has a hole.
    pub(super) fn append(&mut self, entry: Entry, now: Instant) {
        let head = self.head.unwrap_or_default();
        if entry.seq <= head {
            return;
        }
        if entry.seq > head + 1 {
            self.begin(entry.seq - 1, self.end.max(entry.seq));
        }
        self.head = Some(entry.seq);
        self.end = self.end.max(entry.seq);
        self.bytes += cost(&entry);
        let entry = Arc::new(entry);
        let channel = channel(&mut self.channels, &entry.audience, self.floor);
        channel.entries.push_back(Arc::clone(&entry));
        channel.news.send_replace(());
        self.by_age.push_back((now, entry));
        self.expire(now);
    }

    /// Evicts the entries that are too old or too many.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((appended, entry)) = self.by_age.front()
            && (self.bytes > self.retention.bytes
                || now.duration_since(*appended) > self.retention.age)
        {
            self.bytes -= cost(entry);
            self.floor = entry.seq;
            if let Some(channel) = self.channels.get_mut(&entry.audience) {
                channel.entries.pop_front();
                channel.floor = entry.seq;
                if channel.entries.is_empty() && channel.news.receiver_count() == 0 {
                    self.channels.remove(&entry.audience);
                }
            }
            self.by_age.pop_front();
        }
    }

    /// A receiver that changes whenever an event is appended for `audience`.
    pub(super) fn listen(&mut self, audience: &Audience) -> watch::Receiver<()> {
        channel(&mut self.channels, audience, self.floor)
            .news
            .subscribe()
    }

    /// Ends what [`listen`](Self::listen) began: removes the channel if it is empty and unused.
    pub(super) fn unlisten(&mut self, audience: &Audience) {
        if let Some(channel) = self.channels.get(audience)
            && channel.entries.is_empty()
            && channel.news.receiver_count() == 0
        {
            self.channels.remove(audience);
        }
    }

    /// Finds the first wanted event after `position` in the log of `era`.
    pub(super) fn look(
        &self,
        audiences: &[Audience],
        wanted: fn(Kind) -> bool,
        era: u64,
        position: u64,
    ) -> Look {
        if era != self.era {
            return Look::Elsewhere {
                era: self.era,
                floor: self.floor,
            };
        }
        let channels = || {
            audiences
                .iter()
                .filter_map(|audience| self.channels.get(audience))
        };
        // The tail holds nothing for an audience that has no channel, whatever was appended for it.
        let floor = audiences
            .iter()
            .map(|audience| {
                self.channels
                    .get(audience)
                    .map_or(self.floor, |channel| channel.floor)
            })
            .max()
            .unwrap_or(self.floor);
        if position < floor {
            return Look::Behind { floor };
        }
        channels()
            .filter_map(|channel| {
                let next = channel
                    .entries
                    .partition_point(|entry| entry.seq <= position);
                channel
                    .entries
                    .range(next..)
                    .find(|entry| wanted(entry.kind))
            })
            .min_by_key(|entry| entry.seq)
            .map_or_else(
                || Look::UpToDate {
                    head: self.head.unwrap_or_default(),
                },
                |entry| Look::Found(Arc::clone(entry)),
            )
    }
}

fn channel<'a>(
    channels: &'a mut HashMap<Audience, Channel>,
    audience: &Audience,
    floor: u64,
) -> &'a mut Channel {
    channels.entry(audience.clone()).or_insert_with(|| Channel {
        floor,
        entries: VecDeque::new(),
        news: watch::Sender::new(()),
    })
}

fn cost(entry: &Entry) -> usize {
    entry.message.len() + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Retention = Retention {
        bytes: 10 * (ENTRY_OVERHEAD + 1),
        age: Duration::from_secs(600),
    };

    fn connect(tail: &mut Tail, held: Held, start: u64) -> Option<u64> {
        tail.connect(held, start, Duration::ZERO, Instant::now())
    }

    fn client(digit: char) -> Audience {
        Audience::Client(digit.to_string().repeat(16).parse().unwrap())
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

    fn tail(entries: impl IntoIterator<Item = Entry>) -> Tail {
        let mut tail = Tail::new(RETENTION);
        tail.begin(0, 0);
        for entry in entries {
            tail.append(entry, Instant::now());
        }
        tail
    }

    fn found(look: Look) -> Option<u64> {
        match look {
            Look::Found(entry) => Some(entry.seq),
            Look::UpToDate { .. } => None,
            Look::Behind { .. } | Look::Elsewhere { .. } => panic!("not in the tail"),
        }
    }

    #[test]
    fn a_reader_gets_its_own_and_the_broadcasts_in_order() {
        let tail = tail([
            entry(1, client('a')),
            entry(2, client('b')),
            entry(3, Audience::Public),
            entry(4, client('a')),
        ]);
        let audiences = [client('a'), Audience::Public];
        let mut seen = Vec::new();
        let mut position = 0;
        while let Some(seq) = found(tail.look(&audiences, |_| true, 0, position)) {
            seen.push(seq);
            position = seq;
        }
        assert_eq!(seen, [1, 3, 4]);
    }

    #[test]
    fn events_that_are_not_wanted_are_skipped() {
        let tail = tail([entry(1, Audience::Public)]);
        let nothing = |kind| kind == Kind::Part;
        assert_eq!(found(tail.look(&[Audience::Public], nothing, 0, 0)), None);
    }

    #[test]
    fn the_oldest_events_make_room_and_their_readers_are_behind() {
        let tail = tail((1..=25).map(|seq| entry(seq, Audience::Public)));
        assert_eq!(tail.by_age.len(), 10);
        assert!(matches!(
            tail.look(&[Audience::Public], |_| true, 0, 14),
            Look::Behind { floor: 15 }
        ));
        assert_eq!(
            found(tail.look(&[Audience::Public], |_| true, 0, 15)),
            Some(16)
        );
    }

    #[test]
    fn a_waiting_reader_is_not_behind_because_of_events_for_others() {
        let mut tail = tail([]);
        let audiences = [client('a'), Audience::Public];
        let _news = audiences.each_ref().map(|audience| tail.listen(audience));
        for seq in 1..=25 {
            tail.append(entry(seq, client('b')), Instant::now());
        }
        tail.append(entry(26, client('a')), Instant::now());
        assert_eq!(found(tail.look(&audiences, |_| true, 0, 0)), Some(26));
    }

    #[test]
    fn events_that_are_too_old_are_evicted() {
        let mut tail = tail([entry(1, Audience::Public)]);
        let now = Instant::now();
        tail.expire(now + RETENTION.age / 2);
        assert_eq!(tail.by_age.len(), 1);
        tail.expire(now + RETENTION.age * 2);
        assert_eq!((tail.by_age.len(), tail.bytes), (0, 0));
        assert!(tail.channels.is_empty());
    }

    #[test]
    fn a_hole_empties_the_tail_and_wakes_the_readers() {
        let mut tail = tail([entry(1, Audience::Public)]);
        let news = tail.listen(&Audience::Public);
        tail.append(entry(5, client('a')), Instant::now());
        assert!(news.has_changed().unwrap());
        assert!(matches!(
            tail.look(&[Audience::Public], |_| true, 0, 1),
            Look::Behind { floor: 4 }
        ));
    }

    #[test]
    fn a_log_that_begins_again_is_another_one() {
        let mut tail = tail([entry(1, Audience::Public), entry(2, Audience::Public)]);
        tail.begin(1, 1);
        assert!(matches!(
            tail.look(&[Audience::Public], |_| true, 0, 2),
            Look::Elsewhere { era: 1, floor: 1 }
        ));
        tail.append(entry(2, Audience::Public), Instant::now());
        assert_eq!(
            found(tail.look(&[Audience::Public], |_| true, 1, 1)),
            Some(2)
        );
    }

    #[test]
    fn a_tail_that_is_filled_from_the_past_knows_the_end_of_the_log() {
        let mut tail = Tail::new(RETENTION);
        let held = Held {
            first: 11,
            last: 20,
        };
        assert_eq!(connect(&mut tail, held, 15), Some(15));
        assert_eq!(tail.end(), Some(20));
        tail.append(entry(16, Audience::Public), Instant::now());
        assert_eq!(tail.end(), Some(20));
        assert_eq!(
            found(tail.look(&[Audience::Public], |_| true, 0, 15)),
            Some(16)
        );
        assert_eq!(found(tail.look(&[Audience::Public], |_| true, 0, 20)), None);
    }

    #[test]
    fn a_tail_goes_on_after_its_last_event_if_the_log_does() {
        let mut tail = tail([entry(1, Audience::Public), entry(2, Audience::Public)]);
        assert_eq!(connect(&mut tail, Held { first: 1, last: 9 }, 5), Some(2));
        assert_eq!(
            found(tail.look(&[Audience::Public], |_| true, 0, 0)),
            Some(1)
        );
        assert_eq!(connect(&mut tail, Held { first: 3, last: 9 }, 5), Some(2));
        // An event between is gone.
        assert_eq!(connect(&mut tail, Held { first: 4, last: 9 }, 5), Some(5));
        assert!(matches!(
            tail.look(&[Audience::Public], |_| true, 0, 2),
            Look::Behind { floor: 5 }
        ));
    }

    #[test]
    fn a_log_that_seems_to_end_earlier_is_another_one_only_if_it_stays_so() {
        const STALENESS: Duration = Duration::from_secs(15);
        let mut tail = tail([entry(1, Audience::Public), entry(2, Audience::Public)]);
        let earlier = Held { first: 1, last: 1 };
        let begin = Instant::now();
        let mut connect = |held, after_s| {
            let now = begin + Duration::from_secs(after_s);
            tail.connect(held, 1, STALENESS, now)
        };
        assert_eq!(connect(earlier, 0), None);
        assert_eq!(connect(earlier, 14), None);
        assert_eq!(connect(Held { first: 1, last: 2 }, 14), Some(2));
        assert_eq!(connect(earlier, 20), None);
        assert_eq!(connect(earlier, 35), Some(1));
        assert_eq!(tail.era(), 1);
    }

    #[test]
    fn an_event_that_is_appended_twice_is_held_once() {
        let tail = tail([entry(1, Audience::Public), entry(1, Audience::Public)]);
        assert_eq!(tail.by_age.len(), 1);
    }

    #[test]
    fn a_channel_without_events_and_readers_is_removed() {
        let mut tail = tail([]);
        drop(tail.listen(&client('a')));
        tail.unlisten(&client('a'));
        assert!(tail.channels.is_empty());
    }
}
