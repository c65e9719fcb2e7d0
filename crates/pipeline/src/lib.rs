//! What crosses a process in fibwire (submission, job, event) and the queue that carries it.
//!
//! A [`Submission`] is a checked `POST /fib` body. It becomes a [`Job`] on the [`Queue`]; a
//! calculator takes the job and publishes [`Event`]s for its [`Audience`]; the events form a
//! [`Log`] that each socket reads with a [`Cursor`] of its own. No HTTP server and no arithmetic
//! live here.

mod audience;
mod backoff;
mod event;
mod intake;
mod job;
mod json;
mod log;
mod problem;
mod queue;
mod recent;
mod submission;

pub use audience::{Audience, ClientToken, InvalidClientToken};
pub use event::{Event, EventKind, LONG_DIGITS, PART_DIGITS, Timings};
pub use intake::{Accepted, Reply, accept};
pub use job::{Job, LARGE_N, Lane, unix_us};
pub use log::{Cursor, Entry, Feed, Item, Log};
pub use problem::Problem;
pub use queue::{Delivery, JetStreamOptions, Jobs, PublishError, Queue, SubmitError};
pub use submission::{BODY_LIMIT, Submission, SubmissionLimits};
