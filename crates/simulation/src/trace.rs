//! The events of a simulation, as text.

use std::fmt::Write;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A part of the simulated system, as the trace names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    World,
    Queue,
    Submitter(u64),
    Calculator(u64),
    Websocket,
    Reader(u64),
}

/// The events of a simulation, in the order of time. At the same moment, actors come in the order of their names,
/// because the order in which tokio wakes the readers of one channel is random and does not matter.
#[derive(Debug)]
pub(crate) struct Trace {
    start: Instant,
    lines: Option<Mutex<Vec<(u128, Actor, String)>>>,
}

impl Trace {
    /// A trace. If it is not `recorded`, nothing is written.
    pub(crate) fn new(recorded: bool) -> Self {
        Self {
            start: Instant::now(),
            lines: recorded.then(Mutex::default),
        }
    }

    pub(crate) fn ms(&self) -> u128 {
        self.start.elapsed().as_millis()
    }

    pub(crate) fn say(&self, actor: Actor, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            lines.lock().push((self.ms(), actor, line()));
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut lines = self
            .lines
            .as_ref()
            .map(|lines| lines.lock().clone())
            .unwrap_or_default();
        lines.sort_by_key(|(ms, actor, _)| (*ms, *actor));
        let mut text = String::new();
        for (ms, actor, line) in lines {
            writeln!(text, "{ms:>7} {actor:?} {line}").expect("a String takes everything");
        }
        text
    }
}
