//! The simulated machine of a calculator: computing takes simulated time, and no real time.

use std::{num::NonZeroUsize, pin::Pin, sync::OnceLock, time::Duration};

use calculator::Machine;
use fibonacci::{Decimal, Error};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use crate::chance::{Chance, pause};

/// A number whose digits are sent in parts.
pub(crate) const GIANT_N: u64 = 5_100_000;
/// Up to this n, a calculator does not ask the machine.
const INLINE_N: u64 = 10_000;
/// When every simulation begins, in microseconds since the Unix epoch.
const START_US: u64 = 1_700_000_000_000_000;
/// How often a computation tells how far it is.
const STEPS: u32 = 8;

/// A machine with a simulated clock and processor.
#[derive(Debug)]
pub(crate) struct Simulated {
    clock: Clock,
    chance: Mutex<Chance>,
}

/// The simulated time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn unix_us(self) -> u64 {
        let elapsed = u64::try_from(self.0.elapsed().as_micros()).expect("a short simulation");
        START_US + elapsed
    }
}

impl Simulated {
    pub(crate) fn new(clock: Clock, chance: Chance) -> Self {
        Self {
            clock,
            chance: Mutex::new(chance),
        }
    }
}

impl Machine for Simulated {
    fn unix_us(&self) -> u64 {
        self.clock.unix_us()
    }

    fn compute(
        &self,
        n: u64,
        _threads: NonZeroUsize,
        progress: watch::Sender<f64>,
    ) -> Pin<Box<dyn Future<Output = Result<Decimal, Error>> + Send>> {
        let mut chance = self.chance.lock();
        let longest_ms = if chance.one_in(4) { 15_000 } else { 300 };
        let step = Duration::from_millis(chance.between(0, longest_ms)) / STEPS;
        Box::pin(async move {
            for done in 1..=STEPS {
                pause(step).await;
                progress.send_replace(f64::from(done) / f64::from(STEPS));
            }
            Ok(value(n))
        })
    }
}

/// The value of F(`n`) on a simulated machine. The arithmetic is not simulated, so
/// numbers that the machine computes are short, except for the giant.
pub(crate) fn value(n: u64) -> Decimal {
    static GIANT: OnceLock<Decimal> = OnceLock::new();
    match n {
        GIANT_N => GIANT.get_or_init(|| fibonacci::fibonacci(n)).clone(),
        0..=INLINE_N => fibonacci::fibonacci(n),
        _ => fibonacci::fibonacci(n % 100),
    }
}
