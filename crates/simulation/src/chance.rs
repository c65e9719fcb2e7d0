//! The random decisions of one actor, and waiting on the simulated clock.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

/// The random decisions of one actor. Each actor has its own generator, so that its decisions do not
/// depend on how many the others have made before.
#[derive(Debug)]
pub(crate) struct Chance(fastrand::Rng);

impl Chance {
    pub(crate) fn new(seed: u64, actor: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ actor);
        // The numbers of neighbouring seeds begin alike, so one of them is the seed of the generator used.
        Self(fastrand::Rng::with_seed(rng.u64(..)))
    }

    /// The decisions of a part of this actor.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }

    /// Whether something that happens once in `times` happens now.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.0.u64(..times) == 0
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0.u64(from..=to)
    }

    pub(crate) fn bits(&mut self) -> u128 {
        self.0.u128(..)
    }

    /// How long a message travels: mostly a few milliseconds, sometimes no time, rarely seconds.
    pub(crate) fn travel(&mut self) -> Travel {
        match self.between(0, 63) {
            0 => Travel::Time(Duration::from_millis(self.between(100, 3000))),
            1..=31 => Travel::Turns(self.between(0, 3)),
            _ => Travel::Time(Duration::from_millis(self.between(1, 12))),
        }
    }
}

/// How long a message travels.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Travel {
    /// No time, but other tasks get this many turns.
    Turns(u64),
    Time(Duration),
}

impl Travel {
    pub(crate) async fn wait(self) {
        match self {
            Self::Turns(turns) => {
                for _ in 0..turns {
                    yield_now().await;
                }
            }
            Self::Time(time) => pause(time).await,
        }
    }
}

/// Waits on the simulated clock.
pub(crate) async fn pause(time: Duration) {
    sleep_until(Instant::now() + time).await;
}

/// Waits on the simulated clock for a number of milliseconds.
pub(crate) async fn pause_ms(ms: u64) {
    pause(Duration::from_millis(ms)).await;
}
