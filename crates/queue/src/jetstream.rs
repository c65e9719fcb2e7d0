//! The queue on NATS JetStream.
//!
//! There are two streams: JOBS, a work queue, and RESULTS, a log. Each stream is declared by the role
//! that reads it, again after every connect, so that any service may start first and a queue that
//! lost its disk heals.

mod headers;
#[cfg(feature = "worker")]
mod jobs;
mod link;
mod options;
#[cfg(feature = "reader")]
mod ordered_consumer;
mod publisher;
#[cfg(feature = "reader")]
mod results;
#[cfg(any(feature = "worker", feature = "reader"))]
mod sampled;
#[cfg(feature = "submitter")]
mod submitter;
#[cfg(feature = "worker")]
mod sweeper;
#[cfg(feature = "worker")]
mod worker;

pub use async_nats::ConnectError;
#[cfg(feature = "worker")]
pub(crate) use jobs::{Acker, Jobs};
pub(crate) use link::Connections;
pub use options::JetStreamOptions;
#[cfg(feature = "reader")]
pub(crate) use results::read;
#[cfg(feature = "submitter")]
pub(crate) use submitter::Submitter;
#[cfg(feature = "worker")]
pub(crate) use worker::Worker;
