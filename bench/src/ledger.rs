//! The ledger of a load: every job that was posted, how it ended, and how long that took.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    time::Instant,
};

use uuid::Uuid;

use crate::{expected::Expected, figures::Times, message::Message, poster::Answer};

/// The jobs by their ids, and the value that all of them have to end in.
#[derive(Debug)]
pub(crate) struct Ledger {
    expected: Expected,
    jobs: HashMap<Uuid, State>,
    times: Times,
    faults: Faults,
}

#[derive(Debug)]
enum State {
    /// Posted at that time, by the poster of that number.
    InFlight(Instant, usize),
    /// Its one result arrived.
    Done,
    /// Nobody waits for it any more. The server may have the job although it never said so, so a
    /// result is not a fault.
    GivenUp,
}

/// Something that must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A POST was answered with this status.
    Refused(u16),
    /// A POST got no answer.
    NotAnswered(io::ErrorKind),
    /// A POST was answered with another id than the one that it named.
    WrongId,
    /// A result is not F(n).
    WrongValue,
    /// A job ended without a value.
    Failed,
    /// A message does not follow the protocol.
    Malformed,
    /// A result belongs to a job that was not posted here.
    UnknownJob,
    /// A job ended more than once.
    Repeated,
    /// A job did not end in time.
    Missing,
    /// The server closed a socket.
    SocketClosed,
}

/// How often each fault happened. One is enough to make the measurement void.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(fault, count)| format!("{count} {fault}")).collect::<Vec<_>>().join(", "))]
pub struct Faults(pub BTreeMap<Fault, u64>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(status) => return write!(f, "refused with {status}"),
            Self::NotAnswered(error) => return write!(f, "not answered ({error})"),
            Self::WrongId => "accepted under another id",
            Self::WrongValue => "answered with a wrong value",
            Self::Failed => "ended without a value",
            Self::Malformed => "malformed messages",
            Self::UnknownJob => "results of jobs that were not posted here",
            Self::Repeated => "repeated results",
            Self::Missing => "without a result in time",
            Self::SocketClosed => "sockets closed by the server",
        })
    }
}

impl Ledger {
    pub(crate) fn new(n: u64) -> Self {
        Self {
            expected: Expected::of(n),
            jobs: HashMap::new(),
            times: Times::new(),
            faults: Faults(BTreeMap::new()),
        }
    }

    /// Records that the poster of that number is about to post the job.
    pub(crate) fn post(&mut self, id: Uuid, poster: usize) {
        self.jobs
            .insert(id, State::InFlight(Instant::now(), poster));
    }

    /// Records how the POST was answered. Returns whether the job still has to end.
    pub(crate) fn answered(&mut self, id: Uuid, answer: io::Result<Answer>) -> bool {
        let fault = match answer {
            Ok(Answer::Accepted(named)) if named == id => return true,
            Ok(Answer::Accepted(_)) => Fault::WrongId,
            Ok(Answer::Refused(status)) => Fault::Refused(status),
            Err(error) => Fault::NotAnswered(error.kind()),
        };
        self.fault(fault);
        self.jobs.insert(id, State::GivenUp);
        false
    }

    /// Records that the job did not end in time.
    pub(crate) fn give_up(&mut self, id: Uuid) {
        self.fault(Fault::Missing);
        self.jobs.insert(id, State::GivenUp);
    }

    /// Records a message. If it ends a job, returns the number of the poster that waits for it.
    pub(crate) fn receive(&mut self, text: &str, at: Instant) -> Option<usize> {
        let Some(message) = Message::parse(text) else {
            self.fault(Fault::Malformed);
            return None;
        };
        if !matches!(message.kind, "result" | "failed") {
            return None;
        }
        let Some(state) = self.jobs.get_mut(&message.id) else {
            self.fault(Fault::UnknownJob);
            return None;
        };
        match *state {
            State::InFlight(posted, poster) => {
                *state = State::Done;
                match message.value {
                    Some(value) if self.expected.is(value) => self.times.record(at - posted),
                    Some(_) => self.fault(Fault::WrongValue),
                    None => self.fault(Fault::Failed),
                }
                Some(poster)
            }
            State::Done => {
                self.fault(Fault::Repeated);
                None
            }
            State::GivenUp => None,
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.0.entry(fault).or_default() += 1;
    }

    /// Discards the times so far, but none of the jobs.
    pub(crate) fn warmed_up(&mut self) {
        self.times.clear();
    }

    /// Returns how long the jobs took. Call it when no message can arrive any more.
    ///
    /// # Errors
    ///
    /// When a job did not end in exactly one right result.
    pub(crate) fn close(self) -> Result<Times, Faults> {
        if self.faults.0.is_empty() {
            Ok(self.times)
        } else {
            Err(self.faults)
        }
    }
}
