//! The tail against a naive model of a log, on random sequences of operations.

use std::time::Duration;

use proptest::prelude::*;
use protocol::{Audience, event::Kind};
use tokio::time::Instant;

use super::{
    entry::Entry,
    history::Held,
    retention::Retention,
    tail::{Look, Tail},
};

/// Few enough that random operations often evict.
const RETENTION: Retention = Retention {
    bytes: 1500,
    age: Duration::from_secs(10),
};

#[derive(Debug, Clone)]
enum Operation {
    /// An event for one of three audiences is appended.
    Append(usize),
    /// So many events go missing, as if the feed had been cut off.
    Skip(u64),
    /// Time passes, and old events expire.
    Wait(u64),
    /// The feed connects again, to a log that holds its last events.
    Reconnect { held: u64, missed: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..3_usize).prop_map(Operation::Append),
        1 => (1..4_u64).prop_map(Operation::Skip),
        1 => (1..8_u64).prop_map(Operation::Wait),
        1 => (0..9_u64, 0..3_u64).prop_map(|(held, missed)| Operation::Reconnect { held, missed }),
    ]
}

fn audience(index: usize) -> Audience {
    match index {
        0 => Audience::Public,
        index => Audience::Client(index.to_string().repeat(16).parse().expect("a token")),
    }
}

fn entry(seq: u64, to: usize) -> Entry {
    Entry {
        seq,
        kind: Kind::Result,
        audience: audience(to),
        context: None,
        message: "x".repeat(20).into(),
    }
}

proptest! {
    /// A look finds the next event of the log, and if the tail cannot know the next event, it
    /// says so.
    #[test]
    fn a_look_never_skips_an_event(
        operations in prop::collection::vec(operation(), 0..60),
        reader in 1..3_usize,
        back in 0..40_u64,
    ) {
        let start = Instant::now();
        let (mut now, mut last) = (start, 0_u64);
        let mut tail = Tail::new(RETENTION);
        tail.begin(0, 0);
        // The log as it is really: every event with its audience, or nothing for a missed one.
        let mut log: Vec<(u64, Option<usize>)> = Vec::new();
        for operation in operations {
            match operation {
                Operation::Append(to) => {
                    last += 1;
                    log.push((last, Some(to)));
                    tail.append(entry(last, to), now);
                }
                Operation::Skip(count) => {
                    for _ in 0..count {
                        last += 1;
                        log.push((last, None));
                    }
                }
                Operation::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    tail.expire(now);
                }
                Operation::Reconnect { held, missed } => {
                    for _ in 0..missed {
                        last += 1;
                        log.push((last, None));
                    }
                    let first = last.saturating_sub(held) + 1;
                    let held = Held { first, last };
                    let position = tail
                        .connect(held, last, Duration::ZERO, now)
                        .expect("nothing newer is known");
                    // The feed goes on from there; the events in between are read again.
                    for (seq, to) in &mut log {
                        if *seq > position {
                            let to = *to.get_or_insert(1);
                            tail.append(entry(*seq, to), now);
                        }
                    }
                }
            }
        }
        let audiences = [audience(0), audience(reader)];
        let position = last.saturating_sub(back);
        // A missed event may be for anyone, so a tail that skips it would be wrong.
        let next = log
            .iter()
            .filter(|(seq, _)| *seq > position)
            .find(|(_, to)| to.is_none_or(|to| to == 0 || to == reader));
        match tail.look(&audiences, |_| true, tail.era(), position) {
            Look::Found(entry) => prop_assert_eq!(Some(entry.seq), next.map(|(seq, _)| *seq)),
            Look::UpToDate { .. } => {
                // Events that were missed after the last one are still unknown to the tail.
                let known = next.filter(|(seq, _)| tail.end().is_some_and(|end| *seq <= end));
                prop_assert_eq!(known.filter(|(_, to)| to.is_some()), None);
            }
            Look::Behind { floor } => prop_assert!(position < floor),
            Look::Elsewhere { .. } => prop_assert!(false, "the era is the tail's own"),
        }
    }
}
