//! The decisions of a seed about a whole simulation.

use std::{fmt, time::Duration};

use protocol::Audience;
use tokio::time::Instant;

use crate::{bug::Bug, chance::Chance};

/// The decisions of a seed about a whole simulation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) bug: Option<Bug>,
    /// Whether the queue is a server of its own, and otherwise embedded.
    pub(crate) server: bool,
    pub(crate) faults: bool,
    /// When the faults are over.
    calm_at: Calm,
    pub(crate) submitters: u64,
    pub(crate) jobs_each: u64,
    pub(crate) calculators: u64,
    pub(crate) readers: u64,
    /// Whether one job's result is sent in parts.
    pub(crate) giant: bool,
    /// The most events that the server holds.
    pub(crate) max_events: usize,
    /// The most bytes that a tail holds, or the embedded log.
    pub(crate) tail_bytes: usize,
    pub(crate) loses_disk: bool,
}

/// A point in time that is the same text in every run.
#[derive(Clone, Copy)]
struct Calm(Instant);

impl fmt::Debug for Calm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from_now = self.0.duration_since(Instant::now());
        write!(f, "{} ms", from_now.as_millis())
    }
}

/// Room for one event that is not part of a giant, in bytes.
const EVENT_BYTES: u64 = 500;
/// Room for a giant's parts.
const GIANT_BYTES: usize = 4 * 1024 * 1024;

impl Plan {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut chance = Chance::new(seed, 0);
        let faults = !chance.one_in(16);
        let giant = chance.one_in(1000);
        let small = |number| usize::try_from(number).expect("a small number");
        let held = |chance: &mut Chance| {
            if chance.one_in(3) {
                chance.between(3, 12)
            } else {
                chance.between(20, 500)
            }
        };
        let server = chance.one_in(2);
        Self {
            seed,
            bug,
            server: server || bug.is_some_and(Bug::is_of_the_server),
            faults,
            calm_at: Calm(Instant::now() + Duration::from_millis(chance.between(5_000, 60_000))),
            submitters: chance.between(1, 3),
            jobs_each: chance.between(1, 6),
            calculators: if server { chance.between(1, 2) } else { 1 },
            readers: chance.between(1, 4),
            giant,
            max_events: small(held(&mut chance)),
            tail_bytes: small(held(&mut chance) * EVENT_BYTES)
                + if giant { GIANT_BYTES } else { 0 },
            loses_disk: server && faults && chance.one_in(12),
        }
    }

    /// The random decisions of an actor.
    pub(crate) fn chance(&self, actor: u64) -> Chance {
        Chance::new(self.seed, actor)
    }

    /// Whether the faults are over now.
    pub(crate) fn is_calm(&self) -> bool {
        !self.faults || Instant::now() >= self.calm_at.0
    }

    /// Whether the faults are over after that time.
    pub(crate) fn is_calm_in(&self, time: Duration) -> bool {
        Instant::now() + time >= self.calm_at.0
    }

    pub(crate) fn calm_at(&self) -> Instant {
        self.calm_at.0
    }

    /// The private channel of a submitter.
    pub(crate) fn client(submitter: u64) -> Audience {
        let token = format!("client-{submitter:016}");
        Audience::Client(token.parse().expect("a valid token"))
    }
}
