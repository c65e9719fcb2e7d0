//! The account of a load: every job that was posted, what came of it, and how long that took.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    time::Instant,
};

use uuid::Uuid;

use crate::{expected::Expected, figures::Times, message::Message, poster::Answer};

/// Jobs by their ids, and the right value for all of them.
#[derive(Debug)]
pub(crate) struct Ledger {
    expected: Expected,
    jobs: HashMap<Uuid, State>,
    times: Times,
    faults: Faults,
}

#[derive(Debug)]
enum State {
    /// Posted then, by that poster.
    UnderWay(Instant, usize),
    /// Its one result came.
    Done,
    /// No longer waited for. When the server did not say that it has the job, it may have it all
    /// the same, so a result is no fault.
    GivenUp,
}

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A POST was answered with this status.
    Refused(u16),
    /// A POST got no answer.
    NotAnswered(io::ErrorKind),
    /// A POST was answered with an id that was not asked for.
    OtherId,
    /// A result is not F(n).
    WrongValue,
    /// A job ended without a value.
    Failed,
    /// A message is none of the protocol's.
    NotUnderstood,
    /// A result is for no job that was posted.
    Unknown,
    /// A job has more than one end.
    Repeated,
    /// A job has no end in time.
    Missing,
    /// The server closed a socket.
    SocketClosed,
}

/// How often each fault happened. It is an error as soon as one did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(fault, count)| format!("{count} {fault}")).collect::<Vec<_>>().join(", "))]
pub struct Faults(pub BTreeMap<Fault, u64>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(status) => return write!(f, "refused with {status}"),
            Self::NotAnswered(error) => return write!(f, "not answered ({error})"),
            Self::OtherId => "accepted under another id",
            Self::WrongValue => "answered with a wrong value",
            Self::Failed => "ended without a value",
            Self::NotUnderstood => "messages that are none of the protocol's",
            Self::Unknown => "results of jobs that were not posted here",
            Self::Repeated => "results that came again",
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

    /// The job is about to be posted by the poster of that number.
    pub(crate) fn post(&mut self, id: Uuid, poster: usize) {
        self.jobs
            .insert(id, State::UnderWay(Instant::now(), poster));
    }

    /// The POST was answered, or not. Says whether a result is owed.
    pub(crate) fn answered(&mut self, id: Uuid, answer: io::Result<Answer>) -> bool {
        let fault = match answer {
            Ok(Answer::Accepted(named)) if named == id => return true,
            Ok(Answer::Accepted(_)) => Fault::OtherId,
            Ok(Answer::Refused(status)) => Fault::Refused(status),
            Err(error) => Fault::NotAnswered(error.kind()),
        };
        self.fault(fault);
        self.jobs.insert(id, State::GivenUp);
        false
    }

    /// The job's result did not come in time.
    pub(crate) fn give_up(&mut self, id: Uuid) {
        self.fault(Fault::Missing);
        self.jobs.insert(id, State::GivenUp);
    }

    /// A message came. Says whose job is done by it.
    pub(crate) fn receive(&mut self, text: &str, at: Instant) -> Option<usize> {
        let Some(message) = Message::parse(text) else {
            self.fault(Fault::NotUnderstood);
            return None;
        };
        if !matches!(message.kind, "result" | "failed") {
            return None;
        }
        let Some(state) = self.jobs.get_mut(&message.id) else {
            self.fault(Fault::Unknown);
            return None;
        };
        match *state {
            State::UnderWay(posted, poster) => {
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

    /// Forgets the times so far, but no job.
    pub(crate) fn warmed_up(&mut self) {
        self.times.clear();
    }

    /// How long the jobs took, once all that is to come has come.
    ///
    /// # Errors
    ///
    /// When not every job had its one right result.
    pub(crate) fn close(self) -> Result<Times, Faults> {
        if self.faults.0.is_empty() {
            Ok(self.times)
        } else {
            Err(self.faults)
        }
    }
}
